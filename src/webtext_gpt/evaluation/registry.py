"""The list of benchmarks: a benchmark listed here can be run by its name in `tasks=[...]`."""

from collections.abc import Sequence

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, PaperFigures, Suite
from webtext_gpt.evaluation.tasks import (
    arc,
    blimp,
    cbt,
    compressed_text,
    coqa,
    core,
    hellaswag,
    lambada,
    language_modeling,
    music,
    natural_questions,
    parallel_text,
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
"""The paper's benchmarks, in the order of its table 3, then of its sections 3.4 to 3.8."""

_OTHERS: tuple[Benchmark, ...] = (
    hellaswag.HELLASWAG,
    arc.ARC_EASY,
    arc.ARC_CHALLENGE,
    parallel_text.TRANSLATION,
    music.MUSIC,
)

OTHERS = {benchmark.name: benchmark for benchmark in _OTHERS}
"""Benchmarks that the paper does not have."""

SUITES: dict[str, Suite] = {suite.name: suite for suite in (core.CORE, blimp.BLIMP)}
"""Suites by name."""

TASKS: dict[str, Benchmark] = {
    **BENCHMARKS,
    **OTHERS,
    **{b.name: b for suite in SUITES.values() for b in suite.benchmarks},
}
"""Every benchmark by name, those of the suites too."""


def select_benchmarks(tasks: str | Sequence[str]) -> list[Benchmark]:
    """Return the benchmarks with the given names, without repetition.

    `all` selects every benchmark of the paper; the name of a suite selects its members.

    Raises:
        UserError: a name is unknown, or no name is given.
    """
    selected: list[Benchmark] = []
    for name in _names(tasks):
        if name == "all":
            selected += BENCHMARKS.values()
        elif name in SUITES:
            selected += SUITES[name].benchmarks
        elif name in TASKS:
            selected.append(TASKS[name])
        else:
            raise UserError(f"there is no task {name!r}; {_known()}")
    if not selected:
        raise UserError(f"tasks=[] names no task; {_known()}")
    return list({benchmark.name: benchmark for benchmark in selected}.values())


def select_suites(tasks: str | Sequence[str]) -> list[Suite]:
    """Return the suites with the given names, without repetition; other names are ignored."""
    return [SUITES[name] for name in dict.fromkeys(_names(tasks)) if name in SUITES]


def published_figures(task: str, metric: str) -> PaperFigures | None:
    """Return the figures of the paper's models for a benchmark or suite, or None."""
    found = TASKS.get(task) or SUITES.get(task)
    return found.paper.get(metric) if found else None


def _names(tasks: str | Sequence[str]) -> list[str]:
    return [tasks] if isinstance(tasks, str) else list(tasks)


def _known() -> str:
    return f"tasks: all, {', '.join([*BENCHMARKS, *OTHERS, *SUITES])}"
