"""Losses and gradients that are not finite, and spikes of the gradient's norm."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.training.guard import GradientNorms, Guard, StepBatch


def _batch(folder: Path, step: int = 5) -> StepBatch:
    def documents(finite: Sequence[bool] | None) -> list[int]:
        return [7, 8] if finite is not None else list(range(30))

    return StepBatch(step, folder, documents, is_rank_zero=True)


def test_a_loss_that_is_not_finite_stops_with_its_documents(tmp_path: Path) -> None:
    guard = Guard("stop", spike=10)
    named = r"the loss is inf in step 5, .* documents 7, 8\."
    with pytest.raises(UserError, match=rf"{named} .* no checkpoint .* start a new run with guard"):
        guard.check_loss(math.inf, _batch(tmp_path), [False])
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step-00000004.ckpt").touch()
    with pytest.raises(UserError, match=r"checkpoint is .*step-00000004\.ckpt.* or resume with"):
        guard.check_loss(math.nan, _batch(tmp_path), [False])


def test_a_norm_that_is_not_finite_names_all_documents_but_not_too_many(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the gradient's norm is nan .* 18, 19, \.\.\."):
        Guard("stop", spike=10).check_norm(math.nan, _batch(tmp_path))


def test_a_step_is_skipped_and_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guard = Guard("skip", spike=10)
    guard.check_loss(math.nan, _batch(tmp_path), [False])
    assert guard.skipping
    guard.check_norm(math.nan, _batch(tmp_path))
    assert capsys.readouterr().err.count("the step is skipped") == 1
    guard.check_loss(2.0, _batch(tmp_path, 6), [True])
    assert not guard.skipping
    guard.check_norm(math.inf, _batch(tmp_path, 6))
    assert guard.skipping
    assert "the gradient's norm is inf in step 6" in capsys.readouterr().err


def test_another_policy_is_refused() -> None:
    with pytest.raises(UserError, match=r"guard\.not_finite=warn is neither stop nor skip"):
        Guard("warn", spike=10)


def test_a_spike_is_one_line_with_the_step_the_norm_and_its_median(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    guard = Guard("stop", spike=10)
    for _ in range(40):
        guard.check_norm(0.5, _batch(tmp_path))
    assert capsys.readouterr().err == ""
    guard.check_norm(25.0, _batch(tmp_path, step=1041))
    (line,) = capsys.readouterr().err.splitlines()
    said = "the gradient norm, 25, is 50 times its median, 0.5"
    assert line.startswith(f"spike       step 1,041: {said}. One spike is often a strange batch")
    assert "optimizer.lr" in line
    guard.check_norm(25.0, _batch(tmp_path, step=1042))
    assert capsys.readouterr().err == f"spike       step 1,042: {said}\n"


def test_many_spikes_are_not_printed_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    guard = Guard("stop", spike=10)
    for step in range(1, 200):
        guard.check_norm(25.0 if step > 50 and step % 5 == 0 else 0.5, _batch(tmp_path, step))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("spike       step 100: ")
    assert lines[-1].endswith(". Further ones are only counted")
    assert guard.norms.spikes == 29  # steps 55, 60, ..., 195


def test_a_spike_exceeds_a_multiple_of_the_median() -> None:
    norms = GradientNorms(factor=10)
    assert not any(norms.is_spike(50.0) for _ in range(5))  # too few norms for a median
    assert not any(norms.is_spike(1.0) for _ in range(40))
    assert norms.usual == 1.0
    assert not norms.is_spike(9.9)
    assert norms.is_spike(10.1)
    assert norms.spikes == 1


def test_a_resumed_run_restores_the_median() -> None:
    norms, resumed = GradientNorms(factor=3), GradientNorms(factor=3)
    for norm in range(1, 201):
        norms.is_spike(float(norm))
    resumed.load_state_dict(norms.state_dict())
    assert resumed.usual == norms.usual == 150.5  # the median of 101 to 200
    assert resumed.is_spike(452.0)
    assert not GradientNorms(factor=3).is_spike(452.0)
