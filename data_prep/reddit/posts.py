"""One Reddit dump to the posts that are kept of it: typed decoding, rules, counted reasons."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from data_prep.crawl.urls import UrlRules, url_cleaner
from data_prep.reddit.dumps import BrokenDumpError, line_batches
from webtext_gpt.errors import UserError

MALFORMED_ROW = "malformed row"
SELF_POST = "self post"
LOW_KARMA = "low karma"
OVER_18 = "over 18"
BLOCKED_SUBREDDIT = "blocked subreddit"

ROWS_TO_JUDGE = 1000  # a file with no submission among so many rows is not a dump
POSTS_AT_ONCE = 100_000
ROW_GROUP = 8192

_INT64 = 1 << 63


class Submission(msgspec.Struct, gc=False):
    """The columns read of a post, with the types that 2005 to 2024 gave them."""

    score: int | float | str
    created_utc: int | float | str
    url: str | None = None
    subreddit: str | None = None
    id: str | None = None
    is_self: bool | None = False
    over_18: bool | None = False


@dataclass(frozen=True)
class PostRules:
    """Which posts are kept.

    `karma="max"` wants a post to reach `min_karma` itself; `"sum"` adds up the posts of one URL,
    so that each of them has to be kept until all are read. `over_18=False` rejects posts marked
    so. Blocked sub-reddits are in lower case.
    """

    urls: UrlRules
    blocked_subreddits: frozenset[str] = frozenset()
    min_karma: int = 3
    karma: str = "max"
    over_18: bool = True


def scan_dump(
    path: Path, target: Path, rules: PostRules, on_bytes: Callable[[int], None]
) -> dict[str, Any]:
    """Write the kept posts of a dump to a Parquet file, in runs sorted by link id.

    Returns `rows` read, `kept`, `rejected` by reason, and `cut_short`: what is to be said of a
    dump that ends too early, or "".

    Raises:
        UserError: the file cannot be read, or holds no submissions.
    """
    rejected: Counter[str] = Counter()
    rows = kept = 0
    cut_short = ""
    keep = _judge(rules)
    with _RunWriter(target) as runs:
        try:
            for lines in line_batches(path, on_bytes):
                rows += len(lines)
                kept += keep(lines, rejected, runs.posts)
                if len(runs.posts) >= POSTS_AT_ONCE:
                    runs.flush()
                if rows >= ROWS_TO_JUDGE:
                    _refuse_other_formats(path, rows, rejected)
        except BrokenDumpError as error:
            if rows == 0:
                raise UserError(f"{path}: no row could be read: {error}") from error
            cut_short = f"{path}: {error}; the {rows:,} rows before were kept"
    _refuse_other_formats(path, rows, rejected)
    return {"rows": rows, "kept": kept, "rejected": dict(rejected), "cut_short": cut_short}


def _refuse_other_formats(path: Path, rows: int, rejected: Counter[str]) -> None:
    if rows and rejected[MALFORMED_ROW] == rows:
        raise UserError(
            f"{path}: none of the first {rows:,} rows is a Reddit submission "
            "(one JSON object a line with url, score and created_utc)"
        )


def _judge(rules: PostRules) -> Callable[[list[bytes], Counter[str], list[tuple[Any, ...]]], int]:
    """Make the function that appends the posts it keeps of some lines and counts the others."""
    decode = msgspec.json.Decoder(Submission).decode
    clean = url_cleaner(rules.urls)
    over_18, blocked = rules.over_18, rules.blocked_subreddits
    floor = rules.min_karma if rules.karma == "max" else -_INT64

    def judge(line: bytes) -> tuple[Any, ...] | str:  # noqa: PLR0911 - one for each reason
        try:
            post = decode(line)
            score = post.score if type(post.score) is int else int(float(post.score))
            created = int(float(post.created_utc))
        except (msgspec.DecodeError, ValueError, OverflowError):
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

    def keep(lines: list[bytes], rejected: Counter[str], posts: list[tuple[Any, ...]]) -> int:
        before = len(posts)
        for line in lines:
            result = judge(line)
            if type(result) is str:
                rejected[result] += 1
            else:
                posts.append(result)  # type: ignore[arg-type]
        return len(posts) - before

    return keep


class _RunWriter:
    """Gathers posts and appends them to a Parquet file, each run sorted by link id."""

    def __init__(self, target: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema(
            [(name, pa.string()) for name in ("id", "url", "domain", "post")]
            + [("score", pa.int64()), ("subreddit", pa.string()), ("created", pa.int64())]
        )
        self._writer = pq.ParquetWriter(target, self._schema, compression="lz4")
        self.posts: list[tuple[Any, ...]] = []

    def __enter__(self) -> "_RunWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.flush()
        self._writer.close()

    def flush(self) -> None:
        """Write what was gathered; small row groups let a merge read one range of ids."""
        import pyarrow as pa

        columns: list[Any] = list(zip(*sorted(self.posts), strict=True)) or [()] * len(self._schema)
        table = pa.table(
            [pa.array(c, f.type) for c, f in zip(columns, self._schema, strict=True)],
            schema=self._schema,
        )
        self._writer.write_table(table, ROW_GROUP)
        self.posts.clear()
