"""Megabytes of text per second encoded: the stage, train.py's path, tiktoken and tokenizers.

    python benchmarks/tokenizing_speed.py REALDATA [--rounds 3 --training --novels 40]

`--training` measures only the preparation for training: the novels as data=files and the docstrings
of installed packages as data=docstrings, tokenized with `tokenizers` and with the compiled loops in
turn; then the same with reading the text and training a tokenizer of 4,096 ids. The time includes
loading the loops, which numba has compiled before.

Otherwise: the documents are the novels, cut into pieces of 5,000 characters, in two Parquet files.
The stage is timed from files to files (start-up, reading, splitting, encoding, hashing, writing).
The loops and the peers are timed for encoding alone, with the texts in memory. All alternate.
"""

import functools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tiktoken

from benchmarks.common.options import parser
from benchmarks.common.report import figure, report, report_costs
from benchmarks.common.timing import alternate, median
from webtext_gpt.data import tokenizing
from webtext_gpt.data.encoding import FastEncoder, byte_alphabet
from webtext_gpt.data.prepare import prepare_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.data.sources import Docstrings, Files, TextSource
from webtext_gpt.tokenizer import GPT2_PATTERN, load_gpt2, train_bpe

CORES = 2
TIMES = 3
STAGE = "`data_prep/shards.py`, from files to shards, two cores"
LOOPS = "its compiled loops alone, one core"


def stage(folder: Path, vocabulary: Path, out: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [sys.executable, "data_prep/shards.py", f"documents=[{folder}]",
         f"tokenizer={vocabulary}", f"out={out}", f"workers={CORES}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def not_fast(_: Any) -> Any:
    """Stand in for `FastEncoder`, so that `tokenizers` encodes, as in earlier versions."""
    return SimpleNamespace(is_fast=False)


def training(realdata: Path, rounds: int) -> None:
    """Measure the preparation of text for `train.py`."""
    novels = Files(str(realdata / "text/novels"), val_fraction=0.1)
    sources: dict[str, TextSource] = {"files": novels, "docstrings": Docstrings(0.02)}
    for name, source in sources.items():
        texts = list(source.documents())
        size = sum(len(text.encode()) for text in texts) / 1e6
        given = train_bpe(texts, 4096)
        FastEncoder(given).encode_batch(["compiled"])
        to_train = functools.partial(train_bpe, vocab_size=4096)
        for what, recipe in (("tokenized", given), ("tokenized by a new tokenizer", to_train)):
            hashes = set()

            def prepare(encoder: Any, source: TextSource, recipe: Any, hashes: set[str]) -> None:
                with (
                    tempfile.TemporaryDirectory() as cache,
                    patch.object(tokenizing, "FastEncoder", encoder),
                ):
                    hashes.add(prepare_shards(source, recipe, cache).hash)

            costs = alternate(
                {
                    "compiled loops": lambda r=recipe, h=hashes, s=source: prepare(
                        FastEncoder, s, r, h
                    ),
                    "tokenizers": lambda r=recipe, h=hashes, s=source: prepare(not_fast, s, r, h),
                },
                rounds,
                warm_up=0,
            )
            assert len(hashes) == 1, "the token ids differ"
            report_costs(
                f"How fast is text {what} for `train.py data={name}`?",
                costs,
                amount=size,
                unit="MB",
            )


def main() -> None:
    options = parser(__doc__, rounds=3, novels=40)
    options.add_argument("realdata", type=Path)
    options.add_argument("--training", action="store_true")
    args = options.parse_args()
    if args.training:
        training(args.realdata, args.rounds)
        return
    novels = sorted((args.realdata / "text/novels").glob("*.txt"))[: args.novels]
    texts = [t[at : at + 5000] for t in (p.read_text() for p in novels)
             for at in range(0, len(t), 5000)] * TIMES  # fmt: skip
    texts = [f"{number} {text}" for number, text in enumerate(texts)]
    part = texts[: len(texts) // TIMES]  # for the slower programs
    size, part_size = (sum(len(text.encode()) for text in some) / 1e6 for some in (texts, part))
    gpt2 = load_gpt2(args.realdata / "tokenizer")
    byte_of = {stand_in: byte for byte, stand_in in enumerate(byte_alphabet())}
    vocab = json.loads((args.realdata / "tokenizer/encoder.json").read_text())
    ranks = {bytes(byte_of[c] for c in token): number for token, number in vocab.items()
             if number != gpt2.end_of_text}  # fmt: skip
    peer = tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
    encoder = FastEncoder(gpt2)
    encoder.encode_batch(["compiled"])
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch) / "documents", Path(scratch) / "shards"
        folder.mkdir()
        for number in range(CORES):
            own = texts[number::CORES]
            names = [f"{number}-{n}" for n in range(len(own))]
            pq.write_table(pa.table({"id": names, "text": own}), folder / f"{number}.parquet")

        def remember(name: str, ids: Any) -> None:
            found[name] = ids

        sizes = {STAGE: size, LOOPS: size, "tiktoken, two cores": size, "tokenizers": part_size}
        costs = alternate(
            {
                STAGE: lambda: stage(folder, args.realdata / "tokenizer", out),
                LOOPS: lambda: remember(LOOPS, encoder.encode_batch(texts)),
                "tiktoken, two cores": lambda: remember(
                    "tiktoken", peer.encode_ordinary_batch(texts, num_threads=CORES)
                ),
                "tokenizers": lambda: remember("tokenizers", gpt2.encode_batch(part)),
            },
            args.rounds,
            warm_up=0,
        )
        _check(texts, found, TokenShards(out))
    speeds = {name: sizes[name] / median(some).wall for name, some in costs.items()}
    report(
        f"How fast is text encoded with GPT-2's tokenizer? {len(texts):,} documents, {size:.1f} MB",
        ("", "MB/s", "MB per CPU second"),
        [
            (name, figure(speeds[name]), figure(sizes[name] / median(some).cpu))
            for name, some in costs.items()
        ],
        ratios={f"{LOOPS} / {name}": speeds[LOOPS] / speeds[name] for name in list(speeds)[2:]},
        notes=["All find the same ids."],
        costs=costs,
    )


def _check(texts: list[str], found: dict[str, Any], shards: TokenShards) -> None:
    """Assert that the stage, the loops and the peers found the same ids."""
    ids = found["tiktoken"]
    assert all(a.tolist() == b for a, b in zip(found["tokenizers"], ids, strict=False))
    assert all(np.array_equal(a, b) for a, b in zip(found[LOOPS], ids, strict=True))
    splits = [shards.split(name) for name in ("train", "validation")]
    assert sum(split.n_tokens for split in splits) == sum(len(own) + 1 for own in ids)
    assert sorted(tuple(d[:50]) for split in splits for d in split.documents()) == sorted(
        tuple(np.array(own[:50], np.uint16)) for own in ids
    )


if __name__ == "__main__":
    main()
