"""One run: refusals before training, early ends, time limits, warnings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.command import run_command

Finetune = Callable[..., dict]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["task.label=lable"],
            "no column 'lable'; did you mean 'label'.*'label', 'score'; set task.label=label$",
        ),
        (["checkpoint=null"], "checkpoint has no value"),
        (["batch_size=7", "trainer.devices=2"], "batch_size=7 does not divide by 2 devices"),
        (["layers=3"], "layers=3: the model has 2"),
        (["layers=1", "lora.rank=2"], "lora.rank freezes every layer"),
        (["predict=none.csv"], "none.csv does not exist"),
        (["evaluate=none.csv"], "none.csv does not exist"),
        (["out=a.csv"], "out=a.csv is for the labels of predict"),
        (["dropout=1"], "dropout=1: expected a number, 0 or above and below 1"),
        (["epochs=inf"], "epochs=inf: expected a number, above 0"),
        (["seeds=3", "lm_weight=-1"], "lm_weight=-1: expected a number, 0 or above"),
        (["task.kind=completion", "task.metrics=[bleu]"], "must be loss"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_settings_are_refused_before_training(
    changes: list[str], message: str, finetune: Finetune, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        finetune(*changes)
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_training_that_ended_early_stays_ended(
    finetune: Finetune, compose: Callable[..., Any], tmp_path: Path
) -> None:
    """With a negligible learning rate, training ends two validations after the first."""
    early = ["optimizer.lr=1e-30", "validate_every=2", "callbacks.early_stopping.patience=2"]
    summary = finetune(*early, "trainer.max_steps=40")
    assert (summary["step"], summary["stopped_early"]) == (6, True)
    assert finetune(*early, "trainer.max_steps=40", "resume=auto") == {}
    longer = [f"resume={tmp_path / 'run'}", "callbacks.early_stopping.patience=4"]
    with pytest.raises(UserError, match="started from checkpoint=.* gives checkpoint=.*other"):
        run_command(compose("finetune", *longer, f"checkpoint={tmp_path / 'other'}"))
    left = tmp_path / "run" / ".summary.json.1.partial"
    left.touch()  # as of a process that was killed
    more = run_command(compose("finetune", *longer))
    assert more["step"] == 10
    assert not left.exists()


def test_max_minutes_ends_fine_tuning(finetune: Finetune) -> None:
    summary = finetune("trainer.max_steps=null", "trainer.max_minutes=0.05")
    assert summary["seconds"] < 30
    assert summary["step"] > 0


def test_test_rows_in_the_training_data_are_counted(
    finetune: Finetune, animals: Path, capsys: pytest.CaptureFixture
) -> None:
    finetune(f"task.test={animals / 'train.csv'}", "trainer.max_steps=1")
    assert "warning: 240 of the 240 test rows are in the training data" in capsys.readouterr().out


def test_rows_that_are_cut_or_left_out_are_counted_in_every_split(
    finetune: Finetune,
    compose: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """A row of 70 words does not fit the context of 64 tokens; an empty one is skipped."""
    counts = {"train": (3, 1), "validation": (2, 2), "test": (1, 3)}  # cut, empty
    for name, (cut, empty) in counts.items():
        rows = ["text\tlabel", "a cat\tcat", "a dog\tdog"]
        rows += ["dog " * 70 + "\tdog"] * cut + ["\tdog"] * empty
        (tmp_path / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    files = [f"task.{name}={tmp_path / name}.tsv" for name in counts]
    summary = finetune(*files, "task.skip_empty=true", "trainer.max_steps=1", "batch_size=1")
    assert (summary["truncated"], summary["skipped"]) == (3, 1)
    assert (summary["val_truncated"], summary["val_skipped"]) == (2, 2)
    assert (summary["test_truncated"], summary["test_skipped"]) == (1, 3)
    said = capsys.readouterr().out
    for line in ("3 of the 5 training rows", "2 of the 4 validation rows", "1 of the 3 test rows"):
        assert said.count(f"{line} do not fit the context and are truncated") == 1
    for name, (cut, empty) in counts.items():
        n = 2 + cut + empty
        assert f"{name}.tsv: {empty} of {n} rows skipped, with an empty text" in said
    used = [f"checkpoint={tmp_path / 'run'}", f"evaluate={tmp_path / 'test.tsv'}"]
    figures = run_command(compose("finetune", *used, f"run_dir={tmp_path / 'used'}"))
    assert (figures["truncated"], figures["skipped"]) == (1, 3)
    assert "1 of the 3 rows do not fit the context and are truncated" in capsys.readouterr().out


def test_measuring_on_training_rows_is_reported(
    finetune: Finetune,
    compose: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """Four rows, of which two were trained on, in another case and with other spaces."""
    rows = [f"{text} {n},{text}" for n in range(20) for text in ("cat", "dog")]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (tmp_path / "test.csv").write_text("text,label\nCAT  3,cat\ndog 7,dog\nbat,cat\nbear,dog\n")
    files = [f"task.train={tmp_path}/train.csv", f"task.validation={tmp_path}/test.csv"]
    finetune(*files, "trainer.max_steps=1")
    said = capsys.readouterr().out
    assert "\n--- after 1 step, " in said
    assert f"\nreport              {tmp_path}/run/report.html\n" in said
    assert said.endswith(f" checkpoint={tmp_path}/run\n")  # the explorer's command
    used = [f"checkpoint={tmp_path}/run", f"run_dir={tmp_path}/used", "device=cpu"]
    run_command(compose("finetune", *used, f"evaluate={tmp_path}/test.csv"))
    said = " ".join(capsys.readouterr().out.split())
    assert f"warning: 2 of the 4 rows of {tmp_path}/test.csv are in the training data too" in said
    assert "mean nothing" not in said
    (tmp_path / "train.csv").unlink()
    run_command(compose("finetune", *used, f"evaluate={tmp_path}/test.csv"))
    assert "in the training data too" not in capsys.readouterr().out
