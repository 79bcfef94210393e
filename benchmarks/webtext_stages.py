"""Whole stages of the corpus on a synthetic WebText, by the size of their input in gigabytes.

    python benchmarks/webtext_stages.py stage=dedup gigabytes=0.1,1
    python benchmarks/webtext_stages.py stage=overlap gigabytes=0.1,1 filter_memory=200M
    python benchmarks/webtext_stages.py draw=docs/pictures/scale.png \\
        results=docs/pictures/scale.jsonl

`common/webtext.py` makes the input: rows of a dump for `links`, archived pages for `documents`, and
documents of 5 kB for the others. Each stage runs as its own command with one worker. Memory is the
peak of the proportional set size of all its processes. The last row extrapolates the line through
the two largest sizes to WebText itself. `results=FILE` appends each measurement to a file, from
which the picture is drawn.
"""

import io
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common.report import report
from benchmarks.common.webtext import DOCUMENT_BYTES, GROUP, WebText, page, posts
from benchmarks.corpus_scale import run

WORDS = 1_027
"""Words of a document of 5 kB; its 8-grams are 7 fewer."""
ROW_BYTES = 1_797
PART_ROWS = 40_000
PAGES = 1_000
"""Pages of one archive."""
WEBTEXT = {"links": 1_000.0, "documents": 45e6 * DOCUMENT_BYTES / 1e9}
"""Size of WebText's input in GB, where it is not the 40 GB of its documents."""


class Point(NamedTuple):
    """One measurement.

    Attributes:
        stage: The stage.
        gigabytes: Size of its input.
        cpu: CPU seconds of all its processes.
        memory: Peak memory of all its processes, in MB.
        rows_in: Rows that it read.
        rows_out: Rows that it wrote.
    """

    stage: str
    gigabytes: float
    cpu: float
    memory: float
    rows_in: int
    rows_out: int


def dump(folder: Path, n_bytes: float) -> list[str]:
    """Write a dump, compressed as the published ones are."""
    import zstandard

    path = folder / "RS_2013-01.zst"
    count = int(n_bytes / ROW_BYTES / GROUP) * GROUP
    with path.open("wb") as raw, zstandard.ZstdCompressor(1).stream_writer(raw) as out:
        for row in posts(0, count):
            out.write(row)
    return [f"dumps={path}"]


def archives(folder: Path, n_bytes: float) -> list[str]:
    """Write archives of pages whose texts have `n_bytes` bytes in total."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    number = 0
    for table in WebText(WORDS).tables(int(n_bytes / DOCUMENT_BYTES)):
        texts = table["text"].to_pylist()
        for start in range(0, len(texts), PAGES):
            with (folder / f"{number:06d}.warc.gz").open("wb") as file:
                writer = WARCWriter(file, gzip=True)
                for text in texts[start : start + PAGES]:
                    url = f"http://site{number}.com/page"
                    http = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], "HTTP/1.1")
                    body = io.BytesIO(page(text, f"Page {number}"))
                    writer.write_record(
                        writer.create_warc_record(url, "response", body, http_headers=http)
                    )
                    number += 1
    return [f"pages={folder}", "text.language="]


def documents(folder: Path, n_bytes: float) -> list[str]:
    """Write documents into Parquet files of 200 MB."""
    tables: list[pa.Table] = []
    number = 0

    def write() -> None:
        nonlocal number
        pq.write_table(pa.concat_tables(tables), folder / f"{number:05d}.parquet")
        tables.clear()
        number += 1

    for table in WebText(WORDS).tables(int(n_bytes / DOCUMENT_BYTES)):
        tables.append(table)
        if sum(map(len, tables)) >= PART_ROWS:
            write()
    if tables:
        write()
    return [f"documents={folder}"]


def overlap(folder: Path, n_bytes: float) -> list[str]:
    """Write documents, and a test set of 400 of their beginnings and 400 other texts."""
    documents(folder, n_bytes)
    some = pq.read_table(folder / "00000.parquet")["text"].to_pylist()[:400]
    others = next(WebText(WORDS, seed=1).tables(400))["text"].to_pylist()
    test = folder.parent / "test.jsonl"
    test.write_text("\n".join(json.dumps({"text": text[:1000]}) for text in some + others))
    return [f"train={folder}", f"tests.some={test}"]


def shards(folder: Path, n_bytes: float) -> list[str]:
    """Write documents, and train a tokenizer on 10 MB of them."""
    arguments = documents(folder, n_bytes)
    made = folder.parent / "tokenizer"
    run("tokenizer", [*arguments, "vocab_size=8192", "sample_bytes=10000000", f"out={made}"])
    return [*arguments, f"tokenizer={made}"]


STAGES: dict[str, tuple[Callable[[Path, float], list[str]], list[str]]] = {
    "links": (dump, ["workers=1"]),
    "documents": (archives, ["workers=1"]),
    "dedup": (documents, ["carry=[]", "workers=1"]),
    "overlap": (overlap, ["workers=1"]),
    "tokenizer": (documents, ["sample_bytes=100000000", "vocab_size=8192"]),
    "shards": (shards, ["workers=1"]),
}


def measure(stage: str, sizes: Sequence[float], more: Sequence[str]) -> Iterator[Point]:
    """Run a stage at each size, in gigabytes, with further arguments."""
    make, fixed = STAGES[stage]
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "in").mkdir()
            arguments = make(Path(name) / "in", size * 1e9)
            out = Path(name) / "out"
            cost = run(stage, [*arguments, *fixed, *more, f"out={out}"])
            manifest = json.loads((out / "manifest.json").read_text())
        point = Point(stage, size, cost.cpu, cost.memory, manifest["rows_in"], manifest["rows_out"])
        print(*point, file=sys.stderr, flush=True)
        yield point


def growth(points: Sequence[Point], key: str) -> float:
    """Return how often a cost of one stage grows when its input grows tenfold."""
    first, last = min(points, key=_size), max(points, key=_size)
    ratio = math.log(getattr(last, key) / getattr(first, key))
    return float(10 ** (ratio / math.log(last.gigabytes / first.gigabytes)))


def _size(point: Point) -> float:
    return point.gigabytes


def draw(points: Sequence[Point], file: Path) -> None:
    """Draw CPU time and peak memory of all stages over the size of the input."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

    from webtext_gpt.pictures import COLORS, End, headline, ink, label_ends, picture

    stages = {name: [p for p in points if p.stage == name] for name in STAGES}
    stages = {name: sorted(own, key=_size) for name, own in stages.items() if own}
    largest = max(map(_size, points))
    time, memory = (max(growth(own, key) for own in stages.values()) for key in ("cpu", "memory"))
    with picture(file, height=6.4) as figure:
        headline(
            figure,
            f"Ten times the input takes at most {time:.1f} times the CPU time "
            f"and {memory:.1f} times the memory",
        )
        panels = figure.subplots(2, 1, sharex=True)
        for axes, key in zip(panels, ("cpu", "memory"), strict=True):
            axes.set(xscale="log", yscale="log")
            ends = []
            for (stage, own), color in zip(stages.items(), COLORS, strict=False):
                values = [getattr(point, key) for point in own]
                axes.plot([*map(_size, own)], values, marker="o", color=color)
                if own[-1].gigabytes == largest:
                    ends.append(End(values[-1], stage, color))
                else:
                    axes.annotate(
                        *(stage, (own[-1].gigabytes, values[-1]), (0, 5)),
                        textcoords="offset points",
                        color=ink(color),
                        ha="center",
                    )
            axes.margins(y=0.12)
            axes.xaxis.set_major_locator(FixedLocator(sorted(set(map(_size, points)))))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter("{x:,.0f}")
            label_ends(axes, ends)
        panels[0].set_ylabel("CPU time (seconds)")
        panels[1].set(ylabel="peak memory (MB)", xlabel="input (GB of text; links: of raw posts)")


def main() -> None:
    """Measure one stage at some sizes, and print a row for each; or draw what was measured."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    stage, results = given.pop("stage", ""), given.pop("results", "")
    if "draw" in given:
        lines = Path(results).read_text().splitlines()
        draw([Point(*json.loads(line)) for line in lines], Path(given["draw"]))
        return
    if stage not in STAGES:
        sys.exit(__doc__)
    sizes = [float(size) for size in given.pop("gigabytes", "0.1,1").split(",")]
    points = []
    for point in measure(stage, sizes, [f"{key}={value}" for key, value in given.items()]):
        points.append(point)
        if results:
            with Path(results).open("a") as file:
                file.write(json.dumps(point) + "\n")
    rows = [
        [f"{one.gigabytes:g}", f"{one.cpu:,.1f}", f"{one.memory:,.0f}", f"{one.rows_in:,}",
         f"{one.rows_out:,}"]
        for one in points
    ]  # fmt: skip
    if len(points) > 1:
        small, large = points[-2:]
        due = WEBTEXT.get(stage, 40.0)
        slope = (large.cpu - small.cpu) / (large.gigabytes - small.gigabytes)
        hours = (large.cpu + slope * (due - large.gigabytes)) / 3600
        rows.append([f"{due:,.0f}, by this line", f"{hours:,.2f} h", "", "", ""])
    report(
        f"How do time and memory of {stage} grow with the size of its input?",
        ("GB", "CPU s", "peak MB", "rows in", "rows out"),
        rows,
    )


if __name__ == "__main__":
    main()
