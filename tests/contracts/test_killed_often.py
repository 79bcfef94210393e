"""Twenty SIGKILLs at random moments do not change a run: ZeRO-2 on two processes, 200 steps."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.training.loggers import read_metrics

REPOSITORY = Path(__file__).parents[2]
TRAIN = [sys.executable, str(REPOSITORY / "train.py")]
KILLS = 20
RUN = [
    *("trainer.max_steps=200", "validate_every=9", "callbacks.checkpoints.save_every=2"),
    *("trainer.devices=2", "strategy=deepspeed_zero2", "micro_batch_size=2"),
    *("model.resid_dropout=0.1", "model.embd_dropout=0.1"),
]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_twenty_sigkills(small_run: list[str], tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    settings = [o for o in small_run if not o.startswith("run_dir")]
    subprocess.run([*TRAIN, *settings, *RUN, f"run_dir={whole}"], check=True, timeout=300)

    command = [*TRAIN, *settings, *RUN, f"run_dir={run}", "resume=auto"]
    draw = random.Random(0)
    moments = []
    for _ in range(KILLS):
        moments.append(_killed(command, run, draw))
    print("newest checkpoint at each kill, and the rank killed:", moments)
    assert 0 < moments[-1][0] < 200
    subprocess.run(command, check=True, timeout=300)

    expected, found = (read_metrics(folder / "metrics.csv") for folder in (whole, run))
    assert [row["step"] for row in found] == list(range(1, 201))
    for ours, theirs in zip(found, expected, strict=True):
        for column in ("train_loss", "val_loss", "grad_norm", "lr"):
            assert ours.get(column) == theirs.get(column), (ours["step"], column)
    mine, other = (read_checkpoint(f / "checkpoints" / "last.ckpt") for f in (run, whole))
    for name, value in other["state_dict"].items():
        assert torch.equal(mine["state_dict"][name], value), name


def _killed(command: list[str], run: Path, draw: random.Random) -> tuple[int, str]:
    """Resume the run and kill one rank, usually after some steps and sometimes earlier."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    start = _newest(run)
    if draw.random() < 0.2:
        time.sleep(draw.uniform(0.5, 8))
    else:
        steps = draw.randint(2, 10)
        deadline = time.monotonic() + 100
        while _newest(run) < start + steps and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.1))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    victim = draw.choice([process.pid, *map(int, children)])
    assert process.poll() is None
    os.kill(victim, signal.SIGKILL)
    process.wait(timeout=60)
    time.sleep(1)  # until the other rank notices
    return _newest(run), "rank 0" if victim == process.pid else "rank 1"


def _newest(run: Path) -> int:
    steps = [int(p.stem.removeprefix("step-")) for p in run.glob("checkpoints/step-????????.ckpt")]
    return max(steps, default=0)
