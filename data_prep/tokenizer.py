r"""A tokenizer for the corpus: byte-level BPE learned on a sample of it, or GPT-2's own.

    python data_prep/tokenizer.py documents=[corpus/dedup] out=corpus/tokenizer vocab_size=50257
    python data_prep/tokenizer.py gpt2=FOLDER out=corpus/tokenizer

A document is in the sample if a hash of the seed and its text is small enough, so that the sample
does not depend on files, their order or their number.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import xxhash
from omegaconf import DictConfig

from data_prep.stage import ledger
from data_prep.stage.readers import SUFFIXES, Layout, batches
from data_prep.stage.settings import settings
from webtext_gpt.cli import entry_point
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import load_gpt2, train_bpe

NAME = "tokenizer.json"


def build_tokenizer(
    documents: Sequence[str],
    out: str | Path,
    *,
    vocab_size: int = 50257,
    sample_bytes: int = 1_000_000_000,
    seed: int = 0,
    gpt2: str | Path | None = None,
    layout: Layout = Layout(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Make `out` with `tokenizer.json` and return its manifest.

    `sample_bytes` of text, more or less, are learned from; the manifest says how many there were.
    `gpt2`, a folder, a `tokenizer.json` or a name on the hub, is taken instead of learning.

    Raises:
        UserError: documents that cannot be read, or hold no text; `out` that holds something else.
    """
    watch = ledger.Stopwatch()
    paths = ledger.expand(documents, SUFFIXES) if gpt2 is None else []
    config: dict[str, Any] = {"gpt2": gpt2 is not None}
    if gpt2 is None:
        if sample_bytes < 1:
            raise UserError(f"sample_bytes={sample_bytes}: must be at least 1")
        config |= {"vocab_size": vocab_size, "sample_bytes": sample_bytes, "seed": seed,
                   "lines": layout.lines, "text_key": layout.text_key}  # fmt: skip
    made = load_gpt2(gpt2) if gpt2 is not None else None
    if made is not None:
        config["tokenizer_sha256"] = made.hash
    prints = {path: ledger.fingerprint(path) for path in paths}
    with ledger.Ledger(
        Path(out), "tokenizer", config, list(prints.values()), sources=ledger.sources(paths)
    ) as book:
        if book.manifest is None:
            sample = _Sample([p for e in book.inputs for p in paths if prints[p] == e], layout)
            if made is None:
                made = train_bpe(sample.texts(sample_bytes, seed), vocab_size)
                if not sample.taken:
                    raise UserError(f"no text in {paths[0]} and the other files to learn from")
            with ledger.aside(book.out / NAME) as temporary:
                made.save(temporary)
            rejected = sample.rejected + Counter({"not in sample": sample.read - sample.taken})
            book.finish(
                rows_in=sample.read + sample.rejected.total(), rows_out=sample.taken,
                rejected=+rejected, seconds=watch.seconds, vocab_size=made.vocab_size,
                sampled_bytes=sample.taken_bytes, tokenizer_sha256=made.hash,
            )  # fmt: skip
        assert book.manifest is not None  # noqa: S101 - for the type checker
        return book.manifest


class _Sample:
    """Texts chosen by their content, and the count of what was read."""

    def __init__(self, paths: Sequence[Path], layout: Layout) -> None:
        self._paths, self._layout = paths, layout
        self.read = self.taken = self.taken_bytes = 0
        self.rejected: Counter[str] = Counter()

    def texts(self, sample_bytes: int, seed: int) -> Iterator[str]:
        """About `sample_bytes` of text, a document at a time."""
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
        for path in self._paths:
            for batch in batches(path, self._layout):
                yield pc.sum(pc.binary_length(batch.texts)).as_py() or 0


def run(cfg: DictConfig) -> dict[str, Any]:
    """Make the tokenizer that a composed configuration asks for. Returns the manifest."""
    kinds = {"vocab_size": int, "sample_bytes": int, "seed": int, "lines": bool, "text_key": str}
    options = settings(cfg, kinds | ({"documents": list} if cfg.documents is not None else {}))
    if options["documents"] is None and options["gpt2"] is None:
        raise UserError("give documents=[FILES] to learn from, or gpt2=FOLDER")
    return build_tokenizer(
        options["documents"] or [],
        options["out"],
        vocab_size=options["vocab_size"],
        sample_bytes=options["sample_bytes"],
        seed=options["seed"],
        gpt2=options["gpt2"],
        layout=Layout(options["lines"], options["text_key"]),
    )


@entry_point("data_prep/tokenizer")
def main(cfg: DictConfig) -> None:
    """Compose the configuration, make the tokenizer, say what it is."""
    manifest = run(cfg)
    print_tokenizer(manifest)


def print_tokenizer(manifest: dict[str, Any]) -> None:
    """Show what a manifest says of its tokenizer."""
    how = "GPT-2's" if manifest["config"]["gpt2"] else (
        f"learned from {manifest['rows_out']:,} documents, {manifest['sampled_bytes']:,} bytes"
    )  # fmt: skip
    print(f"tokenizer: {manifest['vocab_size']:,} ids, {how}")


if __name__ == "__main__":
    main()
