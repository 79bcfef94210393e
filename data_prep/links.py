"""Reddit submission dumps to links: outbound URLs and their karma, one row each (section 2.1).

    python data_prep/links.py dumps=[RS_2013-*.zst] out=corpus/links

Each dump is decoded by one process, which writes the posts it keeps to a scratch file, sorted by
link. Then the posts of each link are merged into one row, one range of link ids at a time.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("links")


import time
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypedDict

import xxhash

from data_prep.crawl.urls import read_names, url_rules
from data_prep.reddit.memory import scan_memory
from data_prep.reddit.posts import LOW_KARMA, PostCounts, PostRules, scan_dump
from data_prep.settings import Links
from data_prep.stage import workers
from data_prep.stage.engine import NATIVE, Engine, daft_paths, start_daft, start_engine
from data_prep.stage.inputs import InputFile, expand
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, print_counts
from data_prep.stage.memory import available_memory, processes_that_fit
from data_prep.stage.outputs import fingerprint
from data_prep.stage.records import Records
from webtext_gpt.cli import Call, parse, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.terminal import say

POSTS_PER_PART = 500_000  # posts that one merge holds in memory, about 200 MB

SUFFIXES = (".zst", ".xz", ".bz2", ".gz", ".ndjson", ".json", ".jsonl")


class ScanRecord(PostCounts):
    """Record of one dump: its counts, the scratch file of its posts, and the seconds it took."""

    file: str
    seconds: float


class MergeRecord(TypedDict):
    """Record of one part of the output: links written, posts used, posts rejected by reason."""

    rows_out: int
    rows_used: int
    rejected: dict[str, int]


def build_links(
    dumps: Sequence[str],
    out: str | Path,
    rules: PostRules,
    *,
    workers_at_once: int | None = None,
    engine: Engine = NATIVE,
) -> Manifest:
    """Build the links of some dumps.

    Args:
        dumps: Files, folders or globs.
        out: Folder to create.
        rules: Rules for keeping posts.
        workers_at_once: Maximum number of processes. None means one per core. Fewer run if memory
            does not suffice for the windows of the dumps.
        engine: Where dumps are read and posts merged.

    Returns:
        The manifest.

    Raises:
        UserError: A file is not a dump; `out` holds other files; or a dump is cut short, which
            is reported after everything else was written.
    """
    started = time.monotonic()
    paths = expand(dumps, SUFFIXES, "dumps", any_name=True)
    # This refuses a file that is not a dump before hours of work on the others.
    needs = [scan_memory(path) for path in paths]
    files = [InputFile(path, fingerprint(path)) for path in paths]
    with Ledger(out, "links", _recorded(rules), files, started=started) as ledger:
        if not ledger.finished:
            start_engine(engine, files, ledger.out)
            scan = partial(_scan, folder=ledger.work, rules=rules)
            is_native = engine["name"] == "native"
            at_once = _processes(needs, workers_at_once) if is_native else workers_at_once
            scans = ledger.run_files(
                scan, ledger.inputs, label="reading dumps", workers=at_once, engine=engine,
                memory=max(needs),
            )  # fmt: skip
            _merge(ledger, scans, rules, workers_at_once, engine)
        manifest = ledger.manifest
    if manifest["cut_short"]:
        raise UserError(
            "\n".join(manifest["cut_short"])
            + f"\n{out} holds everything that could be read; download the dump again for the rest"
        )
    return manifest


def _processes(needs: Sequence[int], wanted: int | None) -> int:
    """Return the number of processes at once; print a line if memory allows fewer than wanted."""
    available = available_memory()
    most = min(wanted or workers.cores(), len(needs))
    fit = min(processes_that_fit(needs, available), most)
    largest = max(needs)
    if available is not None and largest > available:
        say(
            f"links: warning: a dump needs up to {largest / 1e9:.1f} GB of memory, and "
            f"{available / 1e9:.1f} GB are available: if the process is killed, run the same "
            "command on a machine with more"
        )
    elif fit < most:
        say(
            f"links: {fit} dumps at once, not {most}: a dump needs up to {largest / 1e9:.1f} GB of "
            f"memory, and {(available or 0) / 1e9:.1f} GB are available"
        )
    return fit


def _recorded(rules: PostRules) -> dict[str, Any]:
    """Return the rules as the manifest stores them, with long lists replaced by a digest."""
    urls = rules.urls
    lists = {
        **{f"hosts.{reason}": names for reason, names in urls.hosts.items()},
        "extensions": urls.extensions,
        "tracking": urls.tracking,
        "blocked_subreddits": rules.blocked_subreddits,
    }
    recorded: dict[str, Any] = {
        "min_karma": rules.min_karma,
        "karma": rules.karma,
        "over_18": rules.over_18,
        "unwrap": urls.unwrap,
        "allow_private": urls.allow_private,
    }
    for name, values in lists.items():
        ordered = sorted(values)
        digest = xxhash.xxh3_64_hexdigest(" ".join(ordered).encode())
        summary = f"{len(ordered)} entries, xxh3 {digest}"
        recorded[name] = ordered if len(ordered) <= 100 else summary
    return recorded


def _scan(file: InputFile, folder: Path, rules: PostRules) -> ScanRecord:
    """Write the kept posts of one dump to `folder`."""
    target = folder / f"posts-{file.hash}.parquet"
    started = time.monotonic()
    with replaced(target) as temporary:
        counts = scan_dump(file.path, temporary, rules, workers.advance)
    return {**counts, "file": target.name, "seconds": time.monotonic() - started}


def _merge(
    ledger: Ledger,
    scans: Records[ScanRecord],
    rules: PostRules,
    workers_at_once: int | None,
    engine: Engine,
) -> None:
    """Merge the posts of all dumps into links; a part of the output is a task."""
    posts = [str(ledger.work / scan["file"]) for scan in scans]
    parts = max(-(-scans.total("kept") // POSTS_PER_PART), 1)
    # Ids are hexadecimal hashes, so equal ranges of their first four digits hold equal shares.
    bounds = [f"{number * 65536 // parts:04x}" for number in range(parts)]
    names = [f"links-{number:05d}.parquet" for number in range(parts)]
    ranges = zip(names, zip_longest(bounds, bounds[1:]), strict=True)
    merges = ledger.run_parts(
        partial(_merge_part, posts=posts, rules=rules),
        {name: (ledger.out / name, low, high) for name, (low, high) in ranges},
        label="merging posts",
        workers=workers_at_once,
        engine=engine,
    )
    ledger.finish(
        rows_in=scans.total("rows"),
        rows_out=merges.total("rows_out"),
        rows_used=merges.total("rows_used"),
        rejected=scans.rejected + merges.rejected,
        cut_short=[scan["cut_short"] for scan in scans if scan["cut_short"]],
    )


def _merge_part(
    part: tuple[Path, str, str | None], posts: Sequence[str], rules: PostRules
) -> MergeRecord:
    """Write one part of the output."""
    target, low, high = part
    with replaced(target) as temporary:
        return merge_posts(posts, temporary, low, high, rules)


def merge_posts(
    files: Sequence[str], target: Path, low: str, high: str | None, rules: PostRules
) -> MergeRecord:
    """Merge the posts of links with `low <= id < high` into one row per link, sorted by id.

    Args:
        files: Parquet files of posts, as `scan_dump` writes them.
        target: Parquet file to write.
        low: First id, or a prefix of it.
        high: First id after the range. None means the range has no end.
        rules: They say how karma is computed, and how much of it a link needs.
    """
    start_daft()
    import daft
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from daft import col, lit

    posts = daft.read_parquet(daft_paths(files)).where(col("id") >= lit(low))
    if high is not None:
        posts = posts.where(col("id") < lit(high))
    # A post that several dumps hold counts once, with the highest score that any of them saw.
    unique = posts.groupby("id", "post").agg(
        col("score").max(), col("url").min(), col("domain").min(),
        col("subreddit").min(), col("created").min(), col("post").count().alias("times"),
    )  # fmt: skip
    total = col("score").max() if rules.karma == "max" else col("score").sum()
    links = unique.groupby("id").agg(
        col("url").min(), col("domain").min(), total.alias("karma"),
        col("post").count().alias("posts"), col("times").sum(),
        col("subreddit").list_agg_distinct().list_sort().alias("subreddits"),
        col("created").min().alias("first_seen"),
    )  # fmt: skip
    table = links.sort("id").to_arrow()
    repeated = (pc.sum(table["times"]).as_py() or 0) - (pc.sum(table["posts"]).as_py() or 0)
    enough = pc.greater_equal(table["karma"], rules.min_karma)
    lost = pc.sum(table.filter(pc.invert(enough))["posts"]).as_py() or 0
    table = table.filter(enough)
    schema = pa.schema([
        ("id", pa.string()), ("url", pa.string()), ("domain", pa.string()),
        ("karma", pa.int64()), ("posts", pa.int64()),
        ("subreddits", pa.list_(pa.string())), ("first_seen", pa.int64()),
    ])  # fmt: skip
    table = table.select(schema.names).cast(schema)
    pq.write_table(table, target, compression="zstd")
    rejected = {"repeated post": repeated, LOW_KARMA: lost}
    return {
        "rows_out": table.num_rows,
        "rows_used": pc.sum(table["posts"]).as_py() or 0,
        "rejected": {reason: count for reason, count in rejected.items() if count},
    }


def rules_of(overrides: Sequence[str]) -> PostRules:
    """Return the rules of `links.py` with some settings (`over_18=false`)."""
    command = COMMANDS["links"]
    needed = ["dumps=unused", "out=unused"]
    settings = read_settings(command, parse([*overrides, *needed], command))
    assert isinstance(settings, Links)  # noqa: S101 - for the type checker
    return post_rules(settings)


def post_rules(settings: Links) -> PostRules:
    """Return the rules that settings state.

    Raises:
        UserError: A block list cannot be read.
    """
    blocked = read_names(settings.blocked_subreddits, "blocked_subreddits")
    return PostRules(
        urls=url_rules(settings.urls, allow_private=settings.allow_private),
        blocked_subreddits=frozenset(name.lower().removeprefix("r/") for name in blocked),
        min_karma=settings.min_karma,
        karma=settings.karma,
        over_18=settings.over_18,
    )


def run(settings: Links) -> Manifest:
    """Run the stage and return the manifest."""
    return build_links(
        settings.dumps,
        settings.out,
        post_rules(settings),
        workers_at_once=settings.workers,
        engine=settings.engine.arguments(),
    )


def main(settings: Links, call: Call) -> None:
    """Build the links and print the counts."""
    print_counts(run(settings))
