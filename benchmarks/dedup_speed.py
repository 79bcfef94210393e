"""De-duplication compared with datatrove: same documents and parameters, two processes, one run.

    python benchmarks/dedup_speed.py REALDATA PYTHON_WITH_DATATROVE [--rounds 2]
    python benchmarks/dedup_speed.py templated [PAGES ...]

The documents are the 40 novels, cut into pieces of 700 words; a tenth of them are repeated with 0
to 11 words changed. Both sides read the same two Parquet files and write the documents they keep.
datatrove needs an environment of its own (`pip install "datatrove[processing]" spacy`), because
its version pins conflict with ours.

`templated` measures pages that share a frame of 300 words and have 100 of their own (similarity
about 0.6, so all are kept), on one core: CPU seconds of the search for clusters, and in total.
"""

import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common.options import parser
from benchmarks.common.report import report, report_costs
from benchmarks.common.timing import alternate

DATATROVE = """
import sys
from datatrove.executor import LocalPipelineExecutor as Run
from datatrove.pipeline.dedup.minhash import (MinhashConfig, MinhashDedupBuckets,
    MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature)
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter
source, out = sys.argv[1:]
if __name__ == "__main__":
    config = MinhashConfig(num_buckets=14, hashes_per_bucket=8, n_grams=5)
    log = lambda n: f"{out}/log{n}"
    Run([ParquetReader(source), MinhashDedupSignature(f"{out}/sig", config=config)],
        tasks=2, workers=2, logging_dir=log(1)).run()
    Run([MinhashDedupBuckets(f"{out}/sig", f"{out}/buckets", config=config)],
        tasks=14, workers=2, logging_dir=log(2)).run()
    Run([MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config=config)],
        tasks=1, workers=1, logging_dir=log(3)).run()
    Run([ParquetReader(source), MinhashDedupFilter(f"{out}/remove"), ParquetWriter(f"{out}/kept")],
        tasks=2, workers=2, logging_dir=log(4)).run()
"""

TEMPLATED = """
import os, sys, time
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
from data_prep import dedup
find, took = dedup.find_clusters, []
def timed(*arguments, **named):
    start = time.process_time()
    marks = find(*arguments, **named)
    took.append(time.process_time() - start)
    return marks
dedup.find_clusters = timed
manifest = dedup.deduplicate([sys.argv[1]], sys.argv[2], workers_at_once=1)
assert manifest["rows_out"] == manifest["rows_in"]
print(took[0], time.process_time())
"""


def documents(novels: Path) -> tuple[list[str], list[tuple[int, int]]]:
    """Return the texts, and (original, copy) for each planted copy."""
    rng, texts = random.Random(1), []
    for path in sorted(novels.glob("*.txt")):
        words = path.read_text(errors="replace").split()
        texts += [" ".join(words[at : at + 700]) for at in range(0, len(words), 700)]
    planted = []
    for number in rng.sample(range(len(texts)), len(texts) // 10):
        words = texts[number].split()
        for at in rng.sample(range(len(words)), min(len(words), rng.randint(0, 11))):
            words[at] = f"zq{rng.randrange(10**9)}"
        planted.append((number, len(texts)))
        texts.append(" ".join(words))
    return texts, planted


def jaccard(one: str, other: str, n: int = 5) -> float:
    """Textbook Jaccard similarity; words are lower-cased runs of letters and digits."""
    import regex

    a, b = (
        {tuple(w[i : i + n]) for i in range(max(len(w) - n + 1, 1))}
        for w in (regex.findall(r"[\p{L}\p{M}\p{N}]+", text.lower()) for text in (one, other))
    )
    return len(a & b) / len(a | b)


def templated(sizes: list[int]) -> None:
    """Print the time of de-duplicating different numbers of pages of one template."""
    rows = []
    for pages in sizes:
        rng = random.Random(0)
        frame, *own = (
            " ".join(f"w{rng.randrange(5000)}" for _ in range(words))
            for words in (300, *[100] * pages)
        )
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "pages.parquet"
            ids = [f"{number:07d}" for number in range(pages)]
            pq.write_table(pa.table({"id": ids, "text": [f"{frame} {o}" for o in own]}), source)
            done = subprocess.run(
                [sys.executable, "-c", TEMPLATED, str(source), f"{folder}/out"],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
        clusters, whole = map(float, done.stdout.split())
        rows.append((f"{pages:,}", f"{clusters:.2f}", f"{clusters / pages:.6f}", f"{whole:.2f}"))
    report(
        "How long does de-duplication of pages of one template take? One core",
        ("pages", "clusters, CPU s", "CPU s a page", "command, CPU s"),
        rows,
    )


def main() -> None:
    if sys.argv[1] == "templated":
        templated([int(size) for size in sys.argv[2:]] or [2000, 5000, 10_000, 20_000])
        return
    options = parser(__doc__, rounds=2)
    options.add_argument("realdata", type=Path)
    options.add_argument("python", help="interpreter of an environment with datatrove")
    args = options.parse_args()
    texts, planted = documents(args.realdata / "text/novels")
    ids = [f"d{n:06d}" for n in range(len(texts))]
    megabytes = sum(map(len, texts)) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        source, out, peer = Path(folder) / "in", Path(folder) / "out", Path(folder) / "peer"
        source.mkdir()
        half = len(texts) // 2
        for name, part in (("a", slice(0, half)), ("b", slice(half, None))):
            pq.write_table(
                pa.table({"id": ids[part], "text": texts[part]}), source / f"{name}.parquet"
            )
        script = Path(folder) / "peer.py"
        script.write_text(DATATROVE)

        def ours() -> None:
            shutil.rmtree(out, ignore_errors=True)
            command = ["data_prep/dedup.py", f"documents=[{source}]", f"out={out}"]
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)

        def datatrove() -> None:
            shutil.rmtree(peer, ignore_errors=True)
            command = [args.python, str(script), str(source), str(peer)]
            subprocess.run(command, check=True, capture_output=True)

        costs = alternate({"webtext-gpt": ours, "datatrove": datatrove}, args.rounds, warm_up=0)
        found = pq.read_table(out / "clusters.parquet").to_pylist()
        joined = {row["dropped"] for row in found} | {row["kept"] for row in found}
        expected = [(a, b) for a, b in planted if jaccard(texts[a], texts[b]) >= 0.8]
        missed = [pair for pair in expected if not {ids[pair[0]], ids[pair[1]]} <= joined]
        below = [row for row in found if row["similarity"] < 0.8]
    report_costs(
        f"How fast are near-duplicates removed? {len(texts):,} documents, whole commands, two "
        "processes",
        costs,
        amount=megabytes,
        unit="MB",
        notes=[
            f"Ours: of {len(expected):,} planted copies with similarity of at least 0.8, "
            f"{len(missed)} were missed; of {len(found):,} dropped documents, {len(below)} are "
            "less than 0.8 similar to the one that is kept.",
        ],
    )


if __name__ == "__main__":
    main()
