"""Megabytes of text per second encoded: the stage, train.py's path, tiktoken and tokenizers.

    python benchmarks/tokenizing_speed.py REALDATA [repeats] [training]

`training` measures what `train.py` does alone: the novels as data=files and the docstrings of the
installed packages as data=docstrings, tokenized with `tokenizers` and with the compiled loops in
turn; then the same with reading the text and training a tokenizer of 4,096 ids. The time includes
loading the loops, which numba has compiled before. CPU seconds are those of all threads.

Otherwise: one run on two cores. The documents are the 40 novels, cut into pieces of 5,000
characters, in two Parquet files. The stage is timed from files to files (reading, splitting,
encoding, hashing, writing), with and without process start-up. The peers are timed for encoding
alone, with the texts in memory.
"""

import functools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tiktoken

from webtext_gpt.data import tokenizing
from webtext_gpt.data.encoding import FastEncoder, byte_alphabet
from webtext_gpt.data.prepare import prepare_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.data.sources import Docstrings, Files, TextSource
from webtext_gpt.tokenizer import GPT2_PATTERN, load_gpt2, train_bpe

CORES = 2
TIMES = 3


def best(task: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = task()
        taken.append(time.perf_counter() - start)
    return min(taken), result


def stage(folder: Path, vocabulary: Path, out: Path) -> float:
    """Run the stage and return the seconds in its manifest."""
    shutil.rmtree(out, ignore_errors=True)
    subprocess.run(
        [sys.executable, "data_prep/shards.py", f"documents=[{folder}]",
         f"tokenizer={vocabulary}", f"out={out}", f"workers={CORES}"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return float(json.loads((out / "manifest.json").read_text())["seconds"])


def not_fast(_: Any) -> Any:
    """Stand in for `FastEncoder`, so that `tokenizers` encodes, as in earlier versions."""
    return SimpleNamespace(is_fast=False)


def training(realdata: Path, repeats: int) -> None:
    """Measure the preparation of text for `train.py`."""
    novels = Files(str(realdata / "text/novels"), val_fraction=0.1)
    sources: dict[str, TextSource] = {"files": novels, "docstrings": Docstrings(0.02)}
    for name, source in sources.items():
        texts = list(source.documents())
        size = sum(len(text.encode()) for text in texts) / 1e6
        given = train_bpe(texts, 4096)
        FastEncoder(given).encode_batch(["compiled"])
        to_train = functools.partial(train_bpe, vocab_size=4096)
        for what, recipe in (("tokenizing", given), ("with training a tokenizer", to_train)):
            hashes = set()
            for which, encoder in (("tokenizers", not_fast), ("loops", FastEncoder)) * repeats:
                with tempfile.TemporaryDirectory() as cache:
                    start, cpu = time.perf_counter(), time.process_time()
                    with patch.object(tokenizing, "FastEncoder", encoder):
                        made = prepare_shards(source, recipe, cache)
                    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
                    hashes.add(made.hash)
                print(f"data={name}, {what}, {which}: {wall:.2f} s ({size / wall:.1f} MB/s), "
                      f"{cpu:.2f} CPU s ({size / cpu:.1f} MB/s)", flush=True)  # fmt: skip
            assert len(hashes) == 1, "the token ids differ"


def main() -> None:
    realdata, repeats = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2
    if "training" in sys.argv[3:]:
        training(realdata, repeats)
        return
    novels = sorted((realdata / "text/novels").glob("*.txt"))
    texts = [t[at : at + 5000] for t in (p.read_text() for p in novels)
             for at in range(0, len(t), 5000)] * TIMES  # fmt: skip
    texts = [f"{number} {text}" for number, text in enumerate(texts)]
    size = sum(len(text.encode()) for text in texts) / 1e6
    gpt2 = load_gpt2(realdata / "tokenizer")
    byte_of = {stand_in: byte for byte, stand_in in enumerate(byte_alphabet())}
    vocab = json.loads((realdata / "tokenizer/encoder.json").read_text())
    ranks = {bytes(byte_of[c] for c in token): number for token, number in vocab.items()
             if number != gpt2.end_of_text}  # fmt: skip
    peer = tiktoken.Encoding("gpt2", pat_str=GPT2_PATTERN, mergeable_ranks=ranks, special_tokens={})
    print(f"{len(texts):,} documents, {size:.1f} MB, {CORES} cores")
    theirs, ids = best(lambda: peer.encode_ordinary_batch(texts, num_threads=CORES), repeats)
    print(f"tiktoken.encode_ordinary_batch     {size / theirs:6.1f} MB/s")
    slow, own = best(lambda: gpt2.encode_batch(texts[: len(texts) // TIMES]), repeats)
    print(f"tokenizers.encode_batch_fast       {size / TIMES / slow:6.1f} MB/s")
    assert all(a.tolist() == b for a, b in zip(own, ids, strict=False))
    encoder = FastEncoder(gpt2)
    encoder.encode_batch(["compiled"])
    alone, found = best(lambda: encoder.encode_batch(texts), repeats)
    print(f"FastEncoder, one core              {size / alone:6.1f} MB/s")
    assert all(np.array_equal(a, b) for a, b in zip(found, ids, strict=True))
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = Path(scratch) / "documents", Path(scratch) / "shards"
        folder.mkdir()
        for number in range(CORES):
            part = texts[number::CORES]
            names = [f"{number}-{n}" for n in range(len(part))]
            pq.write_table(pa.table({"id": names, "text": part}), folder / f"{number}.parquet")
        with_start_up, _ = best(lambda: stage(folder, realdata / "tokenizer", out), repeats)
        work = json.loads((out / "manifest.json").read_text())["seconds"]
        print(f"the stage, files to shards         {size / work:6.1f} MB/s")
        print(f"the same with start-up             {size / with_start_up:6.1f} MB/s")
        shards = TokenShards(out)
        total = sum(shards.split(s).n_tokens for s in ("train", "validation"))
        assert total == sum(len(i) + 1 for i in ids)
        ours = sorted(tuple(d[:50]) for s in ("train", "validation")
                      for d in shards.split(s).documents())  # fmt: skip
        assert ours == sorted(tuple(np.array(i[:50], np.uint16)) for i in ids)
        print("the ids are the same")


if __name__ == "__main__":
    main()
