"""Perplexity a word of running text that comes tokenised (section 3.1; table 3).

The text is scored as it was before tokenisation, and its log-probability divided by the number of
words of the tokenised original: exp(-sum of ln p / words).
"""

import math
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.evaluation.benchmark import Measured, Options, Source, counted
from webtext_gpt.evaluation.detokenizers import ONE_BILLION_WORDS, PTB, WIKITEXT, Detokenizer
from webtext_gpt.evaluation.scoring import Scorer


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
        text = self.detokenizer.detokenise(original) if options.detokenise else original
        documents = text.splitlines() if self.sentences else [text]
        if options.limit is not None:
            documents = documents[: options.limit] if self.sentences else documents
        windows = [w for document in documents for w in scorer.sliding_windows(document)]
        if options.limit is not None:
            windows = windows[: options.limit]
            ids = [token for w in windows for token in w.tokens[-w.scored :]]
            text = "\n".join(documents) if self.sentences else scorer.tokenizer.decode(ids)
            original = self.detokenizer.tokenise(text) if options.detokenise else text
        n_words = len(original.split())
        n_lines = original.count("\n")
        n_bytes = len(text.encode())
        with counted(self.name, len(windows), "window") as bar:
            log_probability, n_tokens = scorer.total(windows, progress=bar.update)
        return Measured(
            {
                "perplexity": math.exp(-log_probability / n_words),
                "perplexity_with_line_ends": math.exp(-log_probability / (n_words + n_lines)),
                "token_perplexity": math.exp(-log_probability / n_tokens),
                "bits_per_byte": -log_probability / math.log(2) / n_bytes,
            },
            len(windows),
            {"words": n_words, "lines": n_lines, "tokens": n_tokens, "bytes": n_bytes},
        )

    def lines(self, data_dir: Path | None) -> str:
        """The tokenised text, its lines with the spaces that the detokenizer expects."""
        text = self.source.text(data_dir)
        lines = text.splitlines(keepends=True)
        if self.detokenizer.padded:  # the hub's rows have lost the space of an empty line
            return "".join(" \n" if line == "\n" else line for line in lines)
        return "".join(f"{line.strip()}\n" for line in lines)


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
        config="penn_treebank",
        revision="refs/convert/parquet",
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
        revision="refs/convert/parquet",
        origin="statmt.org/lm-benchmark",
    ),
    ONE_BILLION_WORDS,
    sentences=True,
)
