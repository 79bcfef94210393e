"""HellaSwag: the likeliest ending of a description (Zellers et al. 2019), on the validation set.

Reproductions of GPT-2 quote two different figures: lm-eval's, and that of llm.c's `hellaswag.py`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from webtext_gpt.data.rows import Row, text_value, texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.choices import Choice, cut_to, new_counts, score_choices
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.multiple_choice import Question, accuracies, label_index, picked
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.progress import progress_bar


@dataclass(frozen=True)
class HellaSwag(Benchmark):
    """Accuracy among four endings, zero-shot.

    `acc` and `acc_norm` are lm-eval's: WikiHow's brackets are removed, the activity stands ahead of
    the context, and `acc_norm` divides by characters. `completion_acc` and `completion_acc_norm`
    are llm.c's: the context as it is, and the mean log-probability a token for the second.
    """

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Choose an ending for every context. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        questions = [question(place, row) for place, row in rows]
        values: dict[str, list[float]] = {}
        counts, again = new_counts(), new_counts()
        with progress_bar(self.name, total=len(rows), unit="question") as bar:
            for (_, row), asked in zip(rows, questions, strict=True):
                figures = accuracies(scorer, asked, counts)
                figures |= _completion(scorer, row, asked.gold, again)
                for metric, value in figures.items():
                    values.setdefault(metric, []).append(value)
                bar.update(1)
        metrics = {metric: fmean(value) for metric, value in values.items()}
        return Measurement(metrics, len(rows), counts, values)


def question(place: str, row: Row) -> Question:
    """Return a row as lm-eval asks it.

    Raises:
        UserError: a value is of the wrong type, or the row has no label, as in the test set.
    """
    activity, ctx_a, ctx_b, _ = (
        text_value(row, column, place) for column in ("activity_label", "ctx_a", "ctx_b", "ctx")
    )
    endings = texts_value(row, "endings", place)
    if row["label"] in ("", None):
        raise UserError(f"{place} has no label; give the validation set")
    label = label_index([str(n) for n in range(len(endings))], str(row["label"]), place)
    context = clean(f"{activity}: {ctx_a} {ctx_b.capitalize()}")
    return Question(context, [clean(ending) for ending in endings], label)


def clean(text: str) -> str:
    """Return a text without WikiHow's marks, as lm-eval does: `[title]` ends a sentence."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def _completion(scorer: Scorer, row: Row, gold: int, counts: dict[str, int]) -> dict[str, float]:
    """Return llm.c's figures: the context and each ending are encoded separately."""
    context = scorer.tokenizer.encode(row["ctx"])
    rows = [[*context, *scorer.tokenizer.encode(f" {ending}")] for ending in row["endings"]]
    choices = cut_to(scorer.block_size, [Choice(r, len(context)) for r in rows], counts)
    scores = score_choices(scorer, choices)
    sums, means = [float(s.sum()) for s in scores], [float(s.mean()) for s in scores]
    return picked({"completion_acc": sums, "completion_acc_norm": means}, gold, counts)


HELLASWAG = HellaSwag(
    name="hellaswag",
    source=DataSource(
        files=("hellaswag_val.jsonl", "hellaswag_validation.jsonl", "hellaswag_validation.parquet"),
        columns=("activity_label", "ctx_a", "ctx_b", "ctx", "endings", "label"),
        hub="Rowan/hellaswag",
        split="validation",
        data_files="default/validation/*.parquet",
        origin="https://github.com/rowanz/hellaswag",
    ),
    paper={
        "acc": PaperFigures(small=28.92, xl=40.04),
        "acc_norm": PaperFigures(small=31.14, xl=50.89),
        "completion_acc": PaperFigures(small=28.59, xl=38.42),
        "completion_acc_norm": PaperFigures(small=29.55, xl=48.93),
    },
)
"""GPT-2's figures, lm-eval's too, are from llm.c's `dev/data/hellaswag.py`."""
