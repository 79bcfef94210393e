"""Tasks of CORE: questions after a few solved ones (Li et al. 2024, "DataComp-LM", appendix G).

Prompts, the choice of the solved examples and the scoring are those of nanochat's `core_eval.py`,
by which the published figures of GPT-2 were measured.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np

from webtext_gpt.data.rows import Row, text_value, texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, errors_at
from webtext_gpt.evaluation.choices import (
    Choice,
    common_prefix,
    common_suffix,
    cut_to,
    first_least,
    is_tie,
    new_counts,
    score_choices,
)
from webtext_gpt.evaluation.scoring import Scorer, Window
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import Tokenizer

Kind = Literal["multiple_choice", "schema", "language_modeling"]

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "multiple_choice": ("query", "choices", "gold"),
    "schema": ("context_options", "continuation", "gold"),
    "language_modeling": ("context", "continuation"),
}
"""Columns of a task's file by its kind."""

VERSIONS = ("v1", "v2")
"""Versions of CORE's baselines: as published with the paper, and as corrected in September 2025."""

ORDER_SEED = 1337
"""Seed of the order of the examples; `limit` takes the first of them."""

SHOTS_SEED = 1234
"""Seed of the first question's solved examples; each further question has the next seed."""


@dataclass(frozen=True)
class Question:
    """One example.

    Attributes:
        options: pairs of a context and its continuation. Language modeling has a single one.
        gold: index of the right option.
        place: location, for messages.
    """

    options: Sequence[tuple[str, str]]
    gold: int
    place: str


@dataclass(frozen=True)
class InContextTask(Benchmark):
    """Accuracy on questions after solved examples of the same task.

    Attributes:
        kind: `multiple_choice`: which continuation has the lowest mean loss after one context.
            `schema`: after which context one continuation has the lowest mean loss.
            `language_modeling`: whether each token of the continuation is the likeliest one.
        shots: number of solved examples.
        delimiter: text between context and continuation.
        baselines: accuracy of guessing, in percent, by version.
    """

    kind: Kind
    shots: int
    delimiter: str
    baselines: tuple[float, float]

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Answer every question. See `Benchmark.run`.

        The values per example are in the order in which the questions are drawn.
        """
        questions = [self._question(*pair) for pair in self.source.rows(data_dir)]
        random.Random(ORDER_SEED).shuffle(questions)  # noqa: S311 - not for secrets
        if len(questions) <= self.shots:
            raise UserError(
                f"{questions[0].place}: the file has {len(questions)} examples; a prompt of "
                f"{self.shots} and a question need {self.shots + 1}"
            )
        n = len(questions) if options.limit is None else min(options.limit, len(questions))
        pool = questions[: max(n, self.shots + 1)]
        counts = new_counts()
        correct: list[bool] = []
        with progress_bar(self.name, total=n, unit="question") as bar:
            if self.kind == "language_modeling":
                windows = [self._continuation(scorer, pool, i, counts) for i in range(n)]
                scores = scorer.score(windows, progress=bar.update)
                for window, score in zip(windows, scores, strict=True):
                    targets = window.tokens[-window.scored :]
                    correct.append(bool(np.array_equal(score.likeliest.numpy(), targets)))
            else:
                for i in range(n):
                    choices = self._choices(scorer, pool, i, counts)
                    losses = [-float(s.mean()) for s in score_choices(scorer, choices)]
                    counts["ties"] += is_tie(losses)
                    correct.append(first_least(losses) == pool[i].gold)
                    bar.update(1)
        values = {"accuracy": [100.0 * right for right in correct]}
        for version, baseline in zip(VERSIONS, self.baselines, strict=True):
            values[f"centered_{version}"] = [
                (value - baseline) / (100 - baseline) for value in values["accuracy"]
            ]
        return Measurement({m: fmean(v) for m, v in values.items()}, n, counts, values)

    def _question(self, place: str, row: Row) -> Question:
        text, texts = partial(text_value, row, place=place), partial(texts_value, row, place=place)
        if self.kind == "language_modeling":
            if not text("continuation"):
                raise UserError(f"{place}: 'continuation' is empty")
            return Question([(text("context").strip(), text("continuation"))], 0, place)
        if self.kind == "schema":
            options = [(context, text("continuation")) for context in texts("context_options")]
        else:
            options = [(text("query"), choice) for choice in texts("choices")]
        with errors_at(place):
            whole_number("gold", row["gold"], least=0)
            if row["gold"] >= len(options):
                raise UserError(f"gold is {row['gold']}, but there are {len(options)} options")
        return Question(options, row["gold"], place)

    def _prompts(self, pool: Sequence[Question], index: int) -> tuple[str, list[str]]:
        """Return the solved examples, and each option's context and continuation after them."""
        others = [i for i in range(len(pool)) if i != index]
        drawn = random.Random(SHOTS_SEED + index)  # noqa: S311 - not for secrets
        shots = drawn.sample(others, self.shots)
        solved = (pool[i].options[pool[i].gold] for i in shots)
        before = "".join(f"{self.delimiter.join(pair)}\n\n" for pair in solved)
        return before, [before + self.delimiter.join(pair) for pair in pool[index].options]

    def _choices(
        self, scorer: Scorer, pool: Sequence[Question], index: int, counts: dict[str, int]
    ) -> list[Choice]:
        rows = _encode(scorer.tokenizer, self._prompts(pool, index)[1])
        if self.kind == "multiple_choice":
            starts = [common_prefix(rows)] * len(rows)
        else:
            n_scored = common_suffix(rows)
            starts = [max(1, len(row) - n_scored) for row in rows]
        choices = [Choice(row, start) for row, start in zip(rows, starts, strict=True)]
        return cut_to(scorer.block_size, choices, counts)

    def _continuation(
        self, scorer: Scorer, pool: Sequence[Question], index: int, counts: dict[str, int]
    ) -> Window:
        before, (prompt,) = self._prompts(pool, index)
        context, _ = pool[index].options[0]
        rows = _encode(scorer.tokenizer, [prompt, (before + context + self.delimiter).strip()])
        start = common_prefix(rows)
        (choice,) = cut_to(scorer.block_size, [Choice(rows[0], start)], counts)
        return Window(np.array(choice.tokens), len(choice.tokens) - choice.start)


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Return the token ids of texts, each after the end-of-text token."""
    return [[tokenizer.end_of_text, *ids.tolist()] for ids in tokenizer.encode_batch(texts)]
