"""Contract 7: one process, and DDP and ZeRO 1, 2, 3 on two, give the same losses per global batch.

Tests of other promises about several processes use the same runs: checkpoints that any number of
processes can read, exact resuming after SIGKILL, one run folder and one log.
"""

import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain

REPOSITORY = Path(__file__).parents[2]
TRAIN = [sys.executable, str(REPOSITORY / "train.py")]
STEPS = 20
TWO = {name: f"strategy={name}" for name in ("ddp", *(f"deepspeed_zero{s}" for s in (1, 2, 3)))}


@pytest.fixture(scope="module")
def overrides(prose_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    cache = tmp_path_factory.mktemp("cache")
    return [
        "data=files",
        f"data.path={prose_file}",
        "tokenizer.vocab_size=280",
        # Odd sizes: two processes cannot halve every parameter.
        *("model.n_layer=2", "model.n_head=3", "model.n_embd=33", "model.block_size=32"),
        "global_batch_tokens=256",  # 8 sequences, 2 at a time: accumulated over 4 or 2 passes
        "micro_batch_size=2",
        f"trainer.max_steps={STEPS}",
        "trainer.log_every_n_steps=1",
        *("trainer.accelerator=cpu", "trainer.precision=32-true"),
        "validate_every=7",
        "callbacks.checkpoints.save_every=5",
        "callbacks.samples.max_new_tokens=5",
        *("scheduler.warmup_steps=2", "optimizer.lr=1e-2"),
        f"cache_dir={cache}",
    ]


def _train(arguments: list[str], **options: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*TRAIN, *arguments], check=True, timeout=300, capture_output=True, text=True, **options
    )


@pytest.fixture(scope="module")
def one(
    overrides: list[str],
    compose: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    run = tmp_path_factory.mktemp("one") / "run"
    pretrain(compose("train", *overrides, f"run_dir={run}"))
    return run


Two = Callable[[str], tuple[Path, subprocess.CompletedProcess]]


@pytest.fixture(scope="module")
def two(one: Path, overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Two:
    """`two(name)`: a run of two processes under a strategy and its output; made once per name."""
    folder = tmp_path_factory.mktemp("two")

    @functools.cache
    def run(name: str) -> tuple[Path, subprocess.CompletedProcess]:
        arguments = ["trainer.devices=2", TWO[name], f"run_dir={folder / name}"]
        return folder / name, _train([*overrides, *arguments])

    return run


STRATEGIES = [pytest.param(name, marks=() if name == "ddp" else pytest.mark.slow) for name in TWO]


@pytest.mark.parametrize("name", STRATEGIES)
def test_losses_equal_those_of_one_process(name: str, one: Path, two: Two) -> None:
    theirs, ours = read_metrics(one / "metrics.csv"), read_metrics(two(name)[0] / "metrics.csv")
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    assert [row["step"] for row in ours] == list(range(1, STEPS + 1))
    tolerances = {"train_loss": 1e-5, "val_loss": 1e-5, "lr": 1e-9, "grad_norm": 1e-3}
    for column, tolerance in tolerances.items():
        expected = [row[column] for row in theirs if column in row]
        found = [row[column] for row in ours if column in row]
        assert len(found) == len(expected) == (3 if column == "val_loss" else STEPS)  # 7, 14, 20
        assert found == pytest.approx(expected, abs=tolerance), column


@pytest.mark.parametrize("name", STRATEGIES)
def test_two_processes_leave_one_folder_and_one_log(name: str, two: Two) -> None:
    run, printed = two(name)
    names = {path.name for path in run.iterdir()}
    assert names == {
        *("checkpoints", "metrics.csv", "loss.png", "samples.txt", "summary.json", "config.yaml"),
        *("report.md", "report.html"),
    }
    assert printed.stdout.count("steps of 256 tokens") == 1  # the plan
    assert printed.stdout.count("validation loss") == 1  # the report
    steps = re.findall(r"training: .*? (\d+)/20 ", printed.stderr)
    assert len(steps) == len(set(steps))  # one bar, printed again every ten seconds
    assert "Warning" not in printed.stderr
    assert (run / "samples.txt").read_text().count("=== step") == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["strategy=deepspeed_zero3_offload"],
        ["strategy=deepspeed_zero3", "activation_checkpointing=true"],
        ["strategy=deepspeed_zero2", "compile=true"],
        ["strategy=ddp", "compile=true", "activation_checkpointing=true"],
    ],
    ids=" ".join,
)
def test_losses_do_not_depend_on_offloading_recomputing_or_compiling(
    arguments: list[str], one: Path, overrides: list[str], tmp_path: Path
) -> None:
    _train([*overrides, "trainer.devices=2", *arguments, f"run_dir={tmp_path / 'run'}"])
    _assert_close_runs(tmp_path / "run", one)


@pytest.mark.slow
def test_torchrun_can_start_the_processes(one: Path, overrides: list[str], tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node=2", str(REPOSITORY / "train.py"), *overrides]
    command += ["trainer.devices=2", TWO["deepspeed_zero2"]]
    run = tmp_path / "run"
    subprocess.run([*command, f"run_dir={run}"], check=True, timeout=300, capture_output=True)
    _assert_close_runs(run, one)
    refused = subprocess.run(
        [*command, f"run_dir={tmp_path / 'other'}", "global_batch_tokens=96"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert refused.returncode != 0
    assert refused.stderr.count("error: global_batch_tokens=96") == 1


@pytest.mark.slow
def test_zero_checkpoints_load_like_any_other(one: Path, two: Two) -> None:
    """Every command reads them as one model with tied embeddings."""
    expected, _ = load_language_model(one / "checkpoints" / "last.ckpt")
    tokens = torch.randint(280, (2, 32), generator=torch.Generator().manual_seed(0))
    for name in ("deepspeed_zero2", "deepspeed_zero3"):
        folder = two(name)[0] / "checkpoints" / "last.ckpt"
        assert len(list(folder.glob("part-*.ckpt"))) == 2
        for path in (folder, two(name)[0]):
            model, tokenizer = load_language_model(path)
            assert model.lm_head.weight is model.wte.weight
            assert tokenizer.vocab_size == 280
            with torch.inference_mode():
                torch.testing.assert_close(model(tokens), expected(tokens), atol=2e-3, rtol=0)
    zero3 = two("deepspeed_zero3")[0]
    command = [sys.executable, str(REPOSITORY / "generate.py"), f"checkpoint={zero3}"]
    command += ["prompt=the cat", "max_new_tokens=3"]
    text = subprocess.run(command, check=True, timeout=100, capture_output=True, text=True).stdout
    assert text.startswith("the cat")


def _step_back(run: Path, copy: Path, step: int) -> None:
    """Copy a finished run as it was at an earlier step, as if killed right after saving."""
    shutil.copytree(run, copy, symlinks=True)
    saved = copy / "checkpoints"
    for path in saved.iterdir():
        if path.name != f"step-{step:08d}.ckpt":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    (copy / "summary.json").unlink()


def _assert_close_runs(ours: Path, theirs: Path) -> None:
    found, expected = (read_metrics(run / "metrics.csv") for run in (ours, theirs))
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for mine, other in zip(found, expected, strict=True):
        for column in ("train_loss", "val_loss", "lr"):
            assert mine.get(column) == pytest.approx(other.get(column), abs=1e-4)


@pytest.mark.slow
def test_a_zero3_run_of_two_processes_resumes_on_one(
    one: Path, two: Two, call: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    copy = tmp_path / "moved"
    _step_back(two("deepspeed_zero3")[0], copy, step=15)
    assert call("train.py", f"resume={copy}", "trainer.devices=1", "strategy=auto").returncode == 0
    assert (copy / "checkpoints" / "last.ckpt").is_file()
    _assert_close_runs(copy, one)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 3])
def test_a_run_of_one_process_resumes_as_zero_on_two(stage: int, one: Path, tmp_path: Path) -> None:
    copy = tmp_path / "moved"
    _step_back(one, copy, step=15)
    _train([f"resume={copy}", "trainer.devices=2", f"strategy=deepspeed_zero{stage}"])
    assert (copy / "checkpoints" / "last.ckpt").is_dir()
    _assert_close_runs(copy, one)


def _assert_same_bits(ours: Path, theirs: Path) -> None:
    """Check that final weights, moments and the complete curve are equal bit for bit."""
    found, expected = (read_metrics(run / "metrics.csv") for run in (ours, theirs))
    assert [row["step"] for row in found] == [row["step"] for row in expected]
    for mine, other in zip(found, expected, strict=True):
        for column in ("train_loss", "val_loss", "lr", "grad_norm"):
            assert mine.get(column) == other.get(column), (column, mine["step"])
    mine, other = (read_checkpoint(run / "checkpoints" / "last.ckpt") for run in (ours, theirs))
    assert mine["global_step"] == other["global_step"]
    for name, value in other["state_dict"].items():
        assert torch.equal(mine["state_dict"][name], value), name
    states = (c["optimizer_states"][0]["state"] for c in (mine, other))
    for one_state, other_state in zip(*(s.values() for s in states), strict=True):
        assert one_state.keys() == other_state.keys()
        assert all(torch.equal(one_state[key], value) for key, value in other_state.items())


def _kill_when(process: subprocess.Popen, path: Path) -> None:
    """SIGKILL rank 0 once a checkpoint exists; the other rank ends by itself."""
    deadline = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)


def _cut(checkpoint: Path, seed: int) -> Path:
    """Cut one of a checkpoint's files at a random byte."""
    draw = random.Random(seed)
    files = sorted(checkpoint.glob("*.ckpt")) if checkpoint.is_dir() else [checkpoint]
    file = draw.choice(files)
    os.truncate(file, draw.randrange(file.stat().st_size))
    return file


@pytest.mark.slow
def test_a_killed_zero2_run_with_a_damaged_checkpoint_resumes_bit_for_bit(
    two: Two, overrides: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    zero2 = [*overrides, "trainer.devices=2", TWO["deepspeed_zero2"], f"run_dir={run}"]
    process = subprocess.Popen([*TRAIN, *zero2], stderr=subprocess.DEVNULL)
    saved = run / "checkpoints"
    _kill_when(process, saved / "step-00000010.ckpt")
    newest = max(saved.glob("step-*.ckpt"))
    _cut(newest, seed=0)
    printed = _train([f"resume={run}"])
    assert f"{newest} is damaged" in printed.stdout
    assert "the checkpoint before it is used" in printed.stdout
    assert printed.stdout.count("is damaged") == 1
    _assert_same_bits(run, two("deepspeed_zero2")[0])
    assert json.loads((run / "summary.json").read_text())["step"] == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ddp", "deepspeed_zero1", "deepspeed_zero3"])
def test_killed_runs_resume_bit_for_bit(
    name: str, two: Two, overrides: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    arguments = [*overrides, "trainer.devices=2", TWO[name], f"run_dir={run}"]
    process = subprocess.Popen([*TRAIN, *arguments], stderr=subprocess.DEVNULL)
    _kill_when(process, run / "checkpoints" / "step-00000005.ckpt")
    _train([f"resume={run}"])
    _assert_same_bits(run, two(name)[0])
