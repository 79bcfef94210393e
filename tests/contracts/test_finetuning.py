"""Fine-tuning keeps pretraining's promises: resumed and distributed runs equal a plain run."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model
from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.training.callbacks.interrupt import GracefulInterrupt
from webtext_gpt.training.loggers import read_metrics

REPOSITORY = Path(__file__).parents[2]
Finetune = Callable[..., dict]


def _curve(run: Path) -> list[tuple]:
    columns = ("step", "train_loss", "val_loss", "val_accuracy", "lr")
    return [
        tuple(row.get(column) for column in columns) for row in read_metrics(run / "metrics.csv")
    ]


def test_interrupted_and_resumed_equals_uninterrupted(
    finetune: Finetune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped by Ctrl-C after 7 of 12 steps, with dropout in the body too."""
    finetune(f"run_dir={tmp_path / 'whole'}", "body_dropout=0.1")
    stop = GracefulInterrupt.on_train_batch_start

    def interrupt(self: GracefulInterrupt, trainer: object, *args: object) -> None:
        if trainer.global_step == 7:
            self._request(2, None)
        stop(self, trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(GracefulInterrupt, "on_train_batch_start", interrupt)
        with pytest.raises(Stopped, match=r"(?s)step 7 is saved.* resume="):
            finetune("body_dropout=0.1")
    finetune("resume=auto", "body_dropout=0.1")
    assert _curve(tmp_path / "run") == _curve(tmp_path / "whole")
    whole, resumed = (load(tmp_path / name).model.state_dict() for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_two_processes_train_like_one(
    finetune: Finetune, small_finetuning: list[str], tmp_path: Path
) -> None:
    """With the head's dropout, the auxiliary loss and accumulation."""
    finetune(f"run_dir={tmp_path / 'one'}", "micro_batch_size=4")
    command = [
        sys.executable,
        str(REPOSITORY / "finetune.py"),
        *small_finetuning,
        "trainer.devices=2",
    ]
    subprocess.run(
        [*command, "strategy=ddp", "micro_batch_size=2"],
        check=True,
        timeout=120,
        capture_output=True,
    )
    for one, two in zip(_curve(tmp_path / "one"), _curve(tmp_path / "run"), strict=True):
        assert [v for v in two if v is not None] == pytest.approx(
            [v for v in one if v is not None], abs=2e-6
        )


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("frozen", ["layers=1", "lora.rank=2"])
def test_zero_saves_and_resumes_frozen_weights(
    stage: int, frozen: str, finetune: Finetune, small_finetuning: list[str], tmp_path: Path
) -> None:
    """A checkpoint in parts holds the frozen weights, too, and one process can resume it."""
    same = [frozen, "scheduler=constant"]  # does not depend on where training ends
    finetune(f"run_dir={tmp_path / 'one'}", *same)
    command = [sys.executable, str(REPOSITORY / "finetune.py"), *small_finetuning, *same]
    zero = ["trainer.devices=2", f"strategy=deepspeed_zero{stage}", "trainer.max_steps=8"]
    subprocess.run([*command, *zero], check=True, timeout=200, capture_output=True)
    theirs = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    model, _ = load_language_model(small_finetuning[0].partition("=")[2])
    start = {f"model.body.{name}": value for name, value in model.state_dict().items()}
    name = "model.body.blocks.0.mlp.c_fc.weight"
    saved = theirs.get(name, theirs.get(name.replace("c_fc.", "c_fc.base_layer.")))
    assert torch.equal(saved, start[name])
    finetune("resume=auto", *same, "trainer.max_steps=12")
    for one, two in zip(_curve(tmp_path / "one")[-3:], _curve(tmp_path / "run")[-3:], strict=True):
        assert [v for v in two[:4] if v] == pytest.approx([v for v in one[:4] if v], abs=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("layers=1", "the run to resume has layers=all, but this call has 1"),
        pytest.param(
            *("dropout=0.3", "the run to resume has dropout=0.1, but this call has 0.3"),
            marks=pytest.mark.slow,
        ),
        ("lora.rank=2", "the run to resume has another lora"),
        ("seed=5", "the run to resume has seed=1337"),
    ],
)
def test_resuming_with_another_recipe_is_refused(
    change: str, message: str, finetune: Finetune, tmp_path: Path
) -> None:
    finetune("trainer.max_steps=2")
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(UserError, match=message):
        finetune("trainer.max_steps=4", "resume=auto", change)
    assert (tmp_path / "run" / "config.yaml").read_text() == before
