"""Winograd schemas: choose the noun that a pronoun refers to (Levesque et al. 2012; section 3.4).

Each candidate replaces the pronoun. Partial scoring compares the log-probabilities of the text
after the candidate; full scoring compares those of the full sentence (Trinh & Le 2018).
"""

from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import Row, text_value, texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import (
    Benchmark,
    Measurement,
    Options,
    PaperFigures,
    errors_at,
)
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings import whole_number

POSSESSIVES = frozenset(("my", "his", "her", "our", "their"))
DETERMINERS = frozenset(("the", "a", "an", "my", "his", "her", "our", "their"))


@dataclass(frozen=True)
class WinogradSchemas(Benchmark):
    """Accuracy with partial scoring, which the paper uses, and with full scoring."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Choose the likeliest candidate of every schema. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        schemas = [substitute(place, row) for place, row in rows]
        parts, sentences = [], []
        for (place, _), pairs in zip(rows, schemas, strict=True):
            with errors_at(place):
                parts += [scorer.continuation(*pair) for pair in pairs]
                sentences += [scorer.continuation("", a + b) for a, b in pairs]
        with progress_bar(self.name, total=len(parts) + len(sentences), unit="sentence") as bar:
            partial, full = (
                [float(s.log_probabilities.sum()) for s in scorer.score(w, progress=bar.update)]
                for w in (parts, sentences)
            )
        correct = {"accuracy": 0, "accuracy_full": 0}
        start = 0
        for pairs, (_, row) in zip(schemas, rows, strict=True):
            candidates = range(start, start + len(pairs))
            for name, scores in (("accuracy", partial), ("accuracy_full", full)):
                best = max(candidates, key=scores.__getitem__)
                correct[name] += best - start == row["label"]
            start += len(pairs)
        return Measurement({n: 100 * count / len(rows) for n, count in correct.items()}, len(rows))


def substitute(place: str, row: Row) -> list[tuple[str, str]]:
    """Return, for each candidate, the text up to and including it, and the text after it.

    Raises:
        UserError: the pronoun is not at the character that the row gives.
    """
    text, pronoun = text_value(row, "text", place), text_value(row, "pronoun", place)
    start = row["pronoun_loc"]
    with errors_at(place):
        whole_number("pronoun_loc", start, least=0)
    end = start + len(pronoun)
    if text[start:end] != pronoun:
        raise UserError(f"{place}: {pronoun!r} is not at character {start} of the text")
    pairs = []
    begins_sentence = text[:start].rstrip()[-1:] in ("", *'.!?"')
    for option in texts_value(row, "options", place):
        first, space, rest = option.partition(" ")
        if not begins_sentence and first.lower() in DETERMINERS:
            first = first.lower()
        possessive = "'s" if pronoun.lower() in POSSESSIVES and option[-2:] != "'s" else ""
        pairs.append((text[:start] + first + space + rest + possessive, text[end:]))
    return pairs


WINOGRAD = WinogradSchemas(
    name="winograd",
    source=DataSource(
        files=("winograd_test.jsonl", "winograd_test.parquet"),
        columns=("text", "pronoun", "pronoun_loc", "options", "label"),
        hub="ErnestSDavis/winograd_wsc",
        data_files="wsc273/test/*.parquet",
    ),
    paper={"accuracy": PaperFigures(xl=70.70)},
)
