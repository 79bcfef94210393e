"""enwik8 and text8: bits per byte or character of the last twentieth (section 3.1; table 3)."""

import math
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.progress import progress_bar
from webtext_gpt.signatures import HEAD_BYTES, refuse_other_kind

TEST_PARTS = 20
"""By convention, the test set is the last 1/20 of the 10^8 bytes."""


@dataclass(frozen=True)
class CompressedText(Benchmark):
    """Bits per byte, or per character, of a text.

    Attributes:
        unit: `byte` or `character`.
    """

    unit: str

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Score the text with a sliding window. See `Benchmark.run`."""
        text = self.test_text(data_dir)
        windows = scorer.sliding_windows(text)
        if options.limit is not None:
            windows = windows[: options.limit]
            text = scorer.tokenizer.decode(t for w in windows for t in w.tokens[-w.scored :])
        n_units = len(text.encode()) if self.unit == "byte" else len(text)
        with progress_bar(self.name, total=len(windows), unit="window") as bar:
            log_probability, n_tokens = scorer.total(windows, progress=bar.update)
        return Measurement(
            {f"bits_per_{self.unit}": -log_probability / math.log(2) / n_units},
            len(windows),
            {f"{self.unit}s": n_units, "tokens": n_tokens},
        )

    def test_text(self, data_dir: Path | None) -> str:
        """Return the test set: a separate file, or the end of the complete file.

        Raises:
            MissingDataError: the data cannot be found.
            UserError: the file is empty or not UTF-8.
        """
        if data_dir is None:
            return self.source.text(None)  # raises an error that says where to get the file
        file = self.source.file(data_dir)
        data = file.read_bytes()
        refuse_other_kind(file, data[:HEAD_BYTES])
        if file.name == self.name:
            start = len(data) - len(data) // TEST_PARTS
            while start < len(data) and data[start] & 0xC0 == 0x80:  # inside a UTF-8 character
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
    name="enwik8",
    source=DataSource(("enwik8_test.txt", "enwik8"), (), origin="mattmahoney.net/dc/enwik8.zip"),
    paper={"bits_per_byte": PaperFigures(1.16, 1.01, 0.97, 0.93, "enwik8")},
    unit="byte",
)
TEXT8 = CompressedText(
    name="text8",
    source=DataSource(("text8_test.txt", "text8"), (), origin="mattmahoney.net/dc/text8.zip"),
    paper={"bits_per_character": PaperFigures(1.17, 1.06, 1.02, 0.98, "text8")},
    unit="character",
)
