"""The command line: help, unknown names, and short error messages."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from webtext_gpt import cli
from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.cli import parse, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.help import help_text

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
            choices = sorted(path.stem for path in group.glob("*.yaml"))
            listed = help_text(COMMANDS[_command_of(group.name)], group.name, "train.py")
            assert all(f"  {group.name}={choice}" in listed for choice in choices)
            if group.name != "task" and (len(choices) > 1 or group.name == "recipe"):
                (line,) = re.findall(rf"^  {group.name} +(.+(?:\n {{13}}.+)*)", result.stdout, re.M)
                assert sorted(line.replace("[", "").replace("]", "").split()) == choices


def _command_of(group: str) -> str:
    return "finetune" if group == "task" else "train"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trainer.max_stps=3"], "unknown key 'trainer.max_stps'; did you mean trainer.max_steps"),
        (["lr=3"], "unknown key 'lr'; did you mean optimizer.lr?"),
        (["modle=tiny"], "unknown key 'modle'; did you mean model"),
        (["model=smal"], "model=smal is not a choice; did you mean small?"),
        (["experiment=quickstat"], "did you mean quickstart?"),
        (["data=files"], "data.path has no value; give data.path=..."),
        (["data.path=x.txt"], "data.path has no effect with the present choice of data; it is a "
                              "setting of data=files, data=shards, data=midi or data=chorales; "
                              "give that too"),
        (["strategy.stage=3"], "it is a setting of strategy=deepspeed_zero1; give that too"),
        (["--max_iters=10"], "--max_iters=10: settings are given as key=value, without dashes; "
                             "unknown key 'max_iters'; did you mean trainer.max_steps?"),
        (["--model=tiny"], "--model=tiny: settings are given as key=value, without dashes: model="),
        (["--data.path", "x"], "--data.path: settings are given as key=value, without dashes: da"),
        (["-x"], "-x: settings are given as key=value, without dashes; unknown key 'x';"),
        (["run_dir"], "'run_dir' is not a setting; settings are given as key=value: run_dir=..."),
        (["run_dir=my", "run"], "in quotes if the value holds spaces: run_dir='my run'"),
        (["=3"], "'=3' is not a setting"),
        (["--config-dir=gone"], "--config-dir=gone is not a folder"),
        (["model._target_=os.system"], "unknown key 'model._target_'"),
        (["-m", "run_dir=[a"], "-m: run_dir=[a is split at its commas, but a bracket is not c"),
        (["model.n_layer=two", "data=files", "data.path=x.txt"],
         "model.n_layer=two: expected a whole number, 1 or above"),
    ],
)  # fmt: skip
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
    assert left == {"x.txt"}


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
        '"quoted"',
        "it's",
        "${oc.env:HOME}",
        "back\\slash \\",
        'odd \\"quote\\"',
        "",
        "null",
        "3",
        "~",
        "[a,b]",
        "caf\u00e9\n\ttab",
    ],
)
def test_verbatim_values_are_unchanged(value: str) -> None:
    command = COMMANDS["generate"]
    arguments = parse([f"prompt={value}", "checkpoint=x"], command)
    assert read_settings(command, arguments).prompt == value
    if value:
        arguments = parse([f"checkpoint={value}"], command)
        assert read_settings(command, arguments).checkpoint == value


def test_keys_under_an_open_key_may_be_new(compose: Callable[..., Any]) -> None:
    given = ["train=x", "out=y", "tests.wiki=a/b.txt", "tests.a.b=[c,d]"]
    assert compose("overlap", *given).tests == {"wiki": ["a/b.txt"], "a.b": ["c", "d"]}
    with pytest.raises(UserError, match="unknown key 'other.name'"):
        compose("overlap", *given, "other.name=1")


def test_flags() -> None:
    command = COMMANDS["train"]
    arguments = ["seed=1", "+seed=2", "~logger", "--cfg", "job", "-m", "--help", "--version"]
    parsed = parse(arguments, command)
    assert parsed.pairs == (("seed", "1"), ("seed", "2"), ("logger", "null"))
    assert (parsed.show, parsed.sweep, parsed.help, parsed.version) == (True, True, "", True)
    assert parse(["--help", "model"], command).help == "model"


def test_the_settings_of_a_call_are_printed(
    call: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    shown = call("generate.py", "checkpoint=caf\u00e9 [a]", "stop=[a,b]", "top_k=null", "--cfg")
    assert yaml.safe_load(shown.stdout)["checkpoint"] == "caf\u00e9 [a]"
    assert "caf\u00e9" in shown.stdout
    assert yaml.safe_load(shown.stdout)["top_k"] is None
    assert call("generate.py", "--version").stdout.startswith("webtext-gpt ")


def test_a_sweep_makes_every_combination(
    call: Callable[..., subprocess.CompletedProcess[str]], small_checkpoint: Path
) -> None:
    arguments = [f"checkpoint={small_checkpoint}", 'prompt=the,"a, b"', "max_new_tokens=1,2"]
    ran = call("generate.py", "-m", *arguments, "device=cpu", "seed=0", "stream=false")
    assert ran.returncode == 0, ran.stderr
    texts = ran.stdout.splitlines()
    assert [text[:3] for text in texts if text[:3] in ("the", "a, ")] == [
        "the",
        "the",
        "a, ",
        "a, ",
    ]
    wrong = call("generate.py", "-m", *arguments[:2], "max_new_tokens=1,two")
    assert "max_new_tokens=two: expected a whole number" in wrong.stderr
    assert wrong.stdout == ""  # all are checked before the first begins


@pytest.mark.parametrize(
    ("raised", "printed"),
    [
        (UserError("data.path is missing"), "\nerror: data.path is missing\n"),
        (Stopped("interrupted; step 3 is saved", 1), "\ninterrupted; step 3 is saved\n"),
        (KeyboardInterrupt(), "\ninterrupted\n"),
    ],
)
def test_a_stop_is_no_error_and_another_ctrl_c_has_no_traceback(
    raised: BaseException,
    printed: str,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the message, Ctrl-C has the system's effect: the process ends at once, silently."""
    monkeypatch.setenv(cli.FULL_ERROR, "0")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(SystemExit), cli.clear_errors():
        raise raised
    assert capsys.readouterr().err == printed
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
