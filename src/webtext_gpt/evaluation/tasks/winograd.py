"""Winograd schemas: what a pronoun stands for (Levesque et al. 2012; section 3.4).

Each candidate takes the pronoun's place. Scored in part, the candidates are judged by the
probability of what follows them; in full, by that of the whole sentence (Trinh & Le 2018).
"""

from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import Row, text_value, texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measured, Options, Source, counted, named
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.settings import whole_number

POSSESSIVES = frozenset(("my", "his", "her", "our", "their"))
DETERMINERS = frozenset(("the", "a", "an", "my", "his", "her", "our", "their"))


SOURCE = Source(
    files=("winograd_test.jsonl", "winograd_test.parquet"),
    columns=("text", "pronoun", "pronoun_loc", "options", "label"),
    hub="ErnestSDavis/winograd_wsc",
    data_files="wsc273/test/*.parquet",
)


@dataclass(frozen=True)
class WinogradSchemas:
    """Accuracy, scored in part (the paper's way) and in full."""

    name: str = "winograd"
    source: Source = SOURCE

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measured:
        """See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        schemas = [substituted(place, row) for place, row in rows]
        parts, wholes = [], []
        for (place, _), pairs in zip(rows, schemas, strict=True):
            with named(place):
                parts += [scorer.continuation(*pair) for pair in pairs]
                wholes += [scorer.continuation("", a + b) for a, b in pairs]
        with counted(self.name, len(parts) + len(wholes), "sentence") as bar:
            partial, full = (
                [float(s.log_probabilities.sum()) for s in scorer.score(w, progress=bar.update)]
                for w in (parts, wholes)
            )
        right = {"accuracy": 0, "accuracy_full": 0}
        start = 0
        for pairs, (_, row) in zip(schemas, rows, strict=True):
            places = range(start, start + len(pairs))
            for name, scores in (("accuracy", partial), ("accuracy_full", full)):
                best = max(places, key=scores.__getitem__)
                right[name] += best - start == row["label"]
            start += len(pairs)
        return Measured({n: 100 * count / len(rows) for n, count in right.items()}, len(rows))


def substituted(place: str, row: Row) -> list[tuple[str, str]]:
    """For each candidate, the text up to it and the text after it.

    Raises:
        UserError: the pronoun is not where the row says.
    """
    text, pronoun = text_value(row, "text", place), text_value(row, "pronoun", place)
    start = row["pronoun_loc"]
    with named(place):
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
