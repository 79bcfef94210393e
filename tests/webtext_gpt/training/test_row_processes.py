"""Rows of a batch divided among processes: the same losses and gradients as in one."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.model.gpt import IGNORED
from webtext_gpt.training.language_loss import language_loss, nats
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.training.row_processes import Recipe, RowProcesses

SMALL = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 8, "vocab_size": 30}
END = 29


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def _model(**options: Any) -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(**{**SMALL, "init_std": 0.2, **options}))


def _batch(rows: int) -> tuple[Tensor, Tensor]:
    """Return a batch whose rows have different numbers of targets, and two documents each."""
    tokens = torch.randint(END, (rows, 9), generator=torch.Generator().manual_seed(1))
    tokens[:, 4] = END
    targets = tokens[:, 1:].clone()
    targets[0, 2:] = IGNORED
    return tokens[:, :-1], targets


@pytest.mark.parametrize("end_of_text", [pytest.param(None, marks=pytest.mark.slow), END])
def test_loss_and_gradients_are_those_of_the_whole_batch(end_of_text: int | None) -> None:
    """Also of batches with fewer rows than processes, and of accumulated ones."""
    plain, divided = _model(), _model()
    loss = language_loss(plain, end_of_text)
    processes = RowProcesses(divided, Recipe(end_of_text, False), 3)
    try:
        for rows in (5, 2, 1):  # gradients accumulate
            expected = loss(*_batch(rows)) / 7
            found = processes(*_batch(rows)) / 7
            torch.testing.assert_close(found, expected)
            expected.backward()
            found.backward()
            processes.add_gradients()
        for ours, theirs in zip(divided.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)
        with torch.no_grad():  # the processes see the weights that an optimizer changes in place
            for parameter in (*divided.parameters(), *plain.parameters()):
                parameter.mul_(1.5)
            total = processes.nats(*_batch(5))
        torch.testing.assert_close(total, nats(plain, *_batch(5), end_of_text))
    finally:
        processes.close()


def test_dropout_follows_the_seed_and_ends_with_training() -> None:
    model = _model(resid_dropout=0.5)
    processes = RowProcesses(model, Recipe(None, False), 2)

    def loss(seed: int) -> float:
        torch.manual_seed(seed)
        value = processes(*_batch(4))
        value.backward()
        processes.add_gradients()
        return value.item()

    try:
        losses = [loss(seed) for seed in (0, 0, 1)]
        model.eval()
        with torch.no_grad():
            total = processes.nats(*_batch(4)), nats(model, *_batch(4))
    finally:
        processes.close()
    assert losses[0] == losses[1] != losses[2]
    torch.testing.assert_close(*total)


def test_a_process_that_ended_is_reported() -> None:
    processes = RowProcesses(_model(), Recipe(None, False), 2)
    try:
        (other,) = processes._others
        assert other._process.pid is not None
        os.kill(other._process.pid, signal.SIGKILL)
        with pytest.raises(UserError, match=r"ended \(exit code -9\).*parallel_rows=false"):
            processes(*_batch(4))
    finally:
        processes.close()


@pytest.mark.slow
@pytest.mark.usefixtures("three_threads")
def test_a_run_has_the_losses_of_one_process(
    compose: Callable[..., Any], small_run: list[str], tmp_path: Path, capfd: Any
) -> None:
    """New and resumed, with accumulation and for a time; the processes end with the run."""

    def losses(name: str, *overrides: str) -> list[float]:
        run = tmp_path / name
        pretrain(compose("train", *small_run, f"run_dir={run}", *overrides))
        rows = read_metrics(run / "metrics.csv")
        return [row[key] for row in rows for key in ("train_loss", "val_loss") if key in row]

    batch = ("micro_batch_size=4", "validate_every=3", "scheduler=constant")
    plain = losses("plain", *batch, "trainer.max_steps=6")
    divided = losses("divided", *batch, "parallel_rows=true", "trainer.max_steps=6")
    assert "rows in 3 processes" in capfd.readouterr().out
    assert divided == pytest.approx(plain, abs=1e-5)
    resumed = ("resume=auto", *batch, "parallel_rows=true")
    losses("resumed", *resumed, "trainer.max_steps=3")
    assert losses("resumed", *resumed, "trainer.max_steps=6") == pytest.approx(divided, abs=1e-7)
    timed = losses("timed", *batch, "parallel_rows=true", "trainer.max_steps=null",
                   "trainer.max_minutes=0.1")  # fmt: skip
    assert timed[:5] == pytest.approx(plain[:5], abs=0.5)
    assert torch.get_num_threads() == 3
