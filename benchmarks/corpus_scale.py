"""Time and peak memory of each stage of a corpus at 1, 2, 4 and 8 times the same input.

    python benchmarks/corpus_scale.py [out=PICTURE.png] [base=1.0] [stages=links,dedup]
    python benchmarks/corpus_scale.py draw=docs/pictures/corpus_scale.csv

The inputs are synthetic, with a fixed seed: Reddit posts, a web site on loopback, web archives, and
documents whose words follow Zipf's law. A tenth of the documents are copies, and another tenth are
pages that share a frame (Jaccard similarity about 0.6, below the threshold). `base`
multiplies the smallest input. Memory is the peak of the proportional set size (PSS) of all
processes of a stage. The growth is the slope of log(time) or log(memory) over log(input) from
the second size to the last: 1 is linear, below 1 means that a part does not grow with the input.
`out=` also writes the figures, as CSV beside the picture, from which `draw=` draws it again.
"""

import csv
import io
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
import zstandard
from matplotlib.ticker import LogLocator

from benchmarks.common.report import report
from benchmarks.common.timing import cpu_seconds
from webtext_gpt.pictures import COLORS, GREY, End, headline, label_ends, picture

FACTORS = (1, 2, 4, 8)
PARAGRAPH = "The harbour was quiet when the first boats came back with the morning's catch. " * 2
LETTERS = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))


class Cost(NamedTuple):
    """Costs of one run of a stage.

    Attributes:
        cpu: Time of all its processes on a core, in seconds.
        memory: Peak memory of all its processes, in MB.
    """

    cpu: float
    memory: float


def posts(folder: Path, size: float) -> list[str]:
    """Write one dump of 100,000 posts times `size`, with as many fields as a real one."""
    rng = np.random.default_rng(0)
    filler = {f"field_{number}": "x" * 40 for number in range(30)}
    path = folder / "RS.zst"
    with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as out:
        for number in range(int(100_000 * size)):
            site, page, score = rng.integers((5000, 10**9, 9)).tolist()
            row = {**filler, "id": f"{number:x}", "is_self": number % 2 == 0, "score": score,
                   "url": f"http://site{site}.com/{page}", "created_utc": number,
                   "subreddit": "s"}  # fmt: skip
            out.write(json.dumps(row).encode() + b"\n")
    return [f"dumps={path}"]


def links(folder: Path, size: float) -> list[str]:
    """Write 500 links times `size` to a site on loopback, which `served` starts."""
    port = int((folder.parent / "port").read_text())
    urls = [f"http://127.0.0.1:{port}/{number}" for number in range(int(500 * size))]
    ids = [xxhash.xxh3_128_hexdigest(url.encode()) for url in urls]
    table = {"id": ids, "url": urls, "domain": ["127.0.0.1"] * len(urls)}
    pq.write_table(pa.table(table), folder / "links.parquet")
    return [f"links={folder}", "allow_private=true", "politeness.delay=0",
            "politeness.per_host=16", "politeness.concurrency=16"]  # fmt: skip


def page(name: str) -> bytes:
    """Return a page of about 3 kB of text."""
    paragraphs = "".join(f"<p>{PARAGRAPH} This was {name}, part {n}.</p>" for n in range(16))
    return f"<html><body><article>{paragraphs}</article></body></html>".encode()


def archives(folder: Path, size: float) -> list[str]:
    """Write web archives of 1,600 pages times `size`."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    for part in range(max(int(8 * size), 1)):
        with (folder / f"{part}.warc.gz").open("wb") as file:
            writer = WARCWriter(file, gzip=True)
            for number in range(200):
                http = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], "HTTP/1.1")
                url = f"http://a.com/{part}/{number}"
                body = io.BytesIO(page(url))
                record = writer.create_warc_record(url, "response", body, http_headers=http)
                writer.write_record(record)
    return [f"pages={folder}"]


def texts(folder: Path, size: float) -> Path:
    """Write 4,800 documents of 700 words times `size`; return the folder."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 10, 200_000)
    words = ["".join(rng.choice(LETTERS, n, p=_falling(len(LETTERS)))) for n in lengths]
    names = np.array(words, object)
    frame = names[rng.integers(0, len(names), 560)]

    def draw(count: int) -> np.ndarray:
        return names[(rng.zipf(1.15, count) - 1) % len(names)]

    for part in range(max(int(8 * size), 1)):
        rows = [" ".join(draw(700)) for _ in range(480)]
        rows += rows[:60]
        rows += [" ".join([*frame, *draw(140)]) for _ in range(60)]
        ids = [f"{part}-{number}" for number in range(len(rows))]
        pq.write_table(pa.table({"id": ids, "text": rows}), folder / f"{part}.parquet")
    return folder


def _falling(number: int) -> np.ndarray:
    """Return probabilities that fall like 1/rank, (number,)."""
    weights = 1 / np.arange(1, number + 1)
    return weights / weights.sum()


def dedup(folder: Path, size: float) -> list[str]:
    """Documents in parts of 8 million characters, so that the parts do not grow."""
    return [f"documents={texts(folder, size)}", "part_characters=8000000"]


def overlap(folder: Path, size: float) -> list[str]:
    """Documents, and a test set of constant size with a sentence of train in each text."""
    train = texts(folder, size)
    some = pq.read_table(train / "0.parquet")["text"].to_pylist()[:400]
    test = folder.parent / f"{folder.name}-test.jsonl"
    test.write_text("\n".join(json.dumps({"text": text[:1000]}) for text in some))
    return [f"train={train}", f"tests.some={test}", "direction=both"]


def tokenizer(folder: Path, size: float) -> list[str]:
    """Documents, all of them in the sample."""
    return [f"documents={texts(folder, size)}", "vocab_size=8192"]


def shards(folder: Path, size: float) -> list[str]:
    """Documents, and a tokenizer that was trained on those of the smallest size."""
    trained = folder.parent / "tokenizer"
    if not trained.exists():
        small = folder.parent / "small"
        small.mkdir()
        run("tokenizer", [*tokenizer(small, 1), f"out={trained}"])
    return [f"documents={texts(folder, size)}", f"tokenizer={trained}"]


STAGES: dict[str, Callable[[Path, float], list[str]]] = {
    "links": posts, "pages": links, "documents": archives, "dedup": dedup, "overlap": overlap,
    "tokenizer": tokenizer, "shards": shards,
}  # fmt: skip


def run(stage: str, arguments: list[str]) -> Cost:
    """Run a stage, and measure it from outside."""
    command = [sys.executable, f"data_prep/{stage}.py", *arguments]
    peak, before = 0.0, cpu_seconds()
    with tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(command, stdout=messages, stderr=messages)
        while process.poll() is None:
            peak = max(peak, _memory(process.pid))
            time.sleep(0.05)
        if process.returncode:
            messages.seek(0)
            sys.exit(f"{stage} failed:\n{messages.read().decode()}")
    return Cost(cpu_seconds() - before, peak)


def _memory(pid: int) -> float:
    """Return the memory of a process and its descendants in MB; shared pages count once."""
    total = 0
    try:
        one = psutil.Process(pid)
        for each in [one, *one.children(recursive=True)]:
            total += each.memory_full_info().pss
    except psutil.Error:  # one has just ended
        return 0.0
    return total / 1e6


def serve(ready: Connection) -> None:
    """Serve pages on loopback until the parent process ends; send the port through `ready`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"" if self.path == "/robots.txt" else page(self.path)
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(server.server_port)
    server.serve_forever()


@contextmanager
def served(folder: Path) -> Iterator[None]:
    """Serve pages in another process; write the port to `folder/port`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    (folder / "port").write_text(str(ours.recv()))
    try:
        yield
    finally:
        process.terminate()
        process.join()


def growth(values: list[float]) -> float:
    """Return the slope of log(value) over log(factor), without the smallest input."""
    return float(np.polyfit(np.log(FACTORS[1:]), np.log(values[1:]), 1)[0])


def draw(costs: dict[str, list[Cost]], file: Path) -> None:
    """Draw time and memory over the size of the input, both axes logarithmic."""
    n_times = FACTORS[-1] // FACTORS[0]
    time, memory = (
        max(getattr(found[-1], key) / getattr(found[0], key) for found in costs.values())
        for key in Cost._fields
    )
    with picture(file, height=6.4) as figure:
        headline(
            figure,
            f"{n_times} times the input takes at most {time:.1f} times the CPU time "
            f"and {memory:.1f} times the memory",
        )
        panels = figure.subplots(2, 1)
        for axes, key in zip(panels, Cost._fields, strict=True):
            low = min(getattr(found[0], key) for found in costs.values())
            axes.plot(FACTORS, [low * f for f in FACTORS], ":", color=GREY)
            ends = [End(low * FACTORS[-1], f"linear {n_times}x", GREY)]
            looks = zip(cycle((*COLORS, "black")), cycle("osD^vP"), strict=False)
            for (stage, found), (color, marker) in zip(costs.items(), looks, strict=False):
                values = [getattr(cost, key) for cost in found]
                axes.plot(FACTORS, values, marker=marker, color=color, markersize=5)
                ends.append(End(values[-1], f"{stage} {values[-1] / values[0]:.1f}x", color))
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_xlim(FACTORS[0] * 0.97, FACTORS[-1] * 1.03)
            axes.set_xticks(FACTORS, [f"{factor}x" for factor in FACTORS])
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.minorticks_off()
            label_ends(axes, ends)
        panels[0].set_ylabel("CPU time (seconds)")
        panels[1].set_ylabel("peak memory (MB)")
        panels[1].set_xlabel(f"size of the input; right: growth from 1x to {FACTORS[-1]}x")


def save(costs: dict[str, list[Cost]], file: Path) -> None:
    """Write the costs as CSV, a row for each stage and size."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("stage", "factor", *Cost._fields))
        for stage, found in costs.items():
            writer.writerows((stage, f, *cost) for f, cost in zip(FACTORS, found, strict=True))


def saved(file: Path) -> dict[str, list[Cost]]:
    """Return the costs that `save` wrote."""
    costs: dict[str, list[Cost]] = {}
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            costs.setdefault(row["stage"], []).append(Cost(float(row["cpu"]), float(row["memory"])))
    return costs


def main() -> None:
    """Measure the stages one after another and print the table."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if "draw" in given:
        table = Path(given["draw"])
        draw(saved(table), table.with_suffix(".png"))
        return
    base = float(given.get("base", 1))
    costs: dict[str, list[Cost]] = {}
    rows = []
    with tempfile.TemporaryDirectory() as name, served(Path(name)):
        for stage in given.get("stages", ",".join(STAGES)).split(","):
            costs[stage] = []
            for factor in FACTORS:
                folder = Path(name) / f"{stage}-{factor}"
                folder.mkdir()
                arguments = STAGES[stage](folder, base * factor)
                costs[stage].append(run(stage, [*arguments, f"out={folder}-out"]))
            row = [stage]
            for digits, values in (
                (1, [cost.cpu for cost in costs[stage]]),
                (0, [cost.memory for cost in costs[stage]]),
            ):
                row += [*(f"{value:.{digits}f}" for value in values), f"{growth(values):.2f}"]
            rows.append(row)
            print(*row, file=sys.stderr, flush=True)
    columns = [
        f"{what}, {factor}x" if factor else f"{what}, growth"
        for what in ("CPU s", "MB")
        for factor in (*FACTORS, 0)
    ]
    report("How do the time and memory of each stage grow with the corpus?", ("", *columns), rows)
    if "out" in given:
        save(costs, Path(given["out"]).with_suffix(".csv"))
        draw(costs, Path(given["out"]))


if __name__ == "__main__":
    main()
