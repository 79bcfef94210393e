"""Perplexity by model size, read from finished runs."""

import json
import math
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.scaling import read_fit, write_scaling_report

PNG = b"\x89PNG\r\n\x1a\n"


def _write_run(folder: Path, parameters: int, val_perplexity: float, late_loss: float) -> Path:
    folder.mkdir()
    summary = {"parameters": parameters, "val_perplexity": val_perplexity}
    (folder / "summary.json").write_text(json.dumps(summary))
    rows = [f"{step},{9.0 if step <= 90 else late_loss}," for step in range(1, 101)]
    rows[50] = "51,,3.0"  # a row with only a validation loss
    (folder / "metrics.csv").write_text("\n".join(["step,train_loss,val_loss", *rows]))
    return folder


def test_runs_are_listed_by_size(tmp_path: Path) -> None:
    runs = [
        _write_run(tmp_path / "large", 30_000_000, 20.0, math.log(15)),
        _write_run(tmp_path / "small", 1_300_000, 60.0, math.log(55)),
    ]
    table = write_scaling_report(runs, tmp_path / "out")
    assert table.splitlines()[2:] == [
        "| small | 1,300,000 | 55.00 | 60.00 |",
        "| large | 30,000,000 | 15.00 | 20.00 |",
    ]
    assert (tmp_path / "out" / "scaling.md").read_text().strip() == table
    assert (tmp_path / "out" / "scaling.png").read_bytes().startswith(PNG)


def test_folders_without_a_finished_run_are_refused(tmp_path: Path) -> None:
    run = _write_run(tmp_path / "run", 1, 1.0, 1.0)
    with pytest.raises(UserError, match="two runs or more, not 1"):
        write_scaling_report([run], tmp_path)
    (run / "metrics.csv").write_text("step,train_loss\n")
    with pytest.raises(UserError, match="run does not contain the figures"):
        read_fit(run)
    (run / "summary.json").unlink()
    with pytest.raises(UserError, match=r"has no summary\.json"):
        read_fit(run)
