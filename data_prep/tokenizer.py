r"""Tokenizer of the corpus: a byte-level BPE trained on a sample of it, or GPT-2's own.

    python data_prep/tokenizer.py documents=[corpus/dedup] out=corpus/tokenizer vocab_size=50257
    python data_prep/tokenizer.py gpt2=FOLDER out=corpus/tokenizer

A document is in the sample if a hash of the seed and its text is small enough, so the sample does
not depend on the files, their order or their number. The documents are read once: the bound falls
as the size of the text read so far grows, and those that are above it by now are dropped, so that
not much more than the sample is in memory.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("tokenizer")


import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from data_prep.settings import TokenizerSettings
from data_prep.stage.inputs import InputFile, find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, source_manifests
from data_prep.stage.readers import SUFFIXES, Layout, batches
from webtext_gpt.cli import Call
from webtext_gpt.data.shards import TOKENIZER
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.progress import progress_bar
from webtext_gpt.terminal import say
from webtext_gpt.tokenizer import load_gpt2, train_bpe

SLACK = 1.25
"""Size of the texts in memory, relative to the sample, at which those not in it are dropped."""


def build_tokenizer(
    documents: Sequence[str],
    out: str | Path,
    *,
    vocab_size: int = 50257,
    sample_bytes: int = 1_000_000_000,
    seed: int = 0,
    gpt2: str | Path | None = None,
    layout: Layout = Layout(),  # noqa: B008 - frozen
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
        layout: How documents are stored in the files.

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
            sample = _Sample(ledger.inputs, layout)
            if made is None:
                made = train_bpe(sample.texts(sample_bytes, seed), vocab_size)
                if not sample.taken:
                    raise UserError(
                        f"sample_bytes={sample_bytes} takes none of {sample.read:,} documents; "
                        "give a larger one"
                        if sample.read
                        else f"{files[0].path} and the other files hold no text to train on"
                    )
            with replaced(ledger.out / TOKENIZER) as temporary:
                made.save(temporary)
            rejected = sample.rejected + Counter({"not in sample": sample.read - sample.taken})
            ledger.finish(
                rows_in=sample.read + sample.rejected.total(), rows_out=sample.taken,
                rejected=rejected, vocab_size=made.vocab_size, sampled_bytes=sample.taken_bytes,
                tokenizer_sha256=made.hash,
            )  # fmt: skip
        return ledger.manifest


class _Sample:
    """Texts chosen by a hash of their content, and the counts of documents read and taken.

    A document is taken if its hash, between 0 and 1, is below `sample_bytes` divided by the size
    of all text.
    """

    def __init__(self, files: Sequence[InputFile], layout: Layout) -> None:
        self._paths, self._layout = [file.path for file in files], layout
        self.read = self.taken = self.taken_bytes = 0
        self.rejected: Counter[str] = Counter()

    def texts(self, sample_bytes: int, seed: int) -> Iterator[str]:
        """Yield about `sample_bytes` of text, one document at a time, in the order of the files."""
        kept: list[tuple[int, bytes]] = []  # hash and UTF-8 bytes of text
        kept_bytes = total = 0
        bar = progress_bar("sampling documents", unit="document")
        for path in self._paths:
            for batch in batches(path, self._layout):
                bar.update(len(batch.texts))
                self.rejected.update(batch.rejected)
                self.read += len(batch.texts)
                texts = batch.texts.cast(pa.large_string()).cast(pa.large_binary()).to_pylist()
                total += sum(map(len, texts))
                # The bound never rises: what is above it now will not be in the sample.
                bound = _bound(sample_bytes, total)
                for text in texts:
                    number = xxhash.xxh3_64_intdigest(text, seed)
                    if number < bound:
                        kept.append((number, text))
                        kept_bytes += len(text)
                if kept_bytes > SLACK * sample_bytes:
                    kept = [(number, text) for number, text in kept if number < bound]
                    kept_bytes = sum(len(text) for _, text in kept)
        bar.close()
        bound = _bound(sample_bytes, total)
        for number, text in kept:
            if number < bound:
                self.taken += 1
                self.taken_bytes += len(text)
                yield text.decode()


def _bound(sample_bytes: int, total: int) -> float:
    """Return the hash below which a document is in the sample of `total` bytes of text."""
    return min(sample_bytes / max(total, 1), 1.0) * 2**64


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
    )


def main(settings: TokenizerSettings, call: Call) -> None:
    """Make the tokenizer and print its size and origin."""
    print_tokenizer(run(settings))


def print_tokenizer(manifest: Manifest) -> None:
    """Print the size and the origin of a tokenizer."""
    how = "GPT-2's" if manifest["config"]["gpt2"] else (
        f"trained on {manifest['rows_out']:,} documents, {manifest['sampled_bytes']:,} bytes"
    )  # fmt: skip
    say(f"tokenizer: {manifest['vocab_size']:,} ids, {how}")
