"""Commands that are printed for the user work as they are printed."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from webtext_gpt.commands import shell_command

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The interpreter of an environment that is not on the PATH."""
    path = tmp_path / "env" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setenv("PATH", os.defpath)
    return path


def test_python_is_named_as_the_shell_finds_it(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert shell_command("generate", "x=a b") == f"{python} generate.py 'x=a b'"
    monkeypatch.setenv("PATH", str(python.parent))
    assert shell_command("generate") == "python generate.py"
    assert shell_command("weights") == "python -m webtext_gpt.weights"


def test_an_environment_in_the_folder_is_named_from_there(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make quickstart` runs .venv/bin/python train.py."""
    folder = python.parents[2]
    (folder / "train.py").touch()
    (folder / "generate.py").touch()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert shell_command("generate") == "env/bin/python generate.py"


def test_scripts_are_named_from_another_folder(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = python.parents[2] / "check out"
    (checkout / "data_prep").mkdir(parents=True)
    for script in ("train.py", "data_prep/links.py", "data_prep/build.py"):
        (checkout / script).touch()
    monkeypatch.chdir(python.parents[2])
    monkeypatch.setenv("PATH", str(python.parent))
    for called in ("check out/train.py", str(checkout / "data_prep" / "build.py")):
        monkeypatch.setattr(sys, "argv", [called])
        assert shlex.split(shell_command("train")) == ["python", "check out/train.py"]
        assert shlex.split(shell_command("links")) == ["python", "check out/data_prep/links.py"]


def test_the_installed_program_is_named_as_the_shell_finds_it(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = python.with_name("webtext-gpt")
    monkeypatch.chdir(python.parents[2])
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert shell_command("train") == "webtext-gpt train"
    program.touch(mode=0o755)
    assert shell_command("train") == "env/bin/webtext-gpt train"
    monkeypatch.setenv("PATH", str(program.parent))
    assert shell_command("train") == "webtext-gpt train"
