"""Speed of links.py on one core: raw bytes per second and links per second.

    python benchmarks/links_speed.py REALDATA [--megabytes 1000 --rounds 3]

Long rows: the 2024 rows of 2 to 4 kB from the vintages file, repeated with other URLs, ids and
scores, in a zstd file with a window of 2^27 bytes. Short rows: the 2013 sample.
"""

import json
import random
import resource
import tempfile
from pathlib import Path
from typing import Any

import zstandard

from benchmarks.common.options import parser
from benchmarks.common.report import figure, report
from benchmarks.common.timing import alternate, median
from data_prep.links import rules_of
from data_prep.reddit import posts
from webtext_gpt.data.lines import line_batches


def long_rows(realdata: Path, target: Path, megabytes: int) -> int:
    """Write a dump like those of 2024 and return its uncompressed size in bytes."""
    source = realdata / "reddit/submissions_2005_2024_vintages.ndjson"
    rows: list[dict[str, Any]] = [json.loads(line) for line in source.open()]
    rows = [r for r in rows if r["created_utc"] == 1706745600.0]
    rows = [r for r in rows if 2000 < len(json.dumps(r)) < 4000]
    outbound = [r for r in rows if not r["is_self"]]
    sample = realdata / "reddit/submissions_2013_sample.ndjson.zst"
    short = [json.loads(line) for lines in line_batches(sample, lambda _: None) for line in lines]
    urls = [p["url"] for p in short if not p["is_self"]]
    rng, size, number = random.Random(0), 0, 0
    compressor = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    )
    with target.open("wb") as raw, compressor.stream_writer(raw) as out:
        while size < megabytes * 1_000_000:
            # As in real dumps, half of the rows are links; one in five has enough karma.
            row = dict(
                rng.choice(outbound if number % 2 else rows),
                id=f"{number:x}",
                score=rng.choice([1, 1, 1, 2, 9]),
            )
            if not row["is_self"]:
                row["url"] = f"{rng.choice(urls)}?n={number}"
            else:
                row["url"] += str(number)
            line = (json.dumps(row) + "\n").encode()
            out.write(line)
            size, number = size + len(line), number + 1
    return size


def main() -> None:
    options = parser(__doc__, megabytes=1000, rounds=3)
    options.add_argument("realdata", type=Path)
    args = options.parse_args()
    rules = rules_of([])
    records: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        dump, target = Path(folder) / "RS_2024.zst", Path(folder) / "posts.parquet"
        size = long_rows(args.realdata, dump, args.megabytes)
        sample = args.realdata / "reddit/submissions_2013_sample.ndjson.zst"

        def scan(name: str, path: Path) -> None:
            records[name] = posts.scan_dump(path, target, rules, lambda _: None)

        costs = alternate(
            {"long": lambda: scan("long", dump), "short": lambda: scan("short", sample)},
            args.rounds,
            warm_up=0,
        )
    rejected = records["short"]["rejected"]
    links = records["short"]["rows"] - rejected["self post"] - rejected["low karma"]
    rates = {
        "long": f"{size / median(costs['long']).wall / 1e6:.0f} MB/s uncompressed",
        "short": f"{links / median(costs['short']).wall:,.0f} outbound links/s",
    }
    labels = {"long": f"rows of 2024, {size / 1e6:,.0f} MB", "short": f"2013, {links:,} links"}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    report(
        "How fast are the links of a Reddit dump found? One core",
        ("", "speed", "seconds", "CPU seconds"),
        [(labels[name], rates[name], *map(figure, median(some))) for name, some in costs.items()],
        notes=[f"Peak memory {peak:.0f} MB."],
        costs=costs,
    )


if __name__ == "__main__":
    main()
