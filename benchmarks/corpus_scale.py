"""Time and peak memory of each stage on synthetic inputs of size n and 2n.

python benchmarks/corpus_scale.py [links|dedup|documents] [scale]
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard


def dump(folder: Path, scale: int) -> str:
    rng = random.Random(0)
    compressor = zstandard.ZstdCompressor()
    path = folder / "RS.zst"
    filler = {f"field_{n}": "x" * 40 for n in range(30)}
    with path.open("wb") as raw, compressor.stream_writer(raw) as out:
        for number in range(200_000 * scale):
            row = {**filler, "id": f"{number:x}", "is_self": rng.random() < 0.5,
                   "url": f"http://site{rng.randrange(5000)}.com/{rng.randrange(10**9)}",
                   "score": rng.randrange(9), "created_utc": number, "subreddit": "s"}  # fmt: skip
            out.write(json.dumps(row).encode() + b"\n")
    return f"dumps=[{path}]"


def documents(folder: Path, scale: int) -> str:
    rng = random.Random(0)
    vocabulary = [f"word{n}" for n in range(30_000)]
    for part in range(8 * scale):
        texts = [" ".join(rng.choices(vocabulary, k=700)) for _ in range(2000)]
        texts += texts[:200]
        ids = [f"{part}-{n}" for n in range(len(texts))]
        pq.write_table(pa.table({"id": ids, "text": texts}), folder / f"{part}.parquet")
    return f"documents=[{folder}]"


def archives(folder: Path, scale: int) -> str:
    import io

    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    text = "The harbour was quiet when the first boats came back with the morning's catch. " * 12
    for part in range(4 * scale):
        with (folder / f"{part}.warc.gz").open("wb") as file:
            writer = WARCWriter(file, gzip=True)
            for number in range(400):
                body = f"<html><body><article><p>{text}{part} {number}.</p></article></body></html>"
                http = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], "HTTP/1.1")
                writer.write_record(writer.create_warc_record(
                    f"http://a.com/{part}/{number}", "response", io.BytesIO(body.encode()),
                    http_headers=http))  # fmt: skip
    return f"pages=[{folder}]"


def measure(command: list[str]) -> tuple[float, float]:
    """Return the seconds of a command and the peak memory (PSS) of all its processes, in MB."""
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        total = 0
        try:
            one = psutil.Process(process.pid)
            for each in [one, *one.children(recursive=True)]:
                total += each.memory_full_info().pss
        except psutil.Error:
            continue
        peak = max(peak, total / 1e6)
        time.sleep(0.05)
    assert process.returncode == 0, command
    return time.perf_counter() - start, peak


def main() -> None:
    make = {"links": dump, "dedup": documents, "documents": archives}
    scale = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for stage in [sys.argv[1]] if len(sys.argv) > 1 else list(make):
        results = []
        for times in (scale, 2 * scale):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name) / "in"
                folder.mkdir()
                inputs = make[stage](folder, times)
                command = [sys.executable, f"data_prep/{stage}.py", inputs, f"out={name}/out"]
                if stage == "dedup":
                    command.append("part_characters=32000000")
                results.append(measure(command))
        (one, low), (two, high) = results
        print(f"{stage}: {one:.1f} s, {low:.0f} MB -> {two:.1f} s, {high:.0f} MB "
              f"(time x {two / one:.2f}, memory x {high / low:.2f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
