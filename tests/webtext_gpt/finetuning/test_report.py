"""Written and printed reports on a few predictions, with figures worked out by hand."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.axes
import pytest
import torch
import yaml
from matplotlib.image import imread
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.tables import escaped, one_line
from webtext_gpt.finetuning import report
from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.metrics import Predictions
from webtext_gpt.finetuning.plots import draw_confusion
from webtext_gpt.finetuning.report import report_examples, run_sections


def _logits(probabilities: list[list[float]]) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


REPOSITORY = Path(__file__).parents[3]

FOUR = {
    "title": "run on file.csv",
    "logits": _logits([[0.8, 0.2], [0.4, 0.6], [0.9, 0.1], [0.6, 0.4]]),
    "targets": torch.tensor([0, 0, 1, 1]),
    "labels": ["bad|ish", "good"],
}
ROWS = {
    "texts": ["right", "w" * 300, "a | pipe\nand *stars*", "<b>last</b>"],
    "places": [f"file.csv, line {line}" for line in range(2, 6)],
}


def _write(
    out: Path,
    title: str,
    logits: Tensor,
    targets: Tensor,
    labels: list[str],
    texts: list[str],
    places: list[str],
    seconds: list[str] | None,
    positive: str | None = None,
    worst: int = 20,
) -> None:
    """Write a report of outputs given as values."""
    predictions = Predictions(logits, targets, labels, positive)
    examples = Examples(texts, seconds, [], places)
    report.write_report(out, title, predictions, examples, worst)


def _terminal(title: str, logits: Tensor, targets: Tensor, labels: list[str]) -> str:
    return report.terminal_report(title, Predictions(logits, targets, labels))


def _mistakes(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "mistakes.jsonl").read_text().splitlines()]


def test_mistakes_are_listed_by_probability_of_the_label(tmp_path: Path) -> None:
    _write(tmp_path / "new", **FOUR, **ROWS, seconds=None)
    found = _mistakes(tmp_path / "new")
    # 0.4 for the label in lines 3 and 5: the earlier line first
    assert [row["place"][-1] for row in found] == ["4", "3", "5"]
    probabilities = {key: found[0].pop(key) for key in ("probability", "probability_of_label")}
    assert probabilities == pytest.approx({"probability": 0.9, "probability_of_label": 0.1})
    assert found[0] == {
        "place": "file.csv, line 4",
        "text": "a | pipe\nand *stars*",
        "label": "good",
        "predicted": "bad|ish",
    }
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"confusion.png", "mistakes.jsonl", "report.md"}


def test_report_shows_figures_and_escapes_markdown(tmp_path: Path) -> None:
    _write(tmp_path, **FOUR, **ROWS, seconds=ROWS["texts"], worst=2)
    text = (tmp_path / "report.md").read_text()
    assert "| accuracy | 0.2500 |" in text
    # one of three predicted is right, of two; none of one
    assert r"| bad\|ish | 0.3333 | 0.5000 | 0.4000 | 2 |" in text
    assert "| good | 0.0000 | 0.0000 | 0.0000 | 2 |" in text
    assert (
        r"a \| pipe and \*stars\* | a \| pipe and \*stars\* | good | bad\|ish | 0.9 | 0.1 |" in text
    )
    assert "w" * 99 + "… |" in text
    assert "3 rows predicted wrongly; the worst 2 in mistakes.jsonl" in text
    assert len(_mistakes(tmp_path)) == 2
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_most_frequent_mistakes_are_named() -> None:
    """Of four rows of a, two are taken for c and one for b; one of b is taken for a."""
    predicted = torch.tensor([0, 2, 2, 1, 0, 1, 2])
    targets = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    logits = torch.nn.functional.one_hot(predicted, 3).float()
    text = _terminal("t", logits, targets, ["a", "b", "c"])
    assert text.endswith(
        "most often mixed up:\n  a taken for c, 2 of 4 rows\n  a taken for b, 1 of 4 rows\n"
        "  b taken for a, 1 of 2 rows"
    )
    assert "mixed up" not in _terminal("t", logits[:, :2], targets.clamp(max=1), ["a", "b"])


def test_f1_positive_names_its_class(tmp_path: Path) -> None:
    _write(tmp_path, **FOUR, **ROWS, seconds=None, positive="bad|ish")
    # "bad|ish": precision 1/3, recall 1/2, so F1 is 2 / (3 + 2)
    assert r"| f1_positive (bad\|ish) | 0.4000 |" in (tmp_path / "report.md").read_text()
    assert re.search(r"^f1_positive \(good\) +0.0000$", _terminal(**FOUR), re.MULTILINE)


def test_reports_of_one_row_use_the_singular(tmp_path: Path) -> None:
    one = {**FOUR, "logits": FOUR["logits"][1:2], "targets": FOUR["targets"][1:2]}
    rows = {key: values[1:2] for key, values in ROWS.items()}
    assert _terminal(**one).startswith("run on file.csv: 1 row\n")
    _write(tmp_path, **one, **rows, seconds=None)
    text = (tmp_path / "report.md").read_text()
    assert "\n1 row\n" in text
    assert "\n1 row predicted wrongly; the worst 1 in mistakes.jsonl." in text


@pytest.mark.filterwarnings("error")
def test_a_class_without_font_is_drawn_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second class is drawn as `class 2`, and neither it nor the title causes a warning."""
    script = "\U00012000\U00012001"  # cuneiform
    drawn = []
    monkeypatch.setattr(
        matplotlib.axes.Axes,
        "set_yticks",
        lambda self, ticks, labels, **options: drawn.extend(labels),
    )
    script_labels = {**FOUR, "labels": ["é, Ж", script], "title": script}
    _write(tmp_path, **script_labels, **ROWS, seconds=None)
    assert drawn == ["é, Ж", "class 2"]
    assert script in (tmp_path / "report.md").read_text()


def test_a_report_without_mistakes_says_so(tmp_path: Path) -> None:
    right = {**FOUR, "targets": torch.tensor([0, 1, 0, 0])}
    _write(tmp_path, **right, **ROWS, seconds=None)
    assert "None: every prediction is right." in (tmp_path / "report.md").read_text()
    assert _mistakes(tmp_path) == []


def test_regression_has_a_scatter_plot_and_errors(tmp_path: Path) -> None:
    _write(
        tmp_path,
        title="$scores$",
        logits=torch.tensor([[1.0], [2.5], [2.0], [5.0]]),
        targets=torch.tensor([1.5, 2.5, 4.0, 4.5]),
        labels=["score"],
        **ROWS,
        seconds=["b"] * 4,
    )
    found = _mistakes(tmp_path)
    assert [(row["place"][-1], row["error"]) for row in found] == [("4", 2), ("2", 0.5), ("5", 0.5)]
    assert (found[0]["text_pair"], found[0]["label"], found[0]["predicted"]) == ("b", 4, 2)
    assert {path.name for path in tmp_path.iterdir()} == {
        "scatter.png",
        "mistakes.jsonl",
        "report.md",
    }
    assert "| pearson |" in (tmp_path / "report.md").read_text()


def test_plots_draw_names_literally(tmp_path: Path) -> None:
    """Dollars and carets do not start formulas; shades show shares of the rows."""
    odd_labels = {**FOUR, "labels": ["$^$", "x" * 200], "title": "$\\frac$"}
    _write(tmp_path, **odd_labels, **ROWS, seconds=None)
    pixels = imread(tmp_path / "confusion.png")
    assert pixels.shape[1] < 1200  # the long name is elided
    # all rows of the second class, half of those of the first
    blue = torch.tensor(pixels[..., :3]).flatten(0, 1)
    for share, color in ((1.0, (8, 48, 107)), (0.0, (247, 251, 255))):  # the ends of "Blues"
        near = (blue * 255 - torch.tensor(color)).abs().amax(dim=1) < 2
        assert near.sum() > 2000, share


def test_terminal_shows_the_largest_of_many_classes() -> None:
    labels = [f"class{number}" for number in range(32)]
    targets = torch.tensor([place for place in range(32) for _ in range(1 + (place > 1))])
    logits = torch.nn.functional.one_hot(targets, 32).double()
    text = _terminal(title="run", logits=logits, targets=targets, labels=labels)
    shown = re.findall(r"^class\d+", text, re.MULTILINE)
    assert shown == labels[2:]
    assert text.endswith("(2 more, with fewer rows, in report.md)")
    assert "f1_positive" not in text
    assert "accuracy  1.0000" in text


def test_terminal_of_a_regression_has_no_classes() -> None:
    logits, targets = torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 2.0])
    text = _terminal(title="run", logits=logits, targets=targets, labels=["score"])
    assert text.splitlines()[-3:] == ["pearson   1.0000", "spearman  1.0000", "loss      0.5000"]


def test_a_failed_report_leaves_the_last_one(tmp_path: Path) -> None:
    _write(tmp_path, **FOUR, **ROWS, seconds=None)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = {**FOUR, "logits": torch.full((4, 2), float("nan"))}
    with pytest.raises(UserError, match="4 of 4 rows"):
        _write(tmp_path, **broken, **ROWS, seconds=None)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_one_line_and_escapes() -> None:
    assert one_line(" a\n\tb\x1b[31m ", 20) == "a b�[31m"
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abcde…"
    assert escaped(r"a\|b_c") == r"a\\\|b\_c"


def test_a_predictor_of_one_class_is_remarked_on(tmp_path: Path) -> None:
    one = _logits([[0.8, 0.2], [0.6, 0.4], [0.9, 0.1]])
    labels = ["a|b", "good"]
    remark = "every row is predicted as 'a|b'"
    shown = _terminal("run", one, torch.tensor([0, 1, 0]), labels)
    assert f"warning: {remark}" in shown
    assert "task.class_weights=balanced" in shown
    rows = {"texts": ["x"] * 3, "places": ["y"] * 3, "seconds": None}
    _write(tmp_path, "run", one, torch.tensor([0, 1, 0]), labels, **rows)
    assert escaped(remark) in (tmp_path / "report.md").read_text()
    for targets in ([0, 0, 0], [1, 1, 1]):  # nothing to tell apart
        assert "warning" not in _terminal("run", one, torch.tensor(targets), labels)
    two = _logits([[0.8, 0.2], [0.4, 0.6], [0.9, 0.1]])
    assert "warning" not in _terminal("run", two, torch.tensor([0, 1, 0]), labels)


@pytest.mark.parametrize(("second", "constant"), [([0.6, 0.4], True), ([0.4, 0.6], False)])
def test_figures_tell_a_predictor_of_one_class(
    second: list[float], constant: bool, tmp_path: Path
) -> None:
    logits = _logits([[0.8, 0.2], second])
    classifier: Any = SimpleNamespace(logits=lambda *_: logits, labels=("a", "b"))
    examples = Examples(["x", "y"], None, ["a", "b"], ["line 1", "line 2"])
    assert report_examples(classifier, examples, tmp_path / "test")["constant"] is constant


def test_a_regression_that_predicts_one_number_is_remarked_on() -> None:
    targets = torch.tensor([1.0, 2.0, 3.0])
    assert "every row is predicted as 2:" in _terminal("x", torch.full((3, 1), 2.0), targets, ["y"])
    assert "warning" not in _terminal("x", torch.tensor([[2.0], [2.0], [2.1]]), targets, ["y"])


@pytest.mark.parametrize("n", [2, 8, 20, 70])
def test_a_confusion_matrix_is_readable_at_600_pixels(
    tmp_path: Path, figures: list[Any], n: int
) -> None:
    """Its width is 6 inches, so 9.5 points are 13 pixels; cells hold their text."""
    names = [f"a class with a very long name {number}" for number in range(n)]
    draw_confusion(tmp_path / "a.png", "validation", torch.full((n, n), 12_345), names)
    axes = figures[0].axes[0]
    assert figures[0].get_figwidth() == 6
    cell = axes.bbox.width / n
    for text in (*axes.texts, *axes.get_xticklabels()):
        box = text.get_window_extent()
        assert text.get_fontsize() >= 6.5
        assert box.width < cell or n > 8
        assert figures[0].bbox.contains(box.x0, box.y0)
    assert len(axes.texts) == (n**2 if n <= 8 else 0)
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    assert len(set(ticks)) == len(ticks) <= 30


def test_a_confusion_matrix_has_names_counts_and_per_cents(
    tmp_path: Path, figures: list[Any]
) -> None:
    """The labels of GLUE's SST-2 are 0 and 1; conf/task/sst2.yaml names them."""
    names = yaml.safe_load((REPOSITORY / "conf/task/sst2.yaml").read_text())["class_names"]
    classifier = SimpleNamespace(
        labels=("0", "1"), logits=lambda texts, seconds: FOUR["logits"][:, [1, 0]]
    )
    examples = Examples(ROWS["texts"], None, ["0", "1", "1", "1"], ROWS["places"])
    task = Task(name="sst2", class_names=names, positive="1")
    report_examples(classifier, examples, tmp_path / "validation", task.positive, task.class_names)
    axes = figures[0].axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        assert [text.get_text() for text in axis.get_ticklabels()] == ["negative", "positive"]
    # predicted: 1, 0, 1, 1; the single negative row is wrong, two of three positive ones are right
    cells = ["0.0%\n0", "100.0%\n1", "33.3%\n1", "66.7%\n2"]
    assert [text.get_text() for text in axes.texts] == cells
    assert figures[0]._suptitle.get_text() == "validation: 50.0% of 4 rows right"
    text = (tmp_path / "validation/report.md").read_text()
    assert "| f1_positive (positive) |" in text
    assert "| negative | 0.0000 | 0.0000 | 0.0000 | 1 |" in text


def test_the_tables_of_every_split_are_sections_of_the_runs_report(tmp_path: Path) -> None:
    for split in ("validation", "test"):
        _write(tmp_path / split, **(FOUR | {"title": split}), **ROWS, seconds=None)
    sections = run_sections(tmp_path, ["validation", "test", "absent"])
    assert [section.partition("\n")[0] for section in sections] == [
        "## Validation rows",
        "## Test rows",
    ]
    for split, section in zip(("validation", "test"), sections, strict=True):
        assert r"| bad\|ish | 0.3333 | 0.5000 | 0.4000 | 2 |" in section
        assert f"]({split}/confusion.png)" in section
        assert f"the worst 3 in {split}/mistakes.jsonl." in section
        assert "\n### Worst mistakes\n" in section


@pytest.mark.parametrize("n", [2, 3])
def test_a_confusion_matrix_of_few_classes_fills_the_width(
    n: int, tmp_path: Path, figures: list[Any]
) -> None:
    draw_confusion(tmp_path / "c.png", "t", torch.eye(n).long(), ["a", "b", "c"][:n])
    assert figures[0].axes[0].bbox.x1 > 0.95 * figures[0].bbox.width
