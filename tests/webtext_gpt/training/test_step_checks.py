"""Steps whose figures are read back late, as on a GPU: nothing waits, and nothing else changes."""

import math
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.errors import UserError
from webtext_gpt.training.lightning_internals import EpochLoop
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.module import TrainingModule
from webtext_gpt.training.muon import Muon
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.training.step_checks import StepChecks, give_found_inf, supports_found_inf

ALTERED = Path(__file__).parents[2] / "contracts" / "altered_train.py"


class NoReading(TorchDispatchMode):
    """Fails where a value of a tensor decides what the CPU does, which would wait for a GPU."""

    WAITING = ("aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::nonzero")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.name() not in self.WAITING, f"{func.name()} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a CPU check as a GPU does."""
    monkeypatch.setattr(
        TrainingModule, "_skips_on_device", lambda _, optimizer: supports_found_inf(optimizer)
    )


def _poison(monkeypatch: pytest.MonkeyPatch, *steps: int, kind: str = "nan") -> None:
    changed = runpy.run_path(str(ALTERED))["poisoned"](steps, kind=kind)
    monkeypatch.setattr(TrainingModule, "training_step", changed)


def _saved(folder: Path, step: int) -> dict[str, torch.Tensor]:
    saved = read_checkpoint(folder / "checkpoints" / f"step-{step:08d}.ckpt")
    (optimizer,) = saved["optimizer_states"]
    moments = {
        f"{i} {key}": value
        for i, state in optimizer["state"].items()
        for key, value in state.items()
    }
    return {**saved["state_dict"], **moments}


def _same(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    assert some.keys() == others.keys()
    return all(torch.equal(value, others[name]) for name, value in some.items())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_does_not_wait_for_the_device(
    optimizer: str,
    late: None,
    compose: Callable[..., Any],
    small_run: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps 2 to 5 of 6: the 1st compiles nothing here, but makes the state; the 6th is logged."""
    advance, finish, tolist, tensor = (
        EpochLoop.advance,
        StepChecks.finish,
        torch.Tensor.tolist,
        torch.tensor,
    )
    watched: list[int] = []
    reading = NoReading()
    on = [False]

    def advance_watched(self: EpochLoop, *args: Any) -> None:
        if not 1 <= self.global_step < 5:
            return advance(self, *args)
        watched.append(self.global_step + 1)
        on[0] = True
        try:
            with reading:
                return advance(self, *args)
        finally:
            on[0] = False

    def finish_allowed(self: StepChecks) -> None:  # reads what has been copied to the CPU
        before, on[0] = on[0], False
        finish(self)
        on[0] = before

    def tolist_watched(self: torch.Tensor) -> Any:  # on CPUs, not seen by the dispatcher
        assert not on[0], "tolist() waits for the device"
        return tolist(self)

    def tensor_watched(*args: Any, **options: Any) -> torch.Tensor:
        assert not on[0] or "device" not in options, "a copy of a float waits for the device"
        return tensor(*args, **options)

    monkeypatch.setattr(EpochLoop, "advance", advance_watched)
    monkeypatch.setattr(StepChecks, "finish", finish_allowed)
    monkeypatch.setattr(torch.Tensor, "tolist", tolist_watched)
    monkeypatch.setattr(torch, "tensor", tensor_watched)
    quiet = ["trainer.log_every_n_steps=6", "validate_every=6", "callbacks.console=null"]
    own = ["optimizer=muon", "optimizer.lr=0.02"] if optimizer == "muon" else []
    kept = [o for o in small_run if not o.startswith(("optimizer", "callbacks.check"))]
    summary = pretrain(compose("train", *kept, *own, *quiet, "callbacks.checkpoints.save_every=6"))
    assert math.isfinite(summary["val_loss"])
    assert watched == [2, 3, 4, 5]


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [
        ("adamw", "nan"),
        pytest.param("muon", "gradient", marks=slow),
        pytest.param("adamw", "gradient", marks=slow),
        pytest.param("muon", "nan", marks=slow),
    ],
)
def test_late_checks_skip_the_same_steps(
    optimizer: str,
    kind: str,
    compose: Callable[..., Any],
    small_run: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = ["guard.not_finite=skip", "callbacks.checkpoints.save_every=6"]
    own += ["optimizer=muon", "optimizer.lr=0.02"] if optimizer == "muon" else []
    kept = [o for o in small_run if not o.startswith(("optimizer", "callbacks.check"))]

    def run(name: str, every: int) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
        _poison(monkeypatch, 1, 3, 4, kind=kind)
        folder = tmp_path / name
        logged = [f"trainer.log_every_n_steps={every}", f"run_dir={folder}"]
        summary = pretrain(compose("train", *kept, *own, *logged))
        lines = [o for o in capsys.readouterr().err.splitlines() if "is skipped" in o]
        return _saved(folder, 6), summary, "\n".join(lines)

    at_once = run("at_once", 1)
    request.getfixturevalue("late")
    late, some_late = run("late", 10), run("some_late", 2)
    for weights, summary, lines in (late, some_late):
        assert _same(weights, at_once[0])
        assert (summary["skipped_steps"], summary["val_loss"]) == (3, at_once[1]["val_loss"])
        assert lines == at_once[2]
        assert [f"in step {n}," in lines for n in range(1, 7)] == [
            n in (1, 3, 4) for n in range(1, 7)
        ]
    rows = read_metrics(tmp_path / "some_late" / "metrics.csv")
    skipped = {int(row["step"]): row.get("skipped_steps") for row in rows if "skipped_steps" in row}
    assert skipped == {2: 1, 4: 3, 6: 3}


@pytest.mark.parametrize("kind", ["inf", "gradient"])
def test_a_late_check_stops_before_the_next_update(
    kind: str,
    late: None,
    compose: Callable[..., Any],
    small_run: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _poison(monkeypatch, 3, kind=kind)
    arguments = [*small_run, "trainer.log_every_n_steps=100"]
    with pytest.raises(UserError, match=r"in step 3, .* is .*step-00000002\.ckpt"):
        pretrain(compose("train", *arguments))
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*"))
    assert saved == ["step-00000002.ckpt"]


def test_a_bad_step_is_found_before_it_is_saved(
    late: None,
    compose: Callable[..., Any],
    small_run: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _poison(monkeypatch, 2)
    with pytest.raises(UserError, match=r"in step 2, .* no checkpoint was saved"):
        pretrain(compose("train", *small_run, "trainer.log_every_n_steps=100"))
    assert not [*(tmp_path / "run" / "checkpoints").glob("step-*")]


@pytest.mark.slow
def test_ten_late_steps_in_a_row_stop(
    late: None,
    compose: Callable[..., Any],
    small_run: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _poison(monkeypatch, *range(3, 20), kind="gradient")
    longer = ["trainer.max_steps=20", "validate_every=20", "trainer.log_every_n_steps=100"]
    with pytest.raises(UserError, match="step 12, .* 10th step in a row .* those of step 2, have"):
        pretrain(compose("train", *small_run, *longer, "guard.not_finite=skip"))


def _optimizer(kind: str, weight: nn.Parameter, gain: nn.Parameter) -> torch.optim.Optimizer:
    if kind == "adamw":
        return torch.optim.AdamW([weight, gain], lr=0.1, weight_decay=0.1, fused=True)
    adamw = torch.optim.AdamW([gain], lr=0.1, weight_decay=0.1, fused=True)
    return Muon({weight: 1}, adamw, lr=0.1, weight_decay=0.1)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_an_optimizer_with_the_flag_leaves_everything_as_it_is(kind: str) -> None:
    torch.manual_seed(0)
    values, gradients = torch.randn(4, 6), torch.randn(3, 4, 6)
    results = []
    for flags in ((None, None, None), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)):
        weight, gain = nn.Parameter(values.clone()), nn.Parameter(values[0].clone())
        optimizer = _optimizer(kind, weight, gain)
        assert supports_found_inf(optimizer)
        for flag, gradient in zip(flags, gradients, strict=True):
            bad = torch.full_like(gradient, math.nan) if flag else gradient
            weight.grad, gain.grad = bad.clone(), bad[0].clone()
            give_found_inf(optimizer, None if flag is None else torch.tensor(flag))
            before = [weight.detach().clone(), gain.detach().clone()]
            optimizer.step()
            unchanged = torch.equal(before[0], weight) and torch.equal(before[1], gain)
            assert unchanged == bool(flag)
        results.append((weight, gain))
    plain, flagged, skipped = results
    assert torch.equal(plain[0], flagged[0])
    assert torch.equal(plain[1], flagged[1])

    weight, gain = nn.Parameter(values.clone()), nn.Parameter(values[0].clone())
    optimizer = _optimizer(kind, weight, gain)  # the same without the skipped step
    for gradient in (gradients[0], gradients[2]):
        weight.grad, gain.grad = gradient.clone(), gradient[0].clone()
        optimizer.step()
    assert torch.equal(weight, skipped[0])
    assert torch.equal(gain, skipped[1])
