"""Perplexity per word of tokenized running text (section 3.1; table 3).

The model scores the detokenized text. Its log-probability is divided by the number of words of
the tokenized original: exp(-sum of ln p / words).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation import detokenizers
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.blocks import score_documents, score_running_text
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.detokenizers import Detokenizer
from webtext_gpt.evaluation.scoring import Scorer, perplexity
from webtext_gpt.progress import progress_bar

MAX_ODD_LINES = 0.02
"""Largest fraction of lines without the usual spaces that a padded text may have."""


@dataclass(frozen=True)
class LanguageModeling(Benchmark):
    """Perplexity of one text.

    Attributes:
        detokenizer: the text's tokenization conventions.
        sentences: whether the lines are unrelated sentences, each scored as a document.
    """

    detokenizer: Detokenizer
    sentences: bool = False

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Score the text with a sliding window. See `Benchmark.run`."""
        original = self.tokenized_text(data_dir)
        if self.sentences and options.limit is not None:
            original = "".join(_lines(original)[: options.limit])
        text = self.detokenizer.detokenize(original) if options.detokenize else original
        complete = text
        if self.sentences:
            documents = [line for line in text.split("\n") if line]
            by_document = [scorer.sliding_windows(document) for document in documents]
            windows = [window for some in by_document for window in some]
            n_bytes = sum(len(document.encode()) for document in documents)
        else:
            windows = scorer.sliding_windows(text)
            if options.limit is not None and options.limit < len(windows):
                windows = windows[: options.limit]
                ids = [token for w in windows for token in w.tokens[-w.scored :]]
                text = scorer.tokenizer.decode(ids)
                original = self.detokenizer.tokenize(text) if options.detokenize else text
            n_bytes = len(text.encode())
        n_words, n_lines = len(original.split()), original.count("\n")
        with progress_bar(self.name, total=len(windows), unit="window") as bar:
            if self.sentences:
                scored = score_documents(scorer, documents, by_document, bar.update)
            else:
                scored = score_running_text(scorer, complete, windows, bar.update)
        log_probability, n_tokens = scored.log_probability, scored.n_tokens
        metrics = {
            "perplexity": perplexity(log_probability, n_words),
            "token_perplexity": perplexity(log_probability, n_tokens),
            "bits_per_byte": -log_probability / math.log(2) / n_bytes,
        }
        if not self.sentences:  # the line ends of separate sentences are not predicted
            metrics["perplexity_with_line_ends"] = perplexity(log_probability, n_words + n_lines)
        counts = {
            "words": n_words,
            "lines": n_lines,
            "tokens": n_tokens,
            "bytes": n_bytes,
            "marks": detokenizers.count_marks(text) if options.detokenize else 0,
        }
        units = {
            "perplexity": n_words,
            "token_perplexity": n_tokens,
            "bits_per_byte": n_bytes * math.log(2),
            "perplexity_with_line_ends": n_words + n_lines,
        }
        values = {metric: scored.per_part(units[metric]) for metric in metrics}
        exponential = [metric for metric in metrics if metric != "bits_per_byte"]
        return Measurement(metrics, len(windows), counts, values, exponential=exponential)

    def tokenized_text(self, data_dir: Path | None) -> str:
        """Return the tokenized text, its lines padded as the detokenizer expects.

        Raises:
            MissingDataError: the data cannot be found or downloaded.
            UserError: the text is empty, or many of its lines lack the usual spaces.
        """
        text = self.source.text(data_dir).replace("\r\n", "\n")
        lines = _lines(text)
        if not self.detokenizer.padded:
            return "".join(f"{line.strip()}\n" for line in lines)
        # The hub's rows have lost the space of an empty line.
        lines = [" \n" if line == "\n" else line for line in lines]
        odd = sum(not line.startswith(" ") or not line.endswith(" \n") for line in lines)
        if odd > max(1, len(lines) * MAX_ODD_LINES):
            file = self.source.file(data_dir) if data_dir else self.source.hub
            raise UserError(
                f"{file}: {odd} of {len(lines)} lines do not begin and end with a space, unlike "
                f"the lines of {self.name}; use the file as its authors publish it"
            )
        return "".join(lines)


def _lines(text: str) -> list[str]:
    """Split at newlines only, keeping them; other Unicode line breaks do not end a line."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


WIKITEXT2 = LanguageModeling(
    name="wikitext2",
    source=DataSource(
        files=(
            "wikitext2_test.raw",
            "wikitext2_test.tokens",
            "wikitext2_test.jsonl",
            "wikitext2_test.parquet",
            "wiki.test.raw",
            "wiki.test.tokens",
            "wikitext-2-raw-v1.zip",
            "wikitext-2-v1.zip",
        ),
        columns=("text",),
        hub="Salesforce/wikitext",
        config="wikitext-2-raw-v1",
        folders=("wikitext-2-raw", "wikitext-2"),
    ),
    paper={"perplexity": PaperFigures(29.41, 22.76, 19.93, 18.34, "WikiText2")},
    detokenizer=detokenizers.WIKITEXT,
)

WIKITEXT103 = LanguageModeling(
    name="wikitext103",
    source=DataSource(
        files=(
            "wikitext103_test.raw",
            "wikitext103_test.tokens",
            "wikitext103_test.jsonl",
            "wikitext103_test.parquet",
            "wikitext2_test.raw",  # both have the same test set
            "wiki.test.raw",
            "wiki.test.tokens",
            "wikitext-103-raw-v1.zip",
            "wikitext-103-v1.zip",
        ),
        columns=("text",),
        hub="Salesforce/wikitext",
        config="wikitext-103-raw-v1",
        folders=("wikitext-103-raw", "wikitext-103"),
    ),
    paper={"perplexity": PaperFigures(37.50, 26.37, 22.05, 17.48, "WikiText103")},
    detokenizer=detokenizers.WIKITEXT,
)

PENN_TREEBANK = LanguageModeling(
    name="ptb",
    source=DataSource(
        files=("ptb_test.txt", "ptb_test.jsonl", "ptb_test.parquet", "ptb.test.txt"),
        columns=("sentence",),
        hub="ptb-text-only/ptb_text_only",
        data_files="penn_treebank/test/*.parquet",
        folders=("simple-examples/data",),
    ),
    paper={"perplexity": PaperFigures(65.85, 47.33, 40.31, 35.76, "PTB")},
    detokenizer=detokenizers.PTB,
)

ONE_BILLION_WORDS = LanguageModeling(
    name="one_billion_words",
    source=DataSource(
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
        folders=(
            "1-billion-word-language-modeling-benchmark-r13output/heldout-monolingual.tokenized.shuffled",
            "heldout-monolingual.tokenized.shuffled",
        ),
    ),
    paper={"perplexity": PaperFigures(75.20, 55.72, 44.575, 42.16, "1BW")},
    detokenizer=detokenizers.ONE_BILLION_WORDS,
    sentences=True,
)
