"""Perplexity by model size, read from finished runs."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.scaling import Fit, plot, power_law, read_fit, write_scaling_report

PNG = b"\x89PNG\r\n\x1a\n"


def _write_run(folder: Path, parameters: int, val_perplexity: float, late_loss: float) -> Path:
    folder.mkdir()
    summary = {"parameters": parameters, "val_perplexity": val_perplexity, "step": 100}
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
    assert (tmp_path / "out" / "scaling.md").read_text().splitlines()[2:] == [
        "| small | 1,300,000 | 55.00 | 60.00 |",
        "| large | 30,000,000 | 15.00 | 20.00 |",
    ]
    assert table.splitlines()[1:] == [
        "small   1,300,000             55.00                60.00",
        "large  30,000,000             15.00                20.00",
    ]
    assert (tmp_path / "out" / "scaling.png").read_bytes().startswith(PNG)


def test_folders_without_a_finished_run_are_refused(tmp_path: Path) -> None:
    run = _write_run(tmp_path / "run", 1, 1.0, 1.0)
    with pytest.raises(UserError, match="two runs or more, not 1"):
        write_scaling_report([run], tmp_path)
    summary = (run / "summary.json").read_text()
    for text, message in (
        ("[1]", "summary.json and metrics.csv do not contain the figures of a finished run"),
        ("{", "summary.json and metrics.csv do not contain the figures of a finished run"),
        ('{"parameters": 1}', "'val_perplexity' is missing"),
        (summary.replace("1.0", '"x"'), "could not convert string to float: 'x'"),
    ):
        (run / "summary.json").write_text(text)
        with pytest.raises(UserError, match=message):
            read_fit(run)
    (run / "summary.json").write_text(summary)
    (run / "metrics.csv").write_text("step,train_loss,val_loss\n100,,3.0\n")
    with pytest.raises(UserError, match="run is too short for report=: none of its 100 steps has"):
        read_fit(run)
    (run / "summary.json").unlink()
    with pytest.raises(UserError, match=r"has no summary\.json"):
        read_fit(run)
    with pytest.raises(UserError, match="report= names .*summary.json, which is a file"):
        read_fit(_write_run(tmp_path / "other", 1, 1.0, 1.0) / "summary.json")
    with pytest.raises(UserError, match="report= names .*gone, which does not exist"):
        read_fit(tmp_path / "gone")


def _quoted(name: str) -> str:
    escaped = name.replace('"', '\\"')
    return f'"{escaped}"'


def test_the_command_compares_runs_of_any_name_without_torch(tmp_path: Path) -> None:
    names = ["a b", "a,b", "[a]", 'say "so"', "it's", "~", "$HOME ${x}", "caf\u00e9 100%"]
    for number, name in enumerate(names, start=1):
        _write_run(tmp_path / name, number * 1_000_000, 20.0, math.log(15))
    without_torch = "import sys; sys.modules['torch'] = None; from webtext_gpt.commands import main"
    call = ["eval", f"report=[{','.join(map(_quoted, names))}]", "run_dir=out, here"]
    ran = subprocess.run(
        [sys.executable, "-c", f"{without_torch}; main({call!r})"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    table = (tmp_path / "out, here" / "scaling.md").read_text()
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == names
    assert "written  'out, here/scaling.md'" in ran.stdout


def test_the_picture_has_the_power_law_and_the_sizes(tmp_path: Path, figures: list[Any]) -> None:
    """Perplexity 8000 / sqrt(parameters): 8 for 1 M, 4 for 4 M, 2 for 16 M."""
    fits = [Fit(str(n), n, 7.0, 8000 / n**0.5) for n in (1_000_000, 4_000_000, 16_000_000)]
    assert power_law([f.parameters for f in fits], [f.val_perplexity for f in fits]) == (
        pytest.approx((8000, -0.5))
    )
    plot(fits, tmp_path / "scaling.png")
    (axes,) = figures[0].axes
    # 1 - 1 / sqrt(2) = 29.3 %
    assert figures[0]._suptitle.get_text() == "Doubling the parameters lowers perplexity by 29.3%"
    assert axes.get_title(loc="left") == "held-out perplexity = 8,000 · parameters$^{-0.500}$"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1M", "4M", "16M"]
    assert {text.get_text() for text in axes.texts} == {"training text", "held-out text"}
    plot([Fit("a", 1000, 9.0, 9.0), Fit("b", 1001, 8.0, 8.0)], tmp_path / "scaling.png")
    assert figures[1]._suptitle.get_text().startswith("Sizes too close for a law")
