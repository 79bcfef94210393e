"""Posts of one Reddit dump: decoding, the rules that keep or reject them, and the counts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import xxhash

from data_prep.crawl.urls import UrlRules, url_cleaner
from webtext_gpt.data.json_row import decode_row, is_unicode
from webtext_gpt.data.lines import BrokenFileError, line_batches
from webtext_gpt.errors import UserError

MALFORMED_ROW = "malformed row"
SELF_POST = "self post"
LOW_KARMA = "low karma"
OVER_18 = "over 18"
BLOCKED_SUBREDDIT = "blocked subreddit"

FIRST_ROWS = 1000  # a file with no submission in its first rows is not a dump
POSTS_AT_ONCE = 100_000  # posts in a run, which is held in memory and sorted
ROW_GROUP = 8192  # rows

_INT64 = 1 << 63


class Submission(msgspec.Struct, gc=False):
    """Fields read from a post, with all the types they had between 2005 and 2024."""

    score: int | float | str
    created_utc: int | float | str
    url: str | None = None
    subreddit: str | None = None
    id: str | None = None
    is_self: bool | None = False
    over_18: bool | None = False


@dataclass(frozen=True)
class PostRules:
    """Rules for keeping posts.

    Attributes:
        urls: Rules for the URL of a post.
        blocked_subreddits: Names in lower case.
        min_karma: Karma that a link needs; 3 in the paper (section 2.1).
        karma: `max` compares the highest score of a URL's posts with `min_karma`. `sum` adds the
            scores up, so no post can be rejected before all are read.
        over_18: Whether posts marked "over 18" are kept.
    """

    urls: UrlRules
    blocked_subreddits: frozenset[str] = frozenset()
    min_karma: int = 3
    karma: str = "max"
    over_18: bool = True


class PostCounts(TypedDict):
    """Rows of one dump.

    Attributes:
        rows: Rows read.
        kept: Posts kept.
        rejected: Rows rejected, by reason.
        cut_short: The error to report about a dump that ends too early, or "".
    """

    rows: int
    kept: int
    rejected: dict[str, int]
    cut_short: str


Post = tuple[str, str, str, str, int, str, int]
"""Link id, URL, domain, post id, score, subreddit, time of creation in Unix seconds."""


def scan_dump(
    path: Path, target: Path, rules: PostRules, on_bytes: Callable[[int], object]
) -> PostCounts:
    """Write the kept posts of a dump to a Parquet file, in runs sorted by link id.

    Args:
        path: The dump.
        target: Parquet file to write.
        rules: Rules for keeping posts.
        on_bytes: Called with the number of compressed bytes read since its last call.

    Raises:
        UserError: The file cannot be read, or holds no submissions.
    """
    rejected: Counter[str] = Counter()
    rows = kept = 0
    cut_short = ""
    keep = _post_filter(rules)
    with _RunWriter(target) as runs:
        try:
            for lines in line_batches(path, on_bytes):
                rows += len(lines)
                kept += keep(lines, rejected, runs.posts)
                if len(runs.posts) >= POSTS_AT_ONCE:
                    runs.flush()
                if rows >= FIRST_ROWS:
                    _refuse_other_formats(path, rows, rejected)
        except BrokenFileError as error:
            if rows == 0:
                raise UserError(f"{path}: no row could be read: {error}") from error
            cut_short = f"{path}: {error}; the {rows:,} rows before were kept"
    _refuse_other_formats(path, rows, rejected)
    return {"rows": rows, "kept": kept, "rejected": dict(rejected), "cut_short": cut_short}


def _refuse_other_formats(path: Path, rows: int, rejected: Counter[str]) -> None:
    if rows and rejected[MALFORMED_ROW] == rows:
        raise UserError(
            f"{path}: none of the first {rows:,} rows is a Reddit submission "
            "(expected one JSON object per line with url, score and created_utc)"
        )


def _post_filter(rules: PostRules) -> Callable[[list[bytes], Counter[str], list[Post]], int]:
    """Return a function that keeps or rejects the lines of a dump.

    Its arguments are the lines, the counts of rejected rows by reason, to which it adds, and the
    list of posts, to which it appends. It returns the number of posts kept.
    """
    clean = url_cleaner(rules.urls)
    over_18, blocked = rules.over_18, rules.blocked_subreddits
    floor = rules.min_karma if rules.karma == "max" else -_INT64

    def judge(line: bytes) -> Post | str:  # noqa: PLR0911 - one return per reason
        try:
            post = _decoded(line)
            score = post.score if type(post.score) is int else int(float(post.score))
            created = int(float(post.created_utc))
        except (msgspec.ValidationError, ValueError, OverflowError, RecursionError):
            return MALFORMED_ROW
        if not (-_INT64 <= score < _INT64 and -_INT64 <= created < _INT64):
            return MALFORMED_ROW
        if post.is_self:
            return SELF_POST
        if post.url is None:
            return MALFORMED_ROW
        if score < floor:
            return LOW_KARMA
        if post.over_18 and not over_18:
            return OVER_18
        subreddit = post.subreddit or ""
        if blocked and subreddit.lower() in blocked:
            return BLOCKED_SUBREDDIT
        link = clean(post.url)
        if isinstance(link, str):
            return link
        name = post.id or xxhash.xxh3_64_hexdigest(line)
        return (link.id, link.url, link.domain, name, score, subreddit, created)

    def keep(lines: list[bytes], rejected: Counter[str], posts: list[Post]) -> int:
        before = len(posts)
        for line in lines:
            result = judge(line)
            if isinstance(result, str):
                rejected[result] += 1
            else:
                posts.append(result)
        return len(posts) - before

    return keep


_decode = msgspec.json.Decoder(Submission).decode


def _decoded(line: bytes) -> Submission:
    """Return the post of a line; faults in fields that are not read do not matter.

    Raises:
        ValueError: The line is not UTF-8 or not JSON, or the text of a field is not Unicode.
        msgspec.ValidationError: It is not a submission.
        RecursionError: It is nested too deeply.
    """
    if not line.isascii():
        line.decode()  # msgspec does not look into fields that are not read
    try:
        return _decode(line)
    except (msgspec.MsgspecError, RecursionError):
        post = msgspec.convert(decode_row(line), Submission)
    if not all(is_unicode(text) for text in (post.url, post.subreddit, post.id) if text):
        raise ValueError("half of a surrogate pair")
    return post


class _RunWriter:
    """Buffer of posts, appended to a Parquet file in runs that are sorted by link id."""

    def __init__(self, target: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema(
            [(name, pa.string()) for name in ("id", "url", "domain", "post")]
            + [("score", pa.int64()), ("subreddit", pa.string()), ("created", pa.int64())]
        )
        self._writer = pq.ParquetWriter(target, self._schema, compression="lz4")
        self.posts: list[Post] = []

    def __enter__(self) -> "_RunWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.flush()
        self._writer.close()

    def flush(self) -> None:
        """Write the buffer as one run; small row groups let a merge read one range of ids."""
        import pyarrow as pa

        columns: list[Any] = list(zip(*sorted(self.posts), strict=True)) or [()] * len(self._schema)
        table = pa.table(
            [pa.array(c, f.type) for c, f in zip(columns, self._schema, strict=True)],
            schema=self._schema,
        )
        self._writer.write_table(table, ROW_GROUP)
        self.posts.clear()
