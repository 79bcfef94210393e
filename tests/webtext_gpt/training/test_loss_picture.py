"""The picture of a run's losses, of its first ten steps and of many, and when it is drawn."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.training.callbacks import loss_curve
from webtext_gpt.training.loss_picture import draw_losses, finding
from webtext_gpt.training.metrics import PER_TOKEN, LossMeaning
from webtext_gpt.training.pretrain import pretrain

Rows = Sequence[dict[str, float]]
TEN = [{"step": 10, "train_loss": 7.9, "lr": 1e-3, "grad_norm": 2.0, "val_loss": 7.5}]


def _draw(
    folder: Path, rows: Rows, metric: str = "val_loss", meaning: LossMeaning = PER_TOKEN
) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "metrics.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    draw_losses(folder / "metrics.csv", folder / "loss.png", metric, meaning=meaning)


def _texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_no_label_of_ten_steps_lies_over_a_point(tmp_path: Path, figures: list[Any]) -> None:
    _draw(tmp_path, TEN)
    losses, rate, norm = figures[0].axes
    assert sorted(_texts(losses)) == ["training", "validation"]
    assert (rate.get_ylabel(), norm.get_ylabel()) == ("learning\nrate", "gradient\nnorm")
    points = [losses.transData.transform((10, loss)) for loss in (7.9, 7.5)]
    boxes = [text.get_window_extent() for text in losses.texts]
    assert not any(box.contains(*point) for box in boxes for point in points)
    assert all(losses.bbox.contains(*point) for point in points)
    assert not boxes[0].overlaps(boxes[1])
    assert all(axes.get_legend() is None for axes in figures[0].axes)


def test_many_steps_have_a_running_mean_and_few_have_their_points(
    tmp_path: Path, figures: list[Any]
) -> None:
    rows = [{"step": step, "train_loss": 3.0 + step % 2} for step in range(1, 81)]
    _draw(tmp_path, rows)
    raw, mean = figures[0].axes[0].lines
    assert list(raw.get_ydata()) == [row["train_loss"] for row in rows]
    assert list(mean.get_ydata()) == pytest.approx([3.5] * 79)  # 80 points, in windows of 2
    assert list(mean.get_xdata()) == list(range(2, 81))


def test_high_losses_of_the_first_steps_do_not_flatten_the_rest(
    tmp_path: Path, figures: list[Any]
) -> None:
    rows = [{"step": step, "train_loss": 10.8 if step < 3 else 3.0} for step in range(1, 101)]
    rows[50]["val_loss"] = 4.0
    _draw(tmp_path, rows)
    assert 4.0 < figures[0].axes[0].get_ylim()[1] < 5.0
    assert "training begins at 10.8, above the picture" in _texts(figures[0].axes[0])


def test_one_step_has_whole_ticks_and_a_long_source_room(
    tmp_path: Path, figures: list[Any]
) -> None:
    values = {"val_loss_a source of texts with a very long name": 3.0, "val_loss_average": 2.0}
    _draw(tmp_path, [TEN[0] | values | {"step": 1}])
    losses = figures[0].axes[0]
    ticks = figures[0].axes[-1].get_xticklabels()
    assert [tick.get_text() for tick in ticks][:2] == ["0", "1"]
    assert losses.bbox.width > figures[0].bbox.width / 2
    colors = [line.get_color() for line in losses.lines]
    assert len(set(colors)) == len(colors) == 4


def test_sources_averages_and_the_metric_of_a_task_are_labelled(
    tmp_path: Path, figures: list[Any]
) -> None:
    values = {"val_loss_books": 3.0, "val_loss_web": 2.0, "val_loss_average": 2.4}
    row = TEN[0] | values | {"val_loss_books_average": 2.9, "val_accuracy": 0.8}
    _draw(tmp_path, [row], "val_accuracy")
    labels = {"training", "validation", "books", "web", "averaged weights"}
    assert set(_texts(figures[0].axes[0])) == labels
    assert figures[0].axes[1].get_ylabel() == "accuracy"
    assert list(figures[0].axes[1].lines[0].get_ydata()) == [0.8]


def test_the_title_says_what_was_found() -> None:
    assert finding([]) == "No step has been logged yet"
    # perplexity: e ** 7.5 = 1808.04
    assert finding(TEN, total_steps=10) == (
        "Validation loss 7.500 (perplexity 1,808.0) after 10 steps"
    )
    assert finding(TEN, total_steps=1000).endswith("after 10 of 1,000 steps")
    worse = [*TEN, {"step": 20, "val_loss": 7.6}]
    assert finding(worse).endswith("after 20 steps; lowest 7.500 at step 10")
    alone = [{"step": 1, "train_loss": 7.9}]
    assert finding(alone) == "Training loss 7.900 after 1 step; no validation"
    scored = [TEN[0] | {"val_accuracy": 0.875}]
    assert finding(scored, "val_accuracy") == (
        "Validation in training: accuracy 0.875, loss 7.500 after 10 steps"
    )


def test_a_classifiers_training_loss_is_labelled_for_its_terms(
    tmp_path: Path, figures: list[Any]
) -> None:
    meaning = LossMeaning("nats per row", "the label loss + 0.5 x the language-model loss")
    _draw(tmp_path, TEN, "val_accuracy", meaning)
    losses = figures[0].axes[0]
    assert losses.get_ylabel() == "loss (nats per row)"
    assert losses.get_title(loc="left") == f"Training: {meaning.training}"
    # nats per row have no perplexity
    assert finding(TEN, meaning=meaning) == "Validation loss 7.500 after 10 steps"


def test_evenly_spaced_ticks_have_evenly_spaced_labels(tmp_path: Path, figures: list[Any]) -> None:
    rows = [TEN[0] | {"step": step, "val_accuracy": 0.96 + 0.001 * step} for step in range(1, 31)]
    _draw(tmp_path, rows, "val_accuracy")
    for axes in figures[0].axes:
        shown = [float(tick.get_text().replace(",", "")) for tick in axes.get_yticklabels()]
        assert shown == pytest.approx(list(axes.get_yticks()), rel=1e-9)


def test_a_run_is_drawn_while_it_trains(
    compose: Callable[..., Any], small_run: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    """With time to spare, after each validation: of six steps, after steps 3 and 6."""
    drawn = []

    def draw(metrics: Path, picture: Path, metric: str, total: int, meaning: Any) -> None:
        rows = list(csv.DictReader(metrics.open()))
        drawn.append((rows[-1]["step"], bool(rows[-1]["val_loss"]), total))
        draw_losses(metrics, picture, metric, total, meaning)

    monkeypatch.setattr(loss_curve, "SHARE", 1e9)
    monkeypatch.setattr(loss_curve, "draw_losses", draw)
    pretrain(compose("train", *small_run))
    assert drawn[0] == ("3", True, 6)
    assert [step for step, *_ in drawn[1:]] == ["6", "6"]  # the validation, and the end
    assert (tmp_path / "run" / "loss.png").exists()


def test_drawing_takes_one_percent_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each picture takes 2 s of a clock that goes on by one second a step, for an hour."""
    now, times = 0.0, []

    def draw(*_: object) -> None:
        nonlocal now
        times.append(now)
        now += 2.0

    class Trainer:
        max_steps, callbacks = 10_000, ()

    monkeypatch.setattr(loss_curve.time, "monotonic", lambda: now)
    monkeypatch.setattr(loss_curve, "draw_losses", draw)
    callback = loss_curve.LossCurve(str(tmp_path))
    callback.on_train_start(Trainer(), None)
    while now < 3600:
        callback.on_train_batch_end(Trainer())
        now += 1.0
    assert times[0] == 100  # one second is expected of the first
    assert times[1:] == [*range(400, 3600, 200)]  # 2 s each; the second when 4 s are one percent
    assert all(2 * (count + 1) <= 0.01 * at for count, at in enumerate(times[1:], 1))
