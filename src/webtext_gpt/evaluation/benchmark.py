"""Base class of the zero-shot benchmarks, their options and their results.

A benchmark is one file in `tasks/` with a subclass of `Benchmark`, and instances of it that
`registry.py` lists.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.generation.translate import LENGTH_PENALTY, NUM_BEAMS
from webtext_gpt.settings import whole_number


@dataclass(frozen=True)
class Options:
    """Options that apply to every benchmark.

    Attributes:
        limit: evaluate only the first `limit` examples, or windows of running text. None means
            all of them.
        detokenize: undo the benchmark's tokenization before scoring, as the paper does.
        batch_size: number of prompts completed at once.
        pair: files of sentences and their translations, for the task `translation`; None: those in
            `data_dir`.
        num_beams: see `translate`.
        length_penalty: see `translate`.
        pieces: files and folders of music, for the task `music`; None: those in `data_dir`.

    Raises:
        UserError: a number is out of range.
    """

    limit: int | None = None
    detokenize: bool = True
    batch_size: int = 16
    pair: tuple[str, str] | None = None
    num_beams: int = NUM_BEAMS
    length_penalty: float = LENGTH_PENALTY
    pieces: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.limit is not None:
            whole_number("limit", self.limit, least=1)
        whole_number("batch_size", self.batch_size, least=1)


@dataclass(frozen=True)
class Measurement:
    """The outcome of one benchmark.

    Attributes:
        metrics: metric name to value. Accuracies, F1, BLEU and ROUGE are in percent.
        examples: number of passages, questions or windows evaluated.
        counts: sizes needed to check the metrics, such as the number of words and tokens.
        per_example: for each metric that is a mean over examples, the examples' values in the
            data's order and in the metric's unit (an accuracy has 0 or 100 for each example).
            Standard errors and paired tests are computed from these.
        exponential: metrics that are exp of the mean of their `per_example`, as a perplexity is of
            its nats.
        standard_errors: standard errors of metrics that are no mean over examples.
        notes: how metrics were computed, where that is not fixed by the task.
        written: the text that the model wrote for each example and the reference, where metrics
            are corpus scores of `translation_metrics`. Paired tests resample these.
    """

    metrics: dict[str, float]
    examples: int
    counts: dict[str, int] = field(default_factory=dict)
    per_example: dict[str, list[float]] = field(default_factory=dict)
    standard_errors: dict[str, float] = field(default_factory=dict)
    exponential: Sequence[str] = ()
    notes: dict[str, str] = field(default_factory=dict)
    written: Sequence[tuple[str, str]] = ()

    def standard_error(self, metric: str) -> float | None:
        """Return the standard error of a metric, or None if it has none or only one example.

        The error of a mean is s / sqrt(n), where s is the sample standard deviation (n - 1) over
        the examples. The error of exp(mean) is exp(mean) times the mean's (the delta method).
        """
        if metric in self.standard_errors:
            return self.standard_errors[metric]
        values = self.linear_values(metric)
        if len(values) < 2 or not all(map(math.isfinite, values)):
            return None
        return stdev(values) / math.sqrt(len(values))

    def linear_values(self, metric: str) -> list[float]:
        """Return a value per example, whose mean is the metric; empty if it has none.

        For exp(mean), they are the first-order terms, exp(mean) * (1 + value - mean).
        """
        values = self.per_example.get(metric, [])
        if metric not in self.exponential or not values:
            return values
        mean = fmean(values)
        return [self.metrics[metric] * (1 + value - mean) for value in values]


@dataclass(frozen=True)
class Result:
    """One metric of one benchmark.

    Attributes:
        task: the benchmark's name.
        metric: the metric's name.
        value: its value.
        examples: number of examples evaluated.
        seconds: total wall-clock time of the benchmark.
        standard_error: standard error of `value`, or None if it has none.
        note: how the value was computed, if the report has to say it.
    """

    task: str
    metric: str
    value: float
    examples: int
    seconds: float
    standard_error: float | None = None
    note: str = ""


@dataclass(frozen=True)
class PaperFigures:
    """One metric of the paper's four models. None means that no figure is published.

    Attributes:
        small: GPT-2 with 124M parameters (117M in the paper).
        medium: GPT-2 with 355M parameters (345M in the paper).
        large: GPT-2 with 774M parameters (762M in the paper).
        xl: GPT-2 with 1558M parameters (1542M in the paper).
        column: the metric's heading in table 3; empty for figures from elsewhere in the paper.
    """

    small: float | None = None
    medium: float | None = None
    large: float | None = None
    xl: float | None = None
    column: str = ""


@dataclass(frozen=True)
class Benchmark(ABC):
    """A benchmark.

    Attributes:
        name: name of the benchmark in `tasks=[...]`.
        source: location of its data.
        paper: the figures of the paper's models by metric, from the paper if it reports them.
            Each key is a metric that `run` returns.
    """

    name: str
    source: DataSource
    paper: Mapping[str, PaperFigures]

    @abstractmethod
    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Evaluate a model.

        Args:
            scorer: the model to evaluate.
            data_dir: folder with the benchmark's file. None loads it from the Hugging Face hub.
            options: see `Options`.

        Raises:
            MissingDataError: the data cannot be found or downloaded.
            UserError: the data is malformed, or the model's context is too short.
        """


@dataclass(frozen=True)
class Suite(ABC):
    """A set of benchmarks with one figure over all of them, selected together by its name.

    Attributes:
        name: name of the suite in `tasks=[...]`.
        benchmarks: its members. Each can also be selected alone.
        paper: the figures of the paper's models by metric of `combine`.
    """

    name: str
    benchmarks: tuple[Benchmark, ...]
    paper: Mapping[str, PaperFigures] = field(default_factory=dict)

    @abstractmethod
    def combine(self, measured: Sequence[Measurement]) -> Measurement:
        """Return the suite's figures from its members', in the order of `benchmarks`.

        It is called only if every member was measured.
        """

    def table(self, results: Mapping[tuple[str, str], Result], size: str) -> list[list[str]]:
        """Return a table for the report, its header first; empty if the suite has none.

        Args:
            results: the results so far by task and metric.
            size: the field of `PaperFigures` to compare with.
        """
        return []


@contextmanager
def errors_at(place: str) -> Iterator[None]:
    """Prefix errors raised in the block with the example's location."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{place}: {error}") from error
