"""Opening a run and composing its trainer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import TensorBoardLogger

from webtext_gpt.cli import Call
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.settings.saved import save
from webtext_gpt.training.batch import plan_batch
from webtext_gpt.training.callbacks.agreement import Agreement
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.hosts import Hosts
from webtext_gpt.training.distributed.devices import Devices
from webtext_gpt.training.loggers import CSVLogger
from webtext_gpt.training.opening import open_run
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.training.run import compose_trainer


def test_a_new_run_has_its_devices_and_no_checkpoint(
    compose: Callable[..., Any], small_run: list[str], tmp_path: Path
) -> None:
    run = open_run(compose("train", *small_run))
    assert (run.folder, run.devices) == (tmp_path / "run", Devices("cpu", 1))
    assert (run.checkpoint, run.state, run.step) == (None, None, 0)
    assert run.parallelism.zero_stage == 0
    assert not (tmp_path / "run").exists()


def test_the_trainer_has_its_steps_from_the_start(
    compose: Callable[..., Any], small_run: list[str]
) -> None:
    """1,024 tokens a step of 32 x 8 a micro-batch: 4 micro-batches; 5,000 tokens are 5 steps."""
    asked = ["global_batch_tokens=1024", "micro_batch_size=8", "trainer.max_steps=null"]
    asked += ["trainer.max_tokens=5000", "logger=tensorboard"]
    run = open_run(compose("train", *small_run, *asked))
    plan = plan_batch(1024, 32, 1, 8)
    trainer = compose_trainer(run, plan, validate_every=7, notes=("global_batch_tokens", 0.1))
    assert trainer.max_steps == 5
    assert trainer.accumulate_grad_batches == 4
    assert trainer.val_check_interval == 28  # micro-batches
    assert [type(callback) for callback in trainer.callbacks[:2]] == [Hosts, Agreement]
    assert isinstance(trainer.callbacks[-1], Checkpoints)  # after all others
    assert [type(logger) for logger in trainer.loggers] == [CSVLogger, TensorBoardLogger]


def test_a_folder_that_holds_a_run_is_refused_or_resumed(
    compose: Callable[..., Any],
    small_run: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = compose("train", *small_run)
    save(settings, tmp_path / "run")
    with pytest.raises(UserError, match="already holds a run; resume it with resume="):
        open_run(settings)
    again = open_run(compose("train", *small_run, "resume=auto"))
    assert again.checkpoint is None
    assert "the run starts again at step 0" in capsys.readouterr().out
    named = open_run(compose("train", f"resume={tmp_path / 'run'}", "optimizer.lr=3e-3"))
    assert named.folder == tmp_path / "run"
    assert named.settings.model.n_embd == 32  # the run's own
    assert named.settings.optimizer.lr == 3e-3


def test_a_launcher_needs_one_name_for_the_folder(
    compose: Callable[..., Any], small_run: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"num_nodes=2 starts several processes, .* give run_dir="):
        open_run(compose("train", *small_run, "trainer.num_nodes=2"), Call(frozenset({"seed"})))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"torchrun starts several processes, .* give run_dir="):
        open_run(compose("train", *small_run), Call(frozenset({"seed"})))


@pytest.mark.parametrize("name", ["summarize", "open_shards"])
def test_ctrl_c_outside_of_training_says_how_to_resume(
    name: str,
    compose: Callable[..., Any],
    small_run: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While data is opened nothing is saved, and there is nothing to resume; afterwards there is.

    The resumed run takes no further step and ends as the run would have.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"webtext_gpt.training.pretrain.{name}", interrupt)
        if name == "open_shards":
            with pytest.raises(KeyboardInterrupt):
                pretrain(compose("train", *small_run))
            return
        said = r"interrupted; step-00000006\.ckpt is saved\. Resume with:\n .* resume=.*run$"
        with pytest.raises(Stopped, match=said):
            pretrain(compose("train", *small_run))
    assert pretrain(compose("train", f"resume={tmp_path / 'run'}"))["step"] == 6
