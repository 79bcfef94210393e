"""Lengths of runs: a longer run is longer whatever began it, and a finished one says why."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.command import run_command
from webtext_gpt.settings.saved import load
from webtext_gpt.training import module as training_module
from webtext_gpt.training.callbacks.time_budget import TimeBudget
from webtext_gpt.training.pretrain import pretrain

BEGAN = {"max_steps": "3", "max_tokens": "700", "max_minutes": "3"}  # 3 steps of 256 tokens
LONGER = {"max_steps": "5", "max_tokens": "1200", "max_minutes": "5"}
Start = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _a_step_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step fits into every minute that is left, and takes it."""

    def fitting(self: TimeBudget, *_: object) -> int:
        return self.taken_steps + round(self.minutes - self.taken_seconds / 60)

    monkeypatch.setattr(TimeBudget, "_steps", fitting)
    monkeypatch.setattr(
        training_module.TrainingModule, "seconds", property(lambda self: 60.0 * self.global_step)
    )


@pytest.fixture
def train(compose: Callable[..., Any], small_run: list[str]) -> Start:
    """`train(*arguments)`: a small run without a length in this process."""
    base = [o for o in small_run if not o.startswith(("trainer.max_steps", "cache_dir"))]
    base += ["callbacks.samples=null", "callbacks.loss_curve=null"]
    return lambda *arguments: pretrain(compose("train", *base, *arguments))


@pytest.fixture
def resume(compose: Callable[..., Any], tmp_path: Path) -> Start:
    """`resume(*arguments)`: the same run, resumed by its folder."""
    return lambda *arguments: pretrain(compose("train", f"resume={tmp_path / 'run'}", *arguments))


@pytest.mark.parametrize(
    "began",
    [
        "max_steps",
        *(pytest.param(w, marks=pytest.mark.slow) for w in ("max_tokens", "max_minutes")),
    ],
)
def test_a_longer_run_is_longer_whatever_began_it(
    began: str, train: Start, compose: Callable[..., Any], tmp_path: Path, capsys: Any
) -> None:
    """By the run's folder and by the same command with another length."""
    whole = tmp_path / "run"
    assert train(f"trainer.{began}={BEGAN[began]}")["step"] == 3
    for way, length in LONGER.items():
        copy = tmp_path / way
        shutil.copytree(whole, copy, symlinks=True)
        named = f"resume={copy}"
        for shorter in (BEGAN[way], "1"):
            with pytest.raises(UserError, match="has (taken|trained for) .*3.*; to continue"):
                pretrain(compose("train", named, f"trainer.{way}={shorter}"))
        if way == began:
            auto = ["resume=auto", f"run_dir={copy}", f"trainer.{way}={length}"]
            assert train(*auto)["step"] == 5
            capsys.readouterr()
            assert train(*auto) == {}
            assert "has taken its 5 steps; to continue" in capsys.readouterr().out
        else:
            assert pretrain(compose("train", named, f"trainer.{way}={length}"))["step"] == 5
        trainer = load(copy)["trainer"]
        assert [key for key in BEGAN if trainer[key] is not None] == [way]


@pytest.mark.slow
def test_fine_tuning_has_the_same_rule(
    compose: Callable[..., Any], small_finetuning: list[str], tmp_path: Path
) -> None:
    """240 rows in batches of 8: an epoch has 30 steps."""
    base = [o for o in small_finetuning if not o.startswith(("trainer.max_steps", "run_dir"))]
    base += ["callbacks.early_stopping=null", "callbacks.loss_curve=null", "validate_every=9"]
    began = {"trainer.max_steps": "3", "trainer.max_minutes": "3", "epochs": "0.1"}
    longer = {"epochs": "0.15", "trainer.max_steps": "5", "trainer.max_minutes": "5"}
    for (first, length), (way, more) in zip(began.items(), longer.items(), strict=True):
        run = tmp_path / first
        start = compose("finetune", *base, f"run_dir={run}", f"{first}={length}")
        assert run_command(start)["step"] == 3
        said = r"has (taken its 3 steps|trained for 3.00 min).*\(trainer.max_steps, epochs or"
        with pytest.raises(UserError, match=said):
            run_command(compose("finetune", f"resume={run}", f"{way}={began[way]}"))
        assert run_command(compose("finetune", f"resume={run}", f"{way}={more}"))["step"] == 5


@pytest.mark.slow
def test_epochs_and_minutes_end_at_what_comes_first(
    compose: Callable[..., Any], small_finetuning: list[str], tmp_path: Path
) -> None:
    base = [o for o in small_finetuning if not o.startswith(("trainer.max_steps", "run_dir"))]
    for minutes, steps in ((2, 3), (50, 3)):  # the third minute is the first past two
        limits = [f"trainer.max_minutes={minutes}", "epochs=0.1"]
        start = compose("finetune", *base, *limits, f"run_dir={tmp_path / str(minutes)}")
        assert run_command(start)["step"] == steps


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (
            "train",
            ["trainer.max_steps=5", "trainer.max_tokens=9"],
            "max_steps=5 and trainer.max_tok",
        ),
        ("finetune", ["trainer.max_steps=5", "epochs=2"], "epochs=2 and trainer.max_steps=5 both"),
        ("train", ["trainer.max_steps=-1"], "trainer.max_steps=-1"),
        ("train", ["trainer.max_steps=0"], "trainer.max_steps=0"),
        ("train", ["trainer.max_tokens=0"], "trainer.max_tokens=0"),
        ("train", ["trainer.max_minutes=0"], "trainer.max_minutes=0"),
        ("finetune", ["epochs=0"], "epochs=0"),
        ("finetune", ["epochs=-1"], "epochs=-1"),
    ],
)
def test_lengths_that_are_refused(
    command: str, arguments: list[str], message: str, compose: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=message):
        compose(command, *arguments)


def test_a_length_replaces_that_of_an_experiment(compose: Callable[..., Any]) -> None:
    asked = compose("train", "experiment=gpt1", "data.path=x", "trainer.max_tokens=5000").trainer
    assert (asked.max_steps, asked.max_tokens) == (None, 5000)
    asked = compose("train", "experiment=quickstart", "trainer.max_steps=5").trainer
    assert (asked.max_steps, asked.max_minutes) == (5, None)
    both = ["trainer.max_steps=5", "trainer.max_minutes=2"]
    asked = compose("train", "experiment=quickstart", *both).trainer
    assert (asked.max_steps, asked.max_minutes) == (5, 2)


def test_null_removes_one_length_and_keeps_the_others(
    train: Start, compose: Callable[..., Any], tmp_path: Path
) -> None:
    train("trainer.max_steps=3", "trainer.max_minutes=9")
    asked = compose("train", f"resume={tmp_path / 'run'}", "trainer.max_minutes=null").trainer
    assert (asked.max_steps, asked.max_minutes) == (3, None)


@pytest.mark.slow
def test_a_run_that_its_time_has_ended_is_finished(
    train: Start, resume: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """It plans six steps; the time is over after the third, the first past two minutes."""
    both = ["trainer.max_steps=6", "trainer.max_minutes=2"]
    assert train(*both)["step"] == 3
    said = "training ends at step 3 of 6: the time of trainer.max_minutes=2 is over"
    assert said in capsys.readouterr().out
    assert train("resume=auto", *both) == {}
    assert "has trained for 3.00 minutes, past trainer.max_minutes=2" in capsys.readouterr().out
    with pytest.raises(UserError, match="past trainer.max_minutes=2; to continue .*max_minutes"):
        resume()
    assert resume("trainer.max_steps=6", "trainer.max_minutes=4")["step"] == 5
    assert resume("trainer.max_minutes=8")["step"] == 8  # planned again: 5 taken and 3 that fit
    assert resume("trainer.max_steps=9")["step"] == 9


@pytest.mark.slow
def test_an_interrupted_run_keeps_the_steps_planned_for_its_time(
    train: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("trainer.max_minutes=4", "callbacks.checkpoints.keep_last=9")
    run = tmp_path / "run"
    for step in (3, 4):  # as if killed after step 2
        (run / "checkpoints" / f"step-0000000{step}.ckpt").unlink(missing_ok=True)
    (run / "summary.json").unlink()
    monkeypatch.setattr(TimeBudget, "_steps", lambda *_: pytest.fail("planned again"))
    assert train("trainer.max_minutes=4", "resume=auto")["step"] == 4
    last = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert (last["max_steps"], last["planned_minutes"]) == (4, 4)


@pytest.mark.slow
def test_a_run_of_an_earlier_version_plans_again_for_more_time(
    train: Start, resume: Start, tmp_path: Path
) -> None:
    """Its checkpoints do not hold the minutes; its configuration does."""
    train("trainer.max_minutes=3")
    last = tmp_path / "run" / "checkpoints" / "step-00000003.ckpt"
    state = torch.load(last, weights_only=True)
    del state["planned_minutes"]
    torch.save(state, last)
    with pytest.raises(UserError, match="has taken its 3 steps"):
        resume()
    assert resume("trainer.max_minutes=5")["step"] == 5


@pytest.mark.slow
def test_fewer_steps_than_an_interrupted_run_has_taken_are_refused(
    train: Start, resume: Start, tmp_path: Path
) -> None:
    train("trainer.max_steps=4")
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(UserError, match="has taken 4 steps, and this call asks for 3; to continue"):
        resume("trainer.max_steps=3")
    assert resume()["step"] == 4


@pytest.mark.slow
def test_a_run_that_ended_early_goes_on_with_more_patience(
    compose: Callable[..., Any], small_finetuning: list[str], tmp_path: Path, capsys: Any
) -> None:
    """With a learning rate of almost 0, no validation is better than the first."""
    base = [o for o in small_finetuning if not o.startswith("validate_every")]
    base += ["validate_every=2", "optimizer.lr=1e-12", "callbacks.early_stopping.patience=1"]
    assert run_command(compose("finetune", *base))["step"] == 4
    run_command(compose("finetune", *base, "resume=auto"))
    assert "ended early, after 1 validations without a better" in capsys.readouterr().out
    named = f"resume={tmp_path / 'run'}"
    with pytest.raises(UserError, match="ended early.*a greater callbacks.early_stopping.patience"):
        run_command(compose("finetune", named, "trainer.max_steps=20"))
    more = "callbacks.early_stopping.patience=2"
    assert run_command(compose("finetune", named, more))["step"] == 6


def test_epochs_in_a_configuration_of_an_earlier_version(
    compose: Callable[..., Any], small_finetuning: list[str], tmp_path: Path
) -> None:
    """It always wrote `epochs`, also where another length was used."""
    base = [o for o in small_finetuning if not o.startswith("trainer.max_steps")]
    run_command(compose("finetune", *base, "trainer.max_steps=3"))
    config = tmp_path / "run" / "config.yaml"
    text = config.read_text().replace("epochs: null", "epochs: 3.0").replace("average: null\n", "")
    config.write_text(text)
    assert "epochs: 3.0" in text
    resumed = compose("finetune", f"resume={tmp_path / 'run'}")
    assert (resumed.epochs, resumed.trainer.max_steps) == (None, 3)


def test_a_warm_up_that_is_cut_short_is_said(
    train: Start, resume: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    train("scheduler.warmup_steps=5", "trainer.max_steps=6", "trainer.max_minutes=2")
    printed = capsys.readouterr().out
    assert "is not shorter" not in printed
    assert "ended at step 3, within the 5 warm-up steps of scheduler.warmup_steps=5" in printed
    resume("trainer.max_minutes=4")  # the steps are known when it starts
    assert "scheduler.warmup_steps=5 is not shorter than the run" in capsys.readouterr().out
