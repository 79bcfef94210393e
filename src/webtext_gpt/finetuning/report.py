"""What is shown of a fine-tuned classifier: figures, a picture, a table, and its worst mistakes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from webtext_gpt.data.rows import plural
from webtext_gpt.evaluation.tables import aligned, escaped, markdown_table, one_line
from webtext_gpt.files import replaced, write_json_lines, write_text
from webtext_gpt.finetuning.metrics import judged_class, measure, per_class
from webtext_gpt.finetuning.mistakes import worst_mistakes
from webtext_gpt.finetuning.plots import draw_confusion, draw_scatter

REPORT = "report.md"
MISTAKES = "mistakes.jsonl"
CONFUSION = "confusion.png"
SCATTER = "scatter.png"
MISTAKES_SHOWN = 10
CLASSES_SHOWN = 30


def write_classification_report(
    out: Path,
    *,
    title: str,
    logits: Tensor,
    targets: Tensor,
    labels: Sequence[str],
    texts: Sequence[str],
    seconds: Sequence[str] | None,
    places: Sequence[str],
    positive: str | None = None,
    worst: int = 20,
) -> None:
    """Write `report.md`, `mistakes.jsonl` and `confusion.png`, of a regression `scatter.png`.

    Each file is whole or not there.

    Args:
        out: the folder; made if there is none.
        title: what the report calls the model and its data.
        logits: `(N, n_labels)`.
        targets: `(N,)` numbers of the true classes, or true values.
        labels: names of the classes; a single one for a regression.
        texts: the N texts.
        seconds: the second texts where rows are pairs.
        places: where each row stands in its file.
        positive: the class of `f1_positive`; see `judged_class`.
        worst: how many mistakes are listed at most.

    Raises:
        UserError: see `measure`.
    """
    logits, targets = logits.detach().cpu(), targets.detach().cpu()
    figures = measure(logits, targets, labels=labels, positive=positive)
    mistakes = worst_mistakes(
        logits,
        targets,
        labels=labels,
        texts=texts,
        seconds=seconds,
        places=places,
        worst=worst,
    )
    out.mkdir(parents=True, exist_ok=True)
    regression = len(labels) == 1
    if regression:
        with replaced(out / SCATTER) as partial:
            draw_scatter(partial, title, logits[:, 0].double(), targets.double())
        n_wrong = int((logits[:, 0].double() != targets.double()).sum())
    else:
        predicted = logits.argmax(dim=1)
        with replaced(out / CONFUSION) as partial:
            confusion = multiclass_confusion_matrix(predicted, targets, len(labels))
            draw_confusion(partial, title, confusion, labels)
        n_wrong = int((predicted != targets).sum())
    write_json_lines(out / MISTAKES, mistakes)
    judged = judged_class(labels, positive)
    parts = [
        f"# {escaped(one_line(title, 200))}",
        plural(len(targets)),
        markdown_table(_metrics_rows(figures, escaped(one_line(judged or "", 30)))),
    ]
    if regression:
        parts.append(f"![predicted against true values]({SCATTER})")
    else:
        rows = _class_rows(logits, targets, labels)
        marked = [rows[0], *([escaped(one_line(r[0], 60)), *r[1:]] for r in rows[1:])]
        parts += ["## Classes", markdown_table(marked), f"![confusion matrix]({CONFUSION})"]
    parts += ["## Worst mistakes", _mistakes_text(mistakes, n_wrong)]
    write_text(out / REPORT, "\n\n".join(parts) + "\n")


def terminal_report(
    *,
    title: str,
    logits: Tensor,
    targets: Tensor,
    labels: Sequence[str],
    positive: str | None = None,
) -> str:
    """Metrics and, of a classification, the table of classes, for the terminal.

    Of many classes those with the most rows are shown. For the arguments see
    `write_classification_report`.
    """
    logits, targets = logits.detach().cpu(), targets.detach().cpu()
    figures = measure(logits, targets, labels=labels, positive=positive)
    judged = judged_class(labels, positive)
    parts = [
        f"{one_line(title, 100)}: {plural(len(targets))}",
        aligned(_metrics_rows(figures, one_line(judged or "", 30))),
    ]
    if len(labels) > 1:
        counts = targets.bincount(minlength=len(labels)).tolist()
        largest = sorted(range(len(labels)), key=lambda place: -counts[place])[:CLASSES_SHOWN]
        head, *rows = _class_rows(logits, targets, labels)
        shown = [[one_line(rows[place][0], 30), *rows[place][1:]] for place in sorted(largest)]
        parts.append(aligned([head, *shown]))
        if len(labels) > CLASSES_SHOWN:
            parts[-1] += f"\n({len(labels) - CLASSES_SHOWN:,} more, of fewer rows, in {REPORT})"
    return "\n\n".join(parts)


def _metrics_rows(figures: dict[str, float], judged: str) -> list[list[str]]:
    names = {"f1_positive": f"f1_positive ({judged})"}
    rows = ([names.get(name, name), f"{value:.4f}"] for name, value in figures.items())
    return [["metric", "value"], *rows]


def _class_rows(logits: Tensor, targets: Tensor, labels: Sequence[str]) -> list[list[str]]:
    rows = [["class", "precision", "recall", "F1", "rows"]]
    for one in per_class(logits.argmax(dim=1), targets, labels):
        quotients = [f"{value:.4f}" for value in (one.precision, one.recall, one.f1)]
        rows.append([one.label, *quotients, f"{one.rows:,}"])
    return rows


def _mistakes_text(mistakes: Sequence[dict[str, Any]], n_wrong: int) -> str:
    if not n_wrong:
        return "None: every row is predicted as it is."
    said = f"{plural(n_wrong)} predicted otherwise"
    if not mistakes:
        return f"{said}; none are listed."
    said += f"; the worst {len(mistakes):,} in {MISTAKES}."
    rows = [list(mistakes[0])]
    for mistake in mistakes[:MISTAKES_SHOWN]:
        cells = (f"{v:.4g}" if isinstance(v, float) else v for v in mistake.values())
        rows.append([escaped(one_line(cell, 100)) for cell in cells])
    return f"{said}\n\n{markdown_table([[name.replace('_', ' ') for name in rows[0]], *rows[1:]])}"
