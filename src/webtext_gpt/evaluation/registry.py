"""The list of benchmarks: a benchmark listed here can be run by its name in `tasks=[...]`."""

from collections.abc import Sequence

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark
from webtext_gpt.evaluation.tasks import (
    cbt,
    compressed_text,
    coqa,
    lambada,
    language_modeling,
    natural_questions,
    summarization,
    translation,
    winograd,
)

_ALL: tuple[Benchmark, ...] = (
    lambada.LAMBADA,
    cbt.COMMON_NOUNS,
    cbt.NAMED_ENTITIES,
    language_modeling.WIKITEXT2,
    language_modeling.PENN_TREEBANK,
    compressed_text.ENWIK8,
    compressed_text.TEXT8,
    language_modeling.WIKITEXT103,
    language_modeling.ONE_BILLION_WORDS,
    winograd.WINOGRAD,
    coqa.COQA,
    summarization.CNN_DAILYMAIL,
    translation.ENGLISH_TO_FRENCH,
    translation.FRENCH_TO_ENGLISH,
    natural_questions.NATURAL_QUESTIONS,
)

BENCHMARKS = {benchmark.name: benchmark for benchmark in _ALL}
"""Benchmarks by name, in the order of the paper's table 3, then of its sections 3.4 to 3.8."""


def select_benchmarks(tasks: str | Sequence[str]) -> list[Benchmark]:
    """Return the benchmarks with the given names, without repetition; `all` selects every one.

    Raises:
        UserError: a name is unknown, or no name is given.
    """
    names = list(tasks) if isinstance(tasks, Sequence) and not isinstance(tasks, str) else [tasks]
    if "all" in names:
        return list(BENCHMARKS.values())
    for name in names:
        if name not in BENCHMARKS:
            raise UserError(f"there is no task {name!r}; tasks: all, {', '.join(BENCHMARKS)}")
    if not names:
        raise UserError(f"tasks=[] names no task; tasks: all, {', '.join(BENCHMARKS)}")
    return [BENCHMARKS[name] for name in dict.fromkeys(names)]
