"""Perplexity a word of running text that comes tokenised (section 3.1; table 3).

The text is scored as it was before tokenisation, and its log-probability divided by the number of
words of the tokenised original: exp(-sum of ln p / words).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measured, Options, Source, counted
from webtext_gpt.evaluation.detokenizers import ONE_BILLION_WORDS, PTB, WIKITEXT, Detokenizer
from webtext_gpt.evaluation.scoring import Scorer, perplexity

ODD_LINES = 0.02
"""Share of lines of another form that a padded text may have."""


@dataclass(frozen=True)
class LanguageModelling:
    """Perplexity of one text.

    Attributes:
        name: the benchmark's.
        source: of the tokenised text.
        detokenizer: its conventions.
        sentences: its lines have nothing to do with one another: each is a document.
    """

    name: str
    source: Source
    detokenizer: Detokenizer
    sentences: bool = False

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measured:
        """See `Benchmark.run`."""
        original = self.lines(data_dir)
        if self.sentences and options.limit is not None:
            original = "".join(_lines(original)[: options.limit])
        text = self.detokenizer.detokenise(original) if options.detokenise else original
        if self.sentences:
            documents = [line for line in text.split("\n") if line]
            windows = [w for document in documents for w in scorer.sliding_windows(document)]
            n_bytes = sum(len(document.encode()) for document in documents)
        else:
            windows = scorer.sliding_windows(text)
            if options.limit is not None and options.limit < len(windows):
                windows = windows[: options.limit]
                ids = [token for w in windows for token in w.tokens[-w.scored :]]
                text = scorer.tokenizer.decode(ids)
                original = self.detokenizer.tokenise(text) if options.detokenise else text
            n_bytes = len(text.encode())
        n_words, n_lines = len(original.split()), original.count("\n")
        with counted(self.name, len(windows), "window") as bar:
            log_probability, n_tokens = scorer.total(windows, progress=bar.update)
        metrics = {
            "perplexity": perplexity(log_probability, n_words),
            "token_perplexity": perplexity(log_probability, n_tokens),
            "bits_per_byte": -log_probability / math.log(2) / n_bytes,
        }
        if not self.sentences:  # whose ends are not predicted
            metrics["perplexity_with_line_ends"] = perplexity(log_probability, n_words + n_lines)
        counts = {"words": n_words, "lines": n_lines, "tokens": n_tokens, "bytes": n_bytes}
        return Measured(metrics, len(windows), counts)

    def lines(self, data_dir: Path | None) -> str:
        """The tokenised text, its lines with the spaces that the detokenizer expects.

        Raises:
            UserError: many lines do not have the form of this benchmark's.
        """
        text = self.source.text(data_dir).replace("\r\n", "\n")
        lines = _lines(text)
        if not self.detokenizer.padded:
            return "".join(f"{line.strip()}\n" for line in lines)
        # The hub's rows have lost the space of an empty line.
        lines = [" \n" if line == "\n" else line for line in lines]
        odd = sum(not line.startswith(" ") or not line.endswith(" \n") for line in lines)
        if odd > max(1, len(lines) * ODD_LINES):
            file = self.source.file(data_dir) if data_dir else self.source.hub
            raise UserError(
                f"{file}: {odd} of {len(lines)} lines do not begin and end with a space, as "
                f"those of {self.name} do; take the file as its authors have it"
            )
        return "".join(lines)


def _lines(text: str) -> list[str]:
    """Lines with their ends, which newlines alone are, whatever else Unicode has."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


WIKITEXT2 = LanguageModelling(
    "wikitext2",
    Source(
        files=(
            "wikitext2_test.raw",
            "wikitext2_test.tokens",
            "wikitext2_test.jsonl",
            "wikitext2_test.parquet",
            "wiki.test.raw",
        ),
        columns=("text",),
        hub="Salesforce/wikitext",
        config="wikitext-2-raw-v1",
    ),
    WIKITEXT,
)

WIKITEXT103 = LanguageModelling(
    "wikitext103",
    Source(
        files=(
            "wikitext103_test.raw",
            "wikitext103_test.tokens",
            "wikitext103_test.jsonl",
            "wikitext103_test.parquet",
            "wikitext2_test.raw",  # the same text
        ),
        columns=("text",),
        hub="Salesforce/wikitext",
        config="wikitext-103-raw-v1",
    ),
    WIKITEXT,
)

PENN_TREEBANK = LanguageModelling(
    "ptb",
    Source(
        files=("ptb_test.txt", "ptb_test.jsonl", "ptb_test.parquet", "ptb.test.txt"),
        columns=("sentence",),
        hub="ptb-text-only/ptb_text_only",
        data_files="penn_treebank/test/*.parquet",
    ),
    PTB,
)

LM1B = LanguageModelling(
    "one_billion_words",
    Source(
        files=(
            "one_billion_words_test.txt",
            "one_billion_words_test.jsonl",
            "one_billion_words_test.parquet",
            "news.en.heldout-00000-of-00050",
        ),
        columns=("text",),
        hub="billion-word-benchmark/lm1b",
        data_files="plain_text/test/*.parquet",
        origin="statmt.org/lm-benchmark",
    ),
    ONE_BILLION_WORDS,
    sentences=True,
)
