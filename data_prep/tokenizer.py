r"""Tokenizer of the corpus: a byte-level BPE trained on a sample of it, or GPT-2's own.

    python data_prep/tokenizer.py documents=[corpus/dedup] out=corpus/tokenizer vocab_size=50257
    python data_prep/tokenizer.py gpt2=FOLDER out=corpus/tokenizer

A document is in the sample if a hash of the seed and its text is small enough, so the sample does
not depend on the files, their order or their number.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("tokenizer")


import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
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
from webtext_gpt.paths import local_path
from webtext_gpt.tokenizer import load_gpt2, train_bpe


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
    files = find_inputs(documents, SUFFIXES, "documents") if gpt2 is None else []
    config: dict[str, Any] = {"gpt2": gpt2 is not None}
    if gpt2 is None:
        config |= {"vocab_size": vocab_size, "sample_bytes": sample_bytes, "seed": seed,
                   "lines": layout.lines, "text_key": layout.text_key}  # fmt: skip
    made = load_gpt2(gpt2, "gpt2") if gpt2 is not None else None
    if made is not None:
        config["tokenizer_sha256"] = made.hash
    sources = source_manifests(file.path for file in files)
    with Ledger(
        local_path(out, "out"), "tokenizer", config, files, sources=sources, started=started
    ) as ledger:
        if not ledger.finished:
            sample = _Sample(ledger.inputs, layout)
            if made is None:
                made = train_bpe(sample.texts(sample_bytes, seed), vocab_size)
                if not sample.taken:
                    raise UserError(f"{files[0].path} and the other files hold no text to train on")
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
    """Texts chosen by a hash of their content, and the counts of documents read and taken."""

    def __init__(self, files: Sequence[InputFile], layout: Layout) -> None:
        self._paths, self._layout = [file.path for file in files], layout
        self.read = self.taken = self.taken_bytes = 0
        self.rejected: Counter[str] = Counter()

    def texts(self, sample_bytes: int, seed: int) -> Iterator[str]:
        """Yield about `sample_bytes` of text, one document at a time."""
        total = sum(self._sizes())
        share = min(sample_bytes / max(total, 1), 1.0)
        for path in self._paths:
            for batch in batches(path, self._layout):
                self.rejected.update(batch.rejected)
                for text in batch.texts.to_pylist():
                    self.read += 1
                    data = text.encode()
                    if xxhash.xxh3_64_intdigest(data, seed) < share * 2**64:
                        self.taken += 1
                        self.taken_bytes += len(data)
                        yield text

    def _sizes(self) -> Iterator[int]:
        """Yield the UTF-8 bytes of text of each batch."""
        for path in self._paths:
            for batch in batches(path, self._layout):
                yield pc.sum(pc.binary_length(batch.texts)).as_py() or 0


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
    print(f"tokenizer: {manifest['vocab_size']:,} ids, {how}")
