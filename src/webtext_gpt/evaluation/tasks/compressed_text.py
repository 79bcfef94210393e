"""enwik8 and text8: bits per byte or character of the last twentieth (section 3.1; table 3)."""

import codecs
import math
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.blocks import score_running_text
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.published import GZIP, ZIP, published_bytes
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.files import BOM
from webtext_gpt.progress import progress_bar

PUBLISHED_BYTES = 100_000_000
TEST_PARTS = 20
"""By convention, the test set is the last 1/20 of the published bytes."""
EXCERPT_BYTES = 1_000_000
"""A file up to this size counts as a deliberate excerpt, not as an unfinished download."""

CONTINUATION = bytes(range(0x80, 0xC0))
"""Continuation bytes of UTF-8: those after the first byte of a character."""


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
        complete = text
        windows = scorer.sliding_windows(text)
        if options.limit is not None:
            windows = windows[: options.limit]
            text = scorer.tokenizer.decode(t for w in windows for t in w.tokens[-w.scored :])
        n_units = len(text.encode()) if self.unit == "byte" else len(text)
        with progress_bar(self.name, total=len(windows), unit="window") as bar:
            scored = score_running_text(scorer, complete, windows, bar.update)
        metric = f"bits_per_{self.unit}"
        return Measurement(
            {metric: -scored.log_probability / math.log(2) / n_units},
            len(windows),
            {f"{self.unit}s": n_units, "tokens": scored.n_tokens},
            {metric: scored.per_part(n_units * math.log(2))},
        )

    def test_text(self, data_dir: Path | None) -> str:
        """Return the test set: a separate file, or the end of the complete file.

        A character that is partly outside the test set is left out.

        Raises:
            MissingDataError: the data cannot be found.
            UserError: the file is empty, cut short, or not UTF-8.
        """
        if data_dir is None:
            return self.source.text(None)  # raises an error that says where to get the file
        file = self.source.file(data_dir)
        data = published_bytes(file, (self.name,)).removeprefix(BOM)
        begin = 0
        if file.name in _whole(self.name):
            if EXCERPT_BYTES < len(data) < PUBLISHED_BYTES:
                raise UserError(
                    f"{file} is cut short: it has {len(data):,} of {PUBLISHED_BYTES:,} bytes; "
                    f"download it again, or name the test set {self.name}_test.txt"
                )
            begin = len(data) - len(data) // TEST_PARTS
        start = data[begin : begin + 3]
        begin += len(start) - len(start.lstrip(CONTINUATION))
        try:
            text, _ = codecs.utf_8_decode(data[begin:], "strict", False)  # leaves a cut-off end
        except UnicodeDecodeError as error:
            raise UserError(f"{file} is not UTF-8 near byte {begin + error.start}") from error
        if not text:
            raise UserError(f"{file} is empty")
        return text


def _whole(name: str) -> tuple[str, ...]:
    """Return the names of a complete file, from which the test set is cut."""
    return name, name + GZIP, name + ZIP


ENWIK8 = CompressedText(
    name="enwik8",
    source=DataSource(
        ("enwik8_test.txt", "enwik8", "enwik8.zip"),
        (),
        origin="mattmahoney.net/dc/enwik8.zip",
        folders=("enwik8",),
    ),
    paper={"bits_per_byte": PaperFigures(1.16, 1.01, 0.97, 0.93, "enwik8")},
    unit="byte",
)
TEXT8 = CompressedText(
    name="text8",
    source=DataSource(
        ("text8_test.txt", "text8", "text8.zip"),
        (),
        origin="mattmahoney.net/dc/text8.zip",
        folders=("text8",),
    ),
    paper={"bits_per_character": PaperFigures(1.17, 1.06, 1.02, 0.98, "text8")},
    unit="character",
)
