"""BLiMP: prefer the grammatical one of two sentences that differ minimally (Warstadt et al. 2020).

Each sentence is a document: its log-probability is that of all its tokens after end-of-text. A pair
is correct if the good sentence has the higher one; a tie is wrong. (lm-eval counts a tie as right
and puts a space before the sentence.)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from webtext_gpt.data.rows import Row, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, Result, Suite
from webtext_gpt.evaluation.blimp_sets import PUBLISHED, SETS
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.progress import progress_bar

SENTENCES = ("sentence_good", "sentence_bad")


@dataclass(frozen=True)
class MinimalPairs(Benchmark):
    """Accuracy on one set of pairs.

    Attributes:
        term: the linguistic term that the set belongs to.
    """

    term: str

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Compare the two sentences of each pair. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        pairs = [
            tuple(_sentence(row, column, place) for column in SENTENCES) for place, row in rows
        ]
        score = log_probabilities(scorer, self.name, (text for pair in pairs for text in pair))
        correct = [100.0 * (score[good] > score[bad]) for good, bad in pairs]
        ties = sum(score[good] == score[bad] for good, bad in pairs)
        return Measurement(
            {"accuracy": fmean(correct)}, len(pairs), {"ties": ties}, {"accuracy": correct}
        )


def _sentence(row: Row, column: str, place: str) -> str:
    sentence = text_value(row, column, place)
    if not sentence.strip():
        raise UserError(f"{place}: {column!r} is empty; it must be a sentence")
    return sentence


def log_probabilities(scorer: Scorer, name: str, texts: Iterable[str]) -> dict[str, float]:
    """Return each text's log-probability as a document, in nats.

    A text that occurs twice is scored once, so that its two scores are equal to the last digit.

    Args:
        scorer: the model.
        name: label of the progress bar.
        texts: texts that are not empty. One that is longer than the model's context is scored with
            a sliding window.
    """
    distinct = list(dict.fromkeys(texts))
    windows = [scorer.sliding_windows(text) for text in distinct]
    scorer.cut_prompts += sum(len(some) > 1 for some in windows)
    with progress_bar(name, total=sum(map(len, windows)), unit="sentence") as bar:
        return dict(zip(distinct, scorer.documents(windows, bar.update), strict=True))


@dataclass(frozen=True)
class Blimp(Suite):
    """Mean accuracy over the sets, each with the same weight, and over the sets of each term."""

    def table(self, results: Mapping[tuple[str, str], Result], size: str) -> list[list[str]]:
        """Return the means beside those of the published models. See `Suite.table`."""
        models = list(PUBLISHED)
        rows = [["sets", "accuracy", "standard error", *models]]
        for metric in PUBLISHED[models[0]]:
            ours = results.get((self.name, metric))
            if ours is None:
                return []
            theirs = [_number(PUBLISHED[model].get(metric)) for model in models]
            sets = metric.removeprefix("accuracy_") if metric != "accuracy" else "all 67"
            rows.append([sets, _number(ours.value), _number(ours.standard_error), *theirs])
        return rows

    def combine(self, measured: Sequence[Measurement]) -> Measurement:
        """Return the means over the sets, and the number of ties. See `Suite.combine`."""
        accuracies = {
            benchmark.name: measurement.metrics["accuracy"]
            for benchmark, measurement in zip(self.benchmarks, measured, strict=True)
        }
        means = {"accuracy": fmean(accuracies.values())}
        for term, sets in SETS.items():
            means[f"accuracy_{term}"] = fmean(accuracies[f"blimp_{name}"] for name in sets)
        ties = sum(measurement.counts["ties"] for measurement in measured)
        return Measurement(means, sum(m.examples for m in measured), {"ties": ties})


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _benchmark(name: str, term: str) -> MinimalPairs:
    return MinimalPairs(
        name=f"blimp_{name}",
        source=DataSource(
            files=tuple(
                f"{folder}{name}.{ending}"
                for ending in ("jsonl", "parquet")
                for folder in ("", "blimp/")
            ),
            columns=SENTENCES,
            hub="nyu-mll/blimp",
            config=name,
            split="train",
            origin="github.com/alexwarstadt/blimp",
        ),
        paper={},
        term=term,
    )


BLIMP = Blimp(
    name="blimp",
    benchmarks=tuple(_benchmark(name, term) for term, names in SETS.items() for name in names),
)
