"""Reddit submission dumps to links: outbound URLs with karma, one row each (GPT-2, section 2.1).

    python data_prep/links.py dumps=[RS_2013-*.zst] out=corpus/links

Each dump is decoded by one process, which writes the posts it keeps, sorted by link, to a
scratch file; then the posts of each link are merged, a range of ids at a time.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import xxhash
from omegaconf import DictConfig, OmegaConf

from data_prep.crawl.urls import listed, url_rules
from data_prep.reddit.dumps import compression
from data_prep.reddit.posts import LOW_KARMA, PostRules, scan_dump
from data_prep.stage import ledger, workers
from data_prep.stage.engine import NATIVE, start_engine
from data_prep.stage.settings import settings
from webtext_gpt.cli import entry_point
from webtext_gpt.errors import UserError

POSTS_PER_PART = 500_000  # what one merge holds in memory, some 200 MB

SUFFIXES = (".zst", ".xz", ".bz2", ".gz", ".ndjson", ".json", ".jsonl")


def build_links(
    dumps: Sequence[str],
    out: str | Path,
    rules: PostRules,
    *,
    workers_at_once: int | None = None,
    engine: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make `out` from dumps (files, folders, globs) and return its manifest.

    Raises:
        UserError: a dump that is not one, or is cut short (after all else was written); `out`
            that holds something else.
    """
    watch = ledger.Stopwatch()
    paths = ledger.expand(dumps, SUFFIXES)
    for path in paths:
        compression(path)  # what is plainly no dump is said before hours of work on the others
    prints = {path: ledger.fingerprint(path) for path in paths}
    with ledger.Ledger(Path(out), "links", _recorded(rules), list(prints.values())) as book:
        if book.manifest is None:
            scans = _scan_all(book, prints, rules, workers_at_once)
            start_engine(engine or NATIVE)
            _merge(book, scans, rules, watch)
        manifest = book.manifest
    assert manifest is not None  # noqa: S101 - for the type checker
    if manifest["cut_short"]:
        raise UserError(
            "\n".join(manifest["cut_short"])
            + f"\n{out} holds what was read before; fetch the dump again to have the rest"
        )
    return manifest


def _recorded(rules: PostRules) -> dict[str, Any]:
    """The rules as the manifest keeps them; long lists as a digest."""
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
        long = (
            f"{len(ordered)} entries, xxh3 {xxhash.xxh3_64_hexdigest(' '.join(ordered).encode())}"
        )
        recorded[name] = ordered if len(ordered) <= 100 else long
    return recorded


def _scan_all(
    book: ledger.Ledger,
    prints: Mapping[Path, dict[str, Any]],
    rules: PostRules,
    workers_at_once: int | None,
) -> list[dict[str, Any]]:
    """Scan the dumps that no earlier run has finished; all their records, in a fixed order."""
    todo = [path for path, entry in prints.items() if book.done(entry["xxh3"]) is None]
    todo.sort(key=lambda path: -path.stat().st_size)  # the longest first
    scan = partial(_scan, prints=prints, folder=book.work, rules=rules)
    size = sum(path.stat().st_size for path in todo)
    for path, record in workers.each(
        scan, todo, workers_at_once, total=size, unit="B", label="reading dumps"
    ):
        book.finish_unit(prints[path]["xxh3"], record)
    return [book.done(entry["xxh3"]) or {} for entry in book.inputs]


def _scan(
    path: Path, prints: Mapping[Path, dict[str, Any]], folder: Path, rules: PostRules
) -> dict[str, Any]:
    target = folder / f"posts-{prints[path]['xxh3']}.parquet"
    watch = ledger.Stopwatch()
    with ledger.aside(target) as temporary:
        record = scan_dump(path, temporary, rules, workers.advance)
    return {**record, "file": target.name, "seconds": watch.seconds}


def _merge(
    book: ledger.Ledger,
    scans: Sequence[Mapping[str, Any]],
    rules: PostRules,
    watch: ledger.Stopwatch,
) -> None:
    rejected: Counter[str] = Counter()
    for scan in scans:
        rejected.update(scan["rejected"])
    files = [str(book.work / scan["file"]) for scan in scans]
    kept = sum(scan["kept"] for scan in scans)
    parts = max(-(-kept // POSTS_PER_PART), 1)
    # Ids are hashes in hexadecimal, so equal ranges of their first four digits hold equal shares.
    bounds = [f"{number * 65536 // parts:04x}" for number in range(parts)]
    rows_out = used = 0
    for number, (low, high) in enumerate(zip_longest(bounds, bounds[1:])):
        name = f"links-{number:05d}.parquet"
        record = book.done(name)
        if record is None:
            with ledger.aside(book.out / name) as temporary:
                record = merge_posts(files, temporary, low, high, rules)
            book.finish_unit(name, record)
        rejected.update(record["rejected"])
        rows_out += record["rows_out"]
        used += record["rows_used"]
    book.finish(
        rows_in=sum(scan["rows"] for scan in scans),
        rows_out=rows_out,
        rows_used=used,
        rejected=rejected,
        seconds=watch.seconds,
        cut_short=[scan["cut_short"] for scan in scans if scan["cut_short"]],
    )


def merge_posts(
    files: Sequence[str], target: Path, low: str, high: str | None, rules: PostRules
) -> dict[str, Any]:
    """Merge the posts of links with `low <= id < high` into one row a link, sorted by id."""
    import daft
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    from daft import col, lit

    posts = daft.read_parquet(list(files)).where(col("id") >= lit(low))
    if high is not None:
        posts = posts.where(col("id") < lit(high))
    # Overlapping dumps hold a post twice, perhaps crawled at two times: it counts once.
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
    """The rules that conf/data_prep/links.yaml gives with some overrides (`over_18=false`)."""
    from hydra import compose, initialize_config_dir

    conf = Path(__file__).resolve().parent.parent / "conf" / "data_prep"
    with initialize_config_dir(str(conf), version_base="1.3"):
        return post_rules(OmegaConf.to_container(compose("links", list(overrides))))


def post_rules(options: Any) -> PostRules:
    """The rules in a composed configuration, as plain values.

    Raises:
        UserError: `karma` is neither max nor sum; a block list cannot be read.
    """
    if options["karma"] not in ("max", "sum"):
        raise UserError(f"karma={options['karma']!r}: expected max or sum")
    blocked = listed(options["blocked_subreddits"])
    return PostRules(
        urls=url_rules(options["urls"], allow_private=options["allow_private"]),
        blocked_subreddits=frozenset(name.lower().removeprefix("r/") for name in blocked),
        min_karma=options["min_karma"],
        karma=options["karma"],
        over_18=options["over_18"],
    )


def run(cfg: DictConfig) -> dict[str, Any]:
    """Build the links that a composed configuration asks for. Returns the manifest."""
    options = settings(
        cfg,
        {"dumps": list, "min_karma": int, "karma": str, "over_18": bool, "allow_private": bool,
         "urls.unwrap": bool},
    )  # fmt: skip
    return build_links(
        options["dumps"],
        options["out"],
        post_rules(options),
        workers_at_once=options["workers"],
        engine=options["engine"],
    )


@entry_point("data_prep/links")
def main(cfg: DictConfig) -> None:
    """Compose the configuration, build the links, print the counts."""
    manifest = run(cfg)
    ledger.print_counts(manifest)


if __name__ == "__main__":
    main()
