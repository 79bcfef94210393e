"""Contract 7, for DDP: two processes give the losses of one for the same global batch."""

import subprocess
import sys
from pathlib import Path

import pytest

from webtext_gpt.training.loggers import read_metrics

REPOSITORY = Path(__file__).parents[2]


def _run(overrides: list[str], run: Path) -> list[dict[str, float]]:
    command = [sys.executable, str(REPOSITORY / "train.py"), *overrides, f"run_dir={run}"]
    subprocess.run(command, check=True, timeout=400)
    return read_metrics(run / "metrics.csv")


def test_ddp_on_two_processes_equals_one(small_run: list[str], tmp_path: Path) -> None:
    overrides = [o for o in small_run if not o.startswith("run_dir")]
    one = _run([*overrides, "micro_batch_size=2"], tmp_path / "one")  # 8 sequences, 4 at a time
    two = _run(
        [*overrides, "micro_batch_size=2", "trainer.devices=2", "strategy=ddp"], tmp_path / "two"
    )
    assert [row["step"] for row in two] == [row["step"] for row in one] == [1, 2, 3, 4, 5, 6]
    for column in ("train_loss", "val_loss", "lr"):
        ours = [row[column] for row in two if column in row]
        theirs = [row[column] for row in one if column in row]
        assert len(ours) == len(theirs) > 0
        assert ours == pytest.approx(theirs, abs=1e-4), column
    assert (tmp_path / "two" / "summary.json").exists()
