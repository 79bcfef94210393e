"""Files with awkward names are trained on, named on the command line as they are."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = [
    "with spaces.txt",
    "a=b.txt",
    "a,b.txt",
    "[draft].txt",
    "{a: b}.txt",
    "it's.txt",
    'say "so".txt',
    "$HOME.txt",
    "${model.n_layer}.txt",
    "100%.txt",
    "~tilde.txt",
    "-dash.txt",
    "caf\u00e9.txt",  # composed
    "cafe\u0301.txt",  # decomposed
    "\U0001f600 \u4e2d\u6587.txt",
    "*star?.txt",
    "back\\slash.txt",
    "#hash;&.txt",
    "null",
    "line\nbreak.txt",
    " .txt ",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_found_by_its_name(
    name: str, compose: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("some words")
    (tmp_path / "other.txt").write_text("other words")
    monkeypatch.chdir(tmp_path)
    path = "./null" if name == "null" else name
    assert list(compose("train", "data=files", f"data.path={path}").data.build().documents()) == [
        "some words"
    ]
    quoted = path.replace('"', '\\"')
    both = compose("train", "data=files", f'data.path=["{quoted}",other.txt]').data
    assert sorted(both.build().documents()) == ["other words", "some words"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_trained_on_and_its_run_resumed(
    name: str,
    call: Callable[..., subprocess.CompletedProcess[str]],
    small_run: list[str],
    prose: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a folder of the same name; the run is resumed from another working folder."""
    (tmp_path / name).mkdir()
    (tmp_path / name / name).write_text(prose)
    monkeypatch.chdir(tmp_path)
    path = f"{name}/{name}"
    run = tmp_path / "run"
    done = call(
        "train.py", *small_run, f"data.path={path}", f"run_dir={run}", "trainer.max_steps=2"
    )
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path / name)
    more = call("train.py", f"resume={run}", "trainer.max_steps=3")
    assert more.returncode == 0, more.stderr
    assert "after 3 steps" in more.stdout
