"""A classifier's report on labeled rows: metrics, classes, a plot, and the worst mistakes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from webtext_gpt.data.rows import plural
from webtext_gpt.evaluation.tables import aligned, escaped, markdown_table, one_line
from webtext_gpt.files import read_text, write_json_lines, write_text
from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.data.labels import encode_labels
from webtext_gpt.finetuning.metrics import Predictions, positive_class
from webtext_gpt.finetuning.plots import draw_confusion, draw_scatter
from webtext_gpt.finetuning.predict import TextClassifier
from webtext_gpt.terminal import say

REPORT = "report.md"
MISTAKES = "mistakes.jsonl"
CONFUSION = "confusion.png"
SCATTER = "scatter.png"
MISTAKES_LISTED = 20
"""Maximum number of rows in `mistakes.jsonl`."""
MISTAKES_SHOWN = 10
"""Maximum number of rows in the table of mistakes in `report.md`."""
CLASSES_SHOWN = 30
"""Maximum number of rows in the table of classes in the terminal."""

Mistake = dict[str, str | float]


def report_examples(
    classifier: TextClassifier,
    examples: Examples,
    out: Path,
    positive: str | None = None,
    class_names: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Measure a classifier on labeled examples; write a report and print its tables.

    Args:
        classifier: see `TextClassifier`.
        examples: examples whose labels the classifier knows.
        out: the report's folder, whose name is the report's title.
        positive: the class of `f1_positive`; see `Task`.
        class_names: names that the report shows instead of some labels.

    Returns:
        The figures, see `Predictions.figures`, and `constant`: whether every row has the same
        prediction although the true values differ.
    """
    logits = classifier.logits(examples.texts, examples.seconds)
    targets = torch.from_numpy(encode_labels(examples.labels, classifier.labels))
    names = class_names or {}
    labels = [names.get(label, label) for label in classifier.labels]
    shown = names.get(positive, positive) if positive else None
    predictions = Predictions(logits, targets, labels, shown)
    write_report(out, out.name, predictions, examples)
    say(f"\n{terminal_report(out.name, predictions)}")
    return {**predictions.figures, "constant": constant_remark(predictions) is not None}


def write_report(
    out: Path,
    title: str,
    predictions: Predictions,
    examples: Examples,
    worst: int = MISTAKES_LISTED,
) -> None:
    """Write `report.md`, `mistakes.jsonl` and `confusion.png`, or `scatter.png` for a regression.

    Each file appears only once it is complete.

    Args:
        out: the folder; created if it does not exist.
        title: title of the report.
        predictions: predictions for N rows.
        examples: the texts and places of these rows; labels are not used.
        worst: maximum number of mistakes to list.
    """
    figures, labels = predictions.figures, predictions.labels
    mistakes = worst_mistakes(predictions, examples, worst)
    out.mkdir(parents=True, exist_ok=True)
    if predictions.is_regression:
        draw_scatter(out / SCATTER, title, predictions.predicted, predictions.targets)
    else:
        draw_confusion(out / CONFUSION, title, predictions.confusion, labels)
    write_json_lines(out / MISTAKES, mistakes)
    positive = positive_class(labels, predictions.positive)
    parts = [
        f"# {escaped(one_line(title, 200))}",
        plural(len(examples)),
        markdown_table(_metrics_rows(figures, escaped(one_line(positive or "", 30)))),
    ]
    if remark := constant_remark(predictions):
        parts.append(f"**{escaped(remark)}**")
    if predictions.is_regression:
        parts.append(f"![predicted against true values]({SCATTER})")
    else:
        head, *rows = _class_rows(predictions)
        marked = [head, *([escaped(one_line(name, 60)), *cells] for name, *cells in rows)]
        parts += ["## Classes", markdown_table(marked)]
        if confused := most_confused(predictions):
            parts.append(f"Most often mixed up: {escaped('; '.join(confused))}.")
        parts.append(f"![confusion matrix]({CONFUSION})")
    n_wrong = int((predictions.predicted != predictions.targets).sum())
    parts += ["## Worst mistakes", _mistakes_text(mistakes, n_wrong)]
    write_text(out / REPORT, "\n\n".join(parts) + "\n")


def run_sections(run_dir: Path, splits: Sequence[str]) -> list[str]:
    """Return the reports of a run's splits as sections of the report of the run.

    Args:
        run_dir: the run's folder.
        splits: names of splits, whose reports are in folders of these names; a split without a
            report, as of completions, is left out.
    """
    found = []
    for split in splits:
        if (file := run_dir / split / REPORT).is_file():
            _, _, text = read_text(file).partition("\n")  # without the title
            text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
            text = re.sub(r"^(!\[.*\]\()", rf"\1{split}/", text, flags=re.MULTILINE)
            text = text.replace(f" in {MISTAKES}.", f" in {split}/{MISTAKES}.")
            found.append(f"## {split.capitalize()} rows\n{text.rstrip()}")
    return found


def terminal_report(title: str, predictions: Predictions) -> str:
    """Return the metrics and the table of classes as text for the terminal.

    If there are more than `CLASSES_SHOWN` classes, those with the most rows are shown.
    """
    labels, targets = predictions.labels, predictions.targets
    positive = positive_class(labels, predictions.positive)
    parts = [
        f"{one_line(title, 100)}: {plural(len(targets))}",
        aligned(_metrics_rows(predictions.figures, one_line(positive or "", 30))),
    ]
    if not predictions.is_regression:
        head, *rows = _class_rows(predictions)
        counts = [one.rows for one in predictions.classes]
        largest = sorted(range(len(labels)), key=lambda number: -counts[number])[:CLASSES_SHOWN]
        shown = [[one_line(rows[number][0], 30), *rows[number][1:]] for number in sorted(largest)]
        parts.append(aligned([head, *shown]))
        if len(labels) > CLASSES_SHOWN:
            parts[-1] += f"\n({len(labels) - CLASSES_SHOWN:,} more, with fewer rows, in {REPORT})"
        if confused := most_confused(predictions):
            parts.append("most often mixed up:\n" + "\n".join(f"  {one}" for one in confused))
    if remark := constant_remark(predictions):
        parts.append(f"warning: {remark}")
    return "\n\n".join(parts)


def most_confused(predictions: Predictions, most: int = 3) -> list[str]:
    """Return the most frequent mistakes in words, if there are more than two classes.

    Args:
        predictions: predictions of classes.
        most: maximum number of mistakes to return.
    """
    confusion = predictions.confusion.clone()
    rows_of = confusion.sum(dim=1).tolist()
    confusion.fill_diagonal_(0)
    n = len(confusion)
    if n < 3:
        return []
    order = confusion.flatten().argsort(descending=True, stable=True)[:most].tolist()
    names = [one_line(label, 30) for label in predictions.labels]
    return [
        f"{names[true]} taken for {names[other]}, {int(confusion[true, other]):,} of "
        f"{plural(rows_of[true])}"
        for true, other in (divmod(place, n) for place in order)
        if confusion[true, other] > 0
    ]


def constant_remark(predictions: Predictions) -> str | None:
    """Return a remark if every row has the same prediction, though true values differ."""
    predicted, targets = predictions.predicted, predictions.targets
    if not (predicted == predicted[0]).all() or (targets == targets[0]).all():
        return None
    advice = "train longer, change optimizer.lr, or begin from a better pretrained model"
    if predictions.is_regression:
        return f"every row is predicted as {float(predicted[0]):.4g}: nothing was learned; {advice}"
    name = one_line(predictions.labels[int(predicted[0])], 60)
    return (
        f"every row is predicted as {name!r}: the classes were not told apart; {advice}; if they "
        "are of unequal size, task.class_weights=balanced"
    )


def worst_mistakes(predictions: Predictions, examples: Examples, worst: int) -> list[Mistake]:
    """Return the worst mistakes, worst first; equally bad ones in row order.

    Wrong classes are ranked by the probability of the true class, lowest first; wrong numbers by
    their distance from the true number, largest first.

    Args:
        predictions: predictions for N rows.
        examples: the texts and places of these rows.
        worst: maximum number of mistakes to return.

    Returns:
        Rows with `place`, `text`, `text_pair` if texts come in pairs, `label` and `predicted`. For
        a regression the absolute `error` follows; for classes, the `probability` of the predicted
        class and the `probability_of_label`.
    """
    labels, predicted, targets = predictions.labels, predictions.predicted, predictions.targets
    wrong = (predicted != targets).nonzero()[:, 0]
    if predictions.is_regression:
        badness = (predicted - targets).abs()
    else:
        probabilities = predictions.logits.softmax(dim=1)
        probability_of_label = probabilities.gather(1, targets[:, None])[:, 0]
        badness = -probability_of_label
    order = wrong[torch.argsort(badness[wrong], descending=True, stable=True)][:worst]
    mistakes = []
    for row in order.tolist():
        mistake: Mistake = {"place": examples.places[row], "text": examples.texts[row]}
        if examples.seconds is not None:
            mistake["text_pair"] = examples.seconds[row]
        if predictions.is_regression:
            mistake["label"] = float(targets[row])
            mistake["predicted"] = float(predicted[row])
            mistake["error"] = float(badness[row])
        else:
            mistake["label"] = labels[int(targets[row])]
            mistake["predicted"] = labels[int(predicted[row])]
            mistake["probability"] = float(probabilities[row, predicted[row]])
            mistake["probability_of_label"] = float(probability_of_label[row])
        mistakes.append(mistake)
    return mistakes


def _metrics_rows(figures: dict[str, float], positive: str) -> list[list[str]]:
    names = {"f1_positive": f"f1_positive ({positive})"}
    rows = ([names.get(name, name), f"{value:.4f}"] for name, value in figures.items())
    return [["metric", "value"], *rows]


def _class_rows(predictions: Predictions) -> list[list[str]]:
    rows = [["class", "precision", "recall", "F1", "rows"]]
    for one in predictions.classes:
        quotients = [f"{value:.4f}" for value in (one.precision, one.recall, one.f1)]
        rows.append([one.label, *quotients, f"{one.rows:,}"])
    return rows


def _mistakes_text(mistakes: Sequence[Mistake], n_wrong: int) -> str:
    if not n_wrong:
        return "None: every prediction is right."
    said = f"{plural(n_wrong)} predicted wrongly"
    if not mistakes:
        return f"{said}; none are listed."
    said += f"; the worst {len(mistakes):,} in {MISTAKES}."
    rows = [list(mistakes[0])]
    for mistake in mistakes[:MISTAKES_SHOWN]:
        shown = mistake | {"place": str(mistake["place"]).rpartition("/")[2]}  # without folders
        cells = (f"{v:.4g}" if isinstance(v, float) else v for v in shown.values())
        rows.append([escaped(one_line(cell, 100)) for cell in cells])
    return f"{said}\n\n{markdown_table([[name.replace('_', ' ') for name in rows[0]], *rows[1:]])}"
