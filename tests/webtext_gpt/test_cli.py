"""The command line: help, unknown names, and short error messages."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def _call(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / script), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=200, cwd=cwd, check=False
    )


def test_help_is_fast_and_lists_every_group(tmp_path: Path) -> None:
    start = time.perf_counter()
    result = _call("train.py", "--help", cwd=tmp_path)
    assert time.perf_counter() - start < 5
    assert result.returncode == 0
    for group in (REPOSITORY / "conf").iterdir():
        if group.is_dir() and group.name != "data_prep":
            choices = ", ".join(sorted(path.stem for path in group.glob("*.yaml")))
            assert f"{group.name}: {choices}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainer.max_stps=3"], "unknown key 'trainer.max_stps'; did you mean trainer.max_steps"),
        (["lr=3"], "unknown key 'lr'; did you mean optimizer.lr?"),
        (["modle=tiny"], "unknown key 'modle'; did you mean model"),
        (["model=smal"], "model has no choice 'smal'; did you mean small?"),
        (["experiment=quickstat"], "did you mean quickstart?"),
        (["data=files"], "data.path has no value; give data.path=..."),
        (["model.n_layer=two", "data=files", "data.path=x.txt"], "model.n_layer is 'two'"),
    ],
)
def test_errors_fit_on_one_screen(
    call: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "x.txt").write_text("words and more words " * 400)
    monkeypatch.chdir(tmp_path)
    result = call("train.py", *arguments)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 24
    left = {path.name for path in tmp_path.rglob("*")}
    assert left <= {"x.txt", "runs"}


def test_generate_needs_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "pickle.ckpt").write_bytes(b"cos\nsystem\n(S'touch hacked'\ntR.")
    for folder, message in (("nowhere", "does not exist"), (".", "holds no checkpoint")):
        with pytest.raises(UserError, match=message):
            load_language_model(tmp_path / folder)
    for argument, message in (
        ("top_k=3", "checkpoint has no value; give checkpoint=..."),
        ("checkpoint=pickle.ckpt", "pickle.ckpt cannot be read as a checkpoint"),
    ):
        result = _call("generate.py", argument, cwd=tmp_path)
        assert result.returncode == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    "value",
    [
        "Hello, my name is",
        "a=b (c) [d] {e: f} # g",
        'say "so"',
        "it's",
        "${oc.env:HOME}",
        "back\\slash \\",
        'odd \\"quote\\"',
        "",
        "null",
        "3",
        "caf\u00e9\n\ttab",
    ],
)
def test_verbatim_values_are_unchanged(value: str) -> None:
    from hydra import compose, initialize_config_dir

    from webtext_gpt.cli import _prepared

    (argument,) = _prepared([f"prompt={value}"], ["prompt"])
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        assert compose("generate", overrides=[argument]).prompt == value


def test_keys_under_an_open_key_may_be_new() -> None:
    from webtext_gpt.cli import _prepared

    given = ["tests.wiki=a/b.txt", "tests={}", "train=[x]", "other.name=1"]
    assert list(_prepared(given, [], ["tests"])) == ["++tests.wiki=a/b.txt", *given[1:]]
