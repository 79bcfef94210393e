r"""Tokenizer of the corpus: a byte-level BPE trained on a sample of it, or GPT-2's own.

    python data_prep/tokenizer.py documents=[corpus/dedup] out=corpus/tokenizer vocab_size=50257
    python data_prep/tokenizer.py gpt2=FOLDER out=corpus/tokenizer

A document is in the sample if a hash of the seed and its text is small enough, so the sample does
not depend on the files, their order or their number. Each file is read once, by a task of its own:
the bound falls as the size of the text read so far grows, and documents below it then go to a
scratch file. Those below the bound of all text are the sample.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("tokenizer")


import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from data_prep.ngrams.arrays import Flags, Hashes
from data_prep.settings import TokenizerSettings
from data_prep.stage import workers
from data_prep.stage.engine import NATIVE, Engine, start_engine
from data_prep.stage.inputs import InputFile, find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, source_manifests
from data_prep.stage.readers import SUFFIXES, Layout, batches
from webtext_gpt.cli import Call
from webtext_gpt.data.rows import plural
from webtext_gpt.data.shards import TOKENIZER
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.terminal import say
from webtext_gpt.tokenizer import load_gpt2, train_bpe

SMALL_INPUT = 256 << 20  # bytes that one process reads before worker processes would have started
ROWS_AT_ONCE = 1024
SCRATCH = pa.schema([("number", pa.uint64()), ("text", pa.large_binary())])


class ReadRecord(TypedDict):
    """Record of one file: its scratch file, documents, bytes of their text, and rejected rows."""

    file: str
    documents: int
    bytes: int
    rejected: dict[str, int]


def build_tokenizer(
    documents: Sequence[str],
    out: str | Path,
    *,
    vocab_size: int = 50257,
    sample_bytes: int = 1_000_000_000,
    seed: int = 0,
    gpt2: str | Path | None = None,
    layout: Layout = Layout(),  # noqa: B008 - frozen
    workers_at_once: int | None = None,
    engine: Engine = NATIVE,
) -> Manifest:
    """Train a tokenizer on a sample of some documents, or use an existing one.

    Args:
        documents: Files, folders or globs of documents; not read if `gpt2` is given.
        out: Folder to create, with `tokenizer.json` in it.
        vocab_size: Number of token ids: 256 bytes, the merges, and <|endoftext|>.
        sample_bytes: Approximate size of the sample, in UTF-8 bytes of text. The manifest holds
            the true size.
        seed: Seed of the sample.
        gpt2: Folder, `tokenizer.json` or Hugging Face Hub name of a tokenizer to use instead.
        layout: Layout of the documents in the files.
        workers_at_once: Number of processes that read documents. None means one per core.
        engine: Where they run. The tokenizer is trained here.

    Returns:
        The manifest.

    Raises:
        UserError: The documents cannot be read or hold no text, or `out` holds other files.
    """
    started = time.monotonic()
    files = find_inputs(documents, SUFFIXES, "documents", out=out) if gpt2 is None else []
    config: dict[str, Any] = {"gpt2": gpt2 is not None}
    if gpt2 is None:
        config |= {"vocab_size": vocab_size, "sample_bytes": sample_bytes, "seed": seed,
                   "lines": layout.lines, "text_key": layout.text_key}  # fmt: skip
    made = load_gpt2(gpt2, "gpt2") if gpt2 is not None else None
    if made is not None:
        config["tokenizer_sha256"] = made.hash
    sources = source_manifests(file.path for file in files)
    with Ledger(out, "tokenizer", config, files, sources=sources, started=started) as ledger:
        if not ledger.finished:
            is_native = engine["name"] == "native"
            is_small = sum(file.size for file in files) < SMALL_INPUT
            if files:
                start_engine(engine, files, ledger.out)
            records = ledger.run_files(
                partial(
                    read_candidates, folder=ledger.work, layout=layout, sample_bytes=sample_bytes,
                    seed=seed,
                ),
                ledger.inputs, label="reading documents", engine=engine,
                workers=1 if is_native and is_small else workers_at_once,
            )  # fmt: skip
            sample = Sample(ledger.work, records, sample_bytes)
            if made is None:
                made = train_bpe(sample.texts(), vocab_size)
                if not sample.taken:
                    raise UserError(
                        f"sample_bytes={sample_bytes} takes none of {sample.read:,} documents; "
                        "give a larger one"
                        if sample.read
                        else f"{files[0].path} and the other files hold no text to train on"
                    )
            with replaced(ledger.out / TOKENIZER) as temporary:
                made.save(temporary)
            rejected = records.rejected + Counter({"not in sample": sample.read - sample.taken})
            ledger.finish(
                rows_in=sample.read + records.rejected.total(), rows_out=sample.taken,
                rejected=rejected, vocab_size=made.vocab_size, sampled_bytes=sample.taken_bytes,
                tokenizer_sha256=made.hash,
            )  # fmt: skip
        return ledger.manifest


def read_candidates(
    file: InputFile, folder: Path, layout: Layout, sample_bytes: int, seed: int
) -> ReadRecord:
    """Write the documents of one file that may be in the sample to `folder`, with their hashes.

    The bound never rises: a document that is above it now will not be in the sample.
    """
    rejected = Counter[str]()
    documents = total = 0
    target = folder / f"sample-{file.hash}.parquet"
    with (
        replaced(target) as temporary,
        pq.ParquetWriter(temporary, SCRATCH, compression="lz4", use_dictionary=False) as writer,
    ):
        for batch in batches(file.path, layout, workers.advance):
            rejected.update(batch.rejected)
            documents += len(batch.texts)
            texts = batch.texts.cast(pa.large_string()).cast(pa.large_binary())
            total += pc.sum(pc.binary_length(texts)).as_py() or 0
            numbers = np.array(
                [xxhash.xxh3_64_intdigest(text, seed) for text in texts.to_pylist()], np.uint64
            )
            is_below = _below(numbers, sample_bytes, total)
            kept = [numbers[is_below], texts.filter(pa.array(is_below))]
            writer.write_table(pa.table(kept, schema=SCRATCH))
    return {
        "file": target.name, "documents": documents, "bytes": total, "rejected": dict(rejected)
    }  # fmt: skip


class Sample:
    """Texts chosen by a hash of their content, and the counts of documents read and taken.

    A document is taken if its hash, between 0 and 1, is below `sample_bytes` divided by the size
    of all text.

    Args:
        folder: Folder of the scratch files.
        records: Result of `read_candidates` for each file.
        sample_bytes: Approximate size of the sample.
    """

    def __init__(self, folder: Path, records: Sequence[ReadRecord], sample_bytes: int) -> None:
        self._files = [folder / record["file"] for record in records]
        self._bytes, self._total = sample_bytes, sum(record["bytes"] for record in records)
        self.read = sum(record["documents"] for record in records)
        self.taken = self.taken_bytes = 0

    def texts(self) -> Iterator[str]:
        """Yield about `sample_bytes` of text, one document at a time, in the order of the files."""
        for path in self._files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(ROWS_AT_ONCE):
                    is_below = _below(batch["number"].to_numpy(), self._bytes, self._total)
                    for text in batch["text"].filter(pa.array(is_below)).to_pylist():
                        self.taken += 1
                        self.taken_bytes += len(text)
                        yield text.decode()


def _below(numbers: Hashes, sample_bytes: int, total: int) -> Flags:
    """Return which documents are in the sample of `total` bytes of text, by their hashes (N,)."""
    if sample_bytes >= total:
        return np.ones(len(numbers), np.bool_)
    # An integer is below a bound exactly if it is below the bound rounded up.
    return numbers < np.uint64(math.ceil(sample_bytes / total * 2**64))


def run(settings: TokenizerSettings) -> Manifest:
    """Run the stage and return the manifest."""
    return build_tokenizer(
        settings.documents or [],
        settings.out,
        vocab_size=settings.vocab_size,
        sample_bytes=settings.sample_bytes,
        seed=settings.seed,
        gpt2=settings.gpt2,
        layout=Layout(settings.lines, settings.text_key),
        workers_at_once=settings.workers,
        engine=settings.engine.arguments(),
    )


def main(settings: TokenizerSettings, call: Call) -> None:
    """Make the tokenizer and print its size and origin."""
    print_tokenizer(run(settings))


def print_tokenizer(manifest: Manifest) -> None:
    """Print the size and the origin of a tokenizer."""
    how = "GPT-2's" if manifest["config"]["gpt2"] else (
        f"trained on {plural(manifest['rows_out'], 'document')}, "
        f"{manifest['sampled_bytes']:,} bytes"
    )  # fmt: skip
    say(f"{manifest['vocab_size']:,} ids, {how}", label="tokenizer")
