"""enwik8 and text8: bits a byte and a character of the last twentieth (section 3.1; table 3)."""

import math
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measured, Options, Source, counted
from webtext_gpt.evaluation.scoring import Scorer

TEST_SHARE = 20
"""Of the 10^8 bytes, the last 1/20 is the customary test set."""


@dataclass(frozen=True)
class CompressedText:
    """Bits that the model needs for each byte, or character, of a text."""

    name: str
    source: Source
    unit: str

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measured:
        """See `Benchmark.run`."""
        text = self.test_text(data_dir)
        windows = scorer.sliding_windows(text)
        if options.limit is not None:
            windows = windows[: options.limit]
            text = scorer.tokenizer.decode(t for w in windows for t in w.tokens[-w.scored :])
        n_units = len(text.encode()) if self.unit == "byte" else len(text)
        with counted(self.name, len(windows), "window") as bar:
            log_probability, n_tokens = scorer.total(windows, progress=bar.update)
        return Measured(
            {f"bits_per_{self.unit}": -log_probability / math.log(2) / n_units},
            len(windows),
            {f"{self.unit}s": n_units, "tokens": n_tokens},
        )

    def test_text(self, data_dir: Path | None) -> str:
        """The test set: a file of its own, or the end of the whole."""
        if data_dir is None:
            return self.source.text(None)  # which says where to get it
        file = self.source.file(data_dir)
        data = file.read_bytes()
        if file.name == self.name:
            start = len(data) - len(data) // TEST_SHARE
            while start < len(data) and data[start] & 0xC0 == 0x80:  # within a character
                start += 1
            data = data[start:]
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise UserError(f"{file} is not UTF-8 near byte {error.start}") from error
        if not text:
            raise UserError(f"{file} is empty")
        return text


ENWIK8 = CompressedText(
    "enwik8",
    Source(("enwik8_test.txt", "enwik8"), (), origin="mattmahoney.net/dc/enwik8.zip"),
    "byte",
)
TEXT8 = CompressedText(
    "text8",
    Source(("text8_test.txt", "text8"), (), origin="mattmahoney.net/dc/text8.zip"),
    "character",
)
