"""ARC: science questions of school exams (Clark et al. 2018), zero-shot as lm-eval asks them."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from webtext_gpt.data.endings import JSON_LINES, ends_in
from webtext_gpt.data.rows import Row, read_rows, text_value, texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, errors_at
from webtext_gpt.evaluation.choices import new_counts
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.multiple_choice import Question, accuracies, label_index
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.progress import progress_bar


@dataclass(frozen=True)
class Arc(Benchmark):
    """`acc` and `acc_norm` among the answers, three to five of them, on the test set."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Choose an answer for every question. See `Benchmark.run`."""
        questions = [question(place, row) for place, row in self._rows(data_dir, options.limit)]
        values: dict[str, list[float]] = {"acc": [], "acc_norm": []}
        counts = new_counts()
        with progress_bar(self.name, total=len(questions), unit="question") as bar:
            for asked in questions:
                for metric, value in accuracies(scorer, asked, counts).items():
                    values[metric].append(value)
                bar.update(1)
        metrics = {metric: fmean(value) for metric, value in values.items()}
        return Measurement(metrics, len(questions), counts, values)

    def _rows(self, data_dir: Path | None, limit: int | None) -> Iterable[tuple[str, Row]]:
        """Return the rows; those of JSONL with whatever columns they have."""
        if data_dir is None or not ends_in(self.source.file(data_dir), JSON_LINES):
            return self.source.rows(data_dir, limit)
        file = self.source.file(data_dir)
        rows = list(islice(read_rows(file, ()), limit))
        if not rows:
            raise UserError(f"{file} is empty")
        return rows


def question(place: str, row: Row) -> Question:
    """Return the question of a row: AI2's, the hub's, or CORE's.

    AI2 has `{"question": {"stem", "choices": [{"text", "label"}]}, "answerKey"}`, the hub
    `{"question", "choices": {"text", "label"}, "answerKey"}`, CORE `{"query", "choices", "gold"}`.

    Raises:
        UserError: the row has none of these forms, or its answer is none of the choices.
    """
    if "query" in row:
        _need(row, ("choices", "gold"), place)
        texts = texts_value(row, "choices", place)
        gold = label_index([str(n) for n in range(len(texts))], str(row["gold"]), place)
        return Question(f"{text_value(row, 'query', place)}\nAnswer:", texts, gold)
    _need(row, ("question", "answerKey"), place)
    inner = row["question"]
    if isinstance(inner, dict):
        _need(inner, ("stem", "choices"), f"{place}: question")
        with errors_at(place):
            columns = _columns(inner["choices"])
        stem = text_value(inner, "stem", place)
    else:
        _need(row, ("choices",), place)
        columns = row["choices"]
        stem = text_value(row, "question", place)
    if not isinstance(columns, dict):
        raise UserError(f"{place}: 'choices' is {type(columns).__name__}, not texts and labels")
    _need(columns, ("text", "label"), f"{place}: choices")
    texts, labels = (texts_value(columns, column, place) for column in ("text", "label"))
    gold = label_index(labels, text_value(row, "answerKey", place), place)
    return Question(f"Question: {stem}\nAnswer:", texts, gold)


def _columns(choices: Any) -> dict[str, list[object]]:
    """Return AI2's list of choices as the hub has it: their texts and their labels."""
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise UserError("'choices' of the question is not a list of objects with text and label")
    return {key: [choice.get(key) for choice in choices] for key in ("text", "label")}


def _need(row: Row, keys: tuple[str, ...], place: str) -> None:
    for key in keys:
        if key not in row:
            raise UserError(f"{place} has no key {key!r}, only {', '.join(map(str, row))}")


def _arc(name: str, config: str) -> Arc:
    return Arc(
        name=name,
        source=DataSource(
            files=(
                *(f"{config}-Test.jsonl", f"{name}_test.jsonl", f"{name}_test.parquet"),
                *(f"{name}.jsonl", f"world_knowledge/{name}.jsonl"),
            ),
            columns=("question", "choices", "answerKey"),
            hub="allenai/ai2_arc",
            config=config,
            origin="https://allenai.org/data/arc",
        ),
        paper={},
    )


ARC_EASY = _arc("arc_easy", "ARC-Easy")
ARC_CHALLENGE = _arc("arc_challenge", "ARC-Challenge")
