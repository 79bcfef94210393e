"""`average=`: averages equal independent ones, survive a resume, and leave training as it was."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from webtext_gpt.checkpoint.load import load, load_language_model
from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPTClassifier
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain

TRAIN = [sys.executable, str(Path(__file__).parents[2] / "train.py")]
EMA = ["average=ema", "average.decay=0.9"]
WINDOW = ["average=window", "average.steps=4", "average.interval=2"]
Start = Callable[..., dict[str, Any]]
Weights = dict[str, torch.Tensor]


@pytest.fixture
def base(small_run: list[str]) -> list[str]:
    """A small run of 7 steps with a checkpoint after every one, and validations after 3, 6, 7."""
    kept = [o for o in small_run if not o.startswith(("trainer.max_steps", "callbacks"))]
    kept += ["trainer.max_steps=7", "callbacks.samples=null", "callbacks.loss_curve=null"]
    return [*kept, "callbacks.checkpoints.save_every=1", "callbacks.checkpoints.keep_last=9"]


@pytest.fixture
def train(compose: Callable[..., Any], base: list[str]) -> Start:
    """`train(*arguments)`: the run in this process."""
    return lambda *arguments: pretrain(compose("train", *base, *arguments))


def _weights(run: Path, name: str) -> Weights:
    return read_checkpoint(run / "checkpoints" / name)["state_dict"]


def _after_each_step(run: Path, steps: int) -> list[Weights]:
    return [_weights(run, f"step-{step:08d}.ckpt") for step in range(1, steps + 1)]


def _mean(weights: list[Weights], shares: list[float]) -> Weights:
    return {
        name: sum(share * w[name].double() for share, w in zip(shares, weights, strict=True))
        for name in weights[0]
    }


def _assert_close(found: Weights, expected: Weights, tolerance: float = 1e-6) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value.double(), atol=tolerance, rtol=0)


def _loss(path: Path, cache: Path, block: int) -> float:
    """Return the loss of a model over every token of the validation split, window by window."""
    model, _ = load_language_model(path)
    (shards,) = [folder for folder in cache.iterdir() if folder.is_dir()]
    tokens = torch.from_numpy(TokenShards(shards).split("validation").read(0, 10**6))
    nats = 0.0
    with torch.inference_mode():
        for start in range(0, len(tokens) - 1, block):
            window = tokens[start : start + block + 1].long()
            logits = model(window[None, :-1])[0]
            nats += float(F.cross_entropy(logits, window[1:], reduction="sum"))
    return nats / (len(tokens) - 1)


@pytest.mark.slow
def test_an_exponential_average_has_its_shares(train: Start, tmp_path: Path) -> None:
    """Weight i of n has (1 - d) d^(n - i) / (1 - d^n); training itself is as without."""
    run, plain = tmp_path / "run", tmp_path / "plain"
    summary = train(*EMA)
    train(f"run_dir={plain}")
    steps = _after_each_step(run, 7)
    shares = [0.1 * 0.9 ** (7 - i) / (1 - 0.9**7) for i in range(1, 8)]
    assert sum(shares) == pytest.approx(1)
    _assert_close(_weights(run, "average.ckpt"), _mean(steps, shares))
    for name, value in _weights(plain, "last.ckpt").items():
        assert torch.equal(steps[-1][name], value), name
    rows, without = (read_metrics(folder / "metrics.csv") for folder in (run, plain))
    for column in ("train_loss", "val_loss", "grad_norm"):
        assert [r.get(column) for r in rows] == [r.get(column) for r in without]
    measured = [row["step"] for row in rows if "val_loss_average" in row]
    assert measured == [3, 6, 7]
    average = run / "checkpoints" / "average.ckpt"
    expected = _loss(average, tmp_path / "cache", 32)
    assert summary["val_loss_average"] == pytest.approx(expected, abs=1e-5)
    assert summary["val_loss"] != summary["val_loss_average"]
    model, tokenizer = load_language_model(average)
    assert model.lm_head.weight is model.wte.weight
    assert tokenizer.vocab_size == 280


@pytest.mark.slow
def test_a_window_is_the_mean_of_its_snapshots(train: Start, tmp_path: Path) -> None:
    """After 7 steps, a window of 4 with every second one holds those after 4 and 6."""
    run = tmp_path / "run"
    train(*WINDOW)
    steps = _after_each_step(run, 7)
    expected = _mean([steps[3], steps[5]], [0.5, 0.5])
    _assert_close(_weights(run, "average.ckpt"), expected)
    train(*WINDOW, f"run_dir={tmp_path / 'short'}", "trainer.max_steps=3")  # holds just one
    short = tmp_path / "short"
    _assert_close(_weights(short, "average.ckpt"), _weights(short, "step-00000002.ckpt"), 0)


def test_a_run_shorter_than_the_interval_has_no_average(
    train: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is a checkpoint the best by it, which is said once."""
    monitored = "callbacks.checkpoints.monitor=val_loss_average"
    window = ["average=window", "average.steps=20", "average.interval=10"]
    assert train(*window, monitored)["best_val_loss_average"] is None
    printed = capsys.readouterr()
    assert "average     none is written after 7 steps, fewer than average.interval\n" in printed.out
    assert printed.err.count("after step 3 does not measure val_loss_average, so no check") == 1
    assert printed.err.count("does not measure") == 1
    assert not (tmp_path / "run" / "checkpoints" / "average.ckpt").exists()


@pytest.mark.parametrize(
    "kind", [EMA, pytest.param(WINDOW, marks=pytest.mark.slow)], ids=["ema", "window"]
)
def test_a_resumed_average_equals_an_undisturbed_one(
    kind: list[str], train: Start, tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    train(*kind)
    shutil.copytree(run, whole, symlinks=True)
    for step in (5, 6, 7):  # as if killed after step 4 was saved
        (run / "checkpoints" / f"step-0000000{step}.ckpt").unlink()
    for name in ("checkpoints/average.ckpt", "summary.json"):
        (run / name).unlink()
    train(*kind, "resume=auto")
    for name, value in _weights(whole, "average.ckpt").items():
        assert torch.equal(_weights(run, "average.ckpt")[name], value), name
    found, expected = (read_metrics(folder / "metrics.csv") for folder in (run, whole))
    for column in ("train_loss", "val_loss", "val_loss_average"):
        assert [row.get(column) for row in found] == [row.get(column) for row in expected]


@pytest.mark.slow
def test_an_average_begins_and_ends_when_a_run_is_resumed(
    train: Start, compose: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train("trainer.max_steps=2")
    resume = f"resume={run}"
    pretrain(compose("train", resume, *EMA, "trainer.max_steps=4"))
    third, fourth = _after_each_step(run, 4)[2:]
    shares = [0.9 * 0.1 / 0.19, 0.1 / 0.19]
    _assert_close(_weights(run, "average.ckpt"), _mean([third, fourth], shares))
    pretrain(compose("train", resume, *WINDOW, "trainer.max_steps=6"))  # another kind begins anew
    _assert_close(_weights(run, "average.ckpt"), _weights(run, "step-00000006.ckpt"), 0)
    pretrain(compose("train", resume, "average=null", "trainer.max_steps=7"))
    (optimizer,) = read_checkpoint(run / "checkpoints" / "last.ckpt")["optimizer_states"]
    assert optimizer["state"][0].keys() == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.slow
def test_fine_tuning_averages_too(finetune: Start, tmp_path: Path) -> None:
    """Low-rank updates are averaged before they are merged; the figures of the task are logged."""
    monitored = "callbacks.checkpoints.monitor=val_loss_average"
    summary = finetune(*EMA, "lora.rank=2", monitored, "callbacks.early_stopping=null")
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [r["step"] for r in rows if "val_accuracy_average" in r] == [5, 10, 12]
    losses = [row["val_loss_average"] for row in rows if "val_loss_average" in row]
    assert summary["best_val_loss_average"] == min(losses)
    loaded = load(tmp_path / "run" / "checkpoints" / "average.ckpt")
    assert isinstance(loaded.model, GPTClassifier)
    assert loaded.task is not None


@pytest.mark.slow
def test_early_stopping_waits_for_an_average(finetune: Start, tmp_path: Path) -> None:
    """The validations after 5 and 10 steps are before the window's first weights."""
    window = ["average=window", "average.steps=11", "average.interval=11"]
    monitored = "callbacks.checkpoints.monitor=val_loss_average"
    summary = finetune(*window, monitored, "callbacks.early_stopping.patience=1")
    assert summary["step"] == 12
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [r["step"] for r in rows if "val_loss_average" in r] == [12]


@pytest.mark.slow
def test_an_average_takes_one_step_of_several_micro_batches(
    train: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webtext_gpt.training.callbacks.weight_average import WeightAverage

    taken: list[int] = []
    update = WeightAverage.on_train_batch_end

    def counted(self: WeightAverage, *arguments: Any) -> None:
        update(self, *arguments)
        taken.append(self.steps)

    monkeypatch.setattr(WeightAverage, "on_train_batch_end", counted)
    train(*EMA, "micro_batch_size=2")  # four micro-batches a step
    assert taken == [step // 4 for step in range(1, 29)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["average=ema", "trainer.precision=bf16-true"], "average= needs weights in fp32"),
        (["average=ema", "strategy=deepspeed_zero3"], "a strategy that partitions parameters"),
        (["average=ema", "callbacks.checkpoints=null"], "average= is saved from the last check"),
        (["average=window", "average.interval=30"], "average.interval=30 does not divide"),
        (["average=ema", "average.decay=1"], "average.decay=1"),
    ],
)
def test_averages_that_are_refused(
    arguments: list[str], message: str, train: Start, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        train(*arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param("ddp", marks=pytest.mark.slow),
        pytest.param("deepspeed_zero1", marks=pytest.mark.slow),
        pytest.param("deepspeed_zero2", marks=pytest.mark.slow),
    ],
)
def test_two_processes_have_the_average_of_one(
    strategy: str, base: list[str], train: Start, tmp_path: Path
) -> None:
    odd = [*EMA, "model.n_embd=34", "trainer.devices=2", f"strategy={strategy}"]
    two = tmp_path / "two"
    command = [*TRAIN, *base, *odd, "micro_batch_size=2", f"run_dir={two}"]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    train(*EMA, "model.n_embd=34")
    found, expected = (read_metrics(folder / "metrics.csv") for folder in (two, tmp_path / "run"))
    for column in ("train_loss", "val_loss", "val_loss_average"):
        theirs = [row[column] for row in expected if column in row]
        assert [row[column] for row in found if column in row] == pytest.approx(theirs, abs=1e-5)
    _assert_close(_weights(two, "average.ckpt"), _weights(tmp_path / "run", "average.ckpt"), 2e-3)
    assert _loss(two / "checkpoints" / "average.ckpt", tmp_path / "cache", 32) == pytest.approx(
        found[-1]["val_loss_average"], abs=1e-5
    )
