"""A terminal of 80 columns breaks no word or figure; a log file has lines, not one long one."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.terminals import run_on_terminal

REPOSITORY = Path(__file__).parents[2]
WIDTH = 80
LIBRARIES = re.compile(r"lightning|torch|deepspeed|warn", re.IGNORECASE)


def _on_terminal(arguments: Sequence[str]) -> tuple[int, list[str]]:
    return run_on_terminal([sys.executable, *arguments], WIDTH, REPOSITORY)


def _check_lines(lines: Sequence[str]) -> None:
    """Only a command to copy, or a single word such as a path, is wider than the terminal."""
    for line in lines:
        text = line.partition("  ")[2].strip() or line.strip()
        is_command = re.match(r"\S*python |webtext-gpt ", text) is not None
        assert len(line) <= WIDTH or is_command or len(shlex.split(text)) == 1, line


@pytest.mark.slow
def test_train_finetune_and_generate(
    small_run_in: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    run, rows, out = folder / "run", folder / "rows.csv", folder / "out.jsonl"
    # A warm-up that is longer than the run and a late validation cause long notes.
    arguments = [*small_run_in(folder), "scheduler.warmup_steps=100", "validate_every=50"]
    code, lines = _on_terminal(["train.py", *arguments])
    assert code == 0, lines
    _check_lines(lines)
    assert not any(map(LIBRARIES.search, lines)), lines
    assert any(line.startswith("note  ") for line in lines)
    labels = {line[:18].strip(): line[18:] for line in lines if line[:1].isalpha()}
    assert shlex.split(labels["run"]) == [str(run)]
    assert shlex.split(labels["loss curve"]) == [str(run / "loss.png")]
    generate = shlex.split(labels["try it"])
    assert generate[1:] == ["generate.py", f"checkpoint={run}", "prompt=The"]
    command = f"{labels['try it']} max_new_tokens=3 out={shlex.quote(str(out))}"
    written = subprocess.run(
        command, shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )  # as a user pastes it
    assert written.returncode == 0, written.stderr
    assert out.exists()
    assert written.stdout == f"written  {shlex.quote(str(out))}\n"

    texts = [f"good text {n},yes\nbad text {n},no\n" for n in range(40)]
    rows.write_text("text,label\n" + "".join(texts))
    tuned = folder / "tuned"
    code, lines = _on_terminal(
        [
            *("finetune.py", f"checkpoint={run}", "task=file", f"task.train={rows}"),
            *("trainer.max_steps=2", "trainer.accelerator=cpu", f"run_dir={tuned}"),
        ]
    )
    assert code == 0, lines
    _check_lines(lines)
    assert sum(line.startswith("accuracy") for line in lines) == 1
    assert sum("confusion.png" in line for line in lines) == 1


@pytest.mark.slow
def test_a_log_file_has_lines(small_run: list[str], tmp_path: Path) -> None:
    """The interval is shortened from ten seconds, so that the test need not last minutes."""
    code = (
        "import sys, webtext_gpt.progress as progress; progress.LOG_SECONDS = 0.2; "
        "sys.argv = ['train.py', *sys.argv[1:]]; from webtext_gpt.commands import run; run('train')"
    )
    long = ["trainer.max_steps=400", "validate_every=400", "callbacks.checkpoints.save_every=400"]
    with (tmp_path / "log").open("w") as log:
        subprocess.run(
            [sys.executable, "-c", code, *small_run, *long],
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            check=True,
        )
    text = (tmp_path / "log").read_bytes().decode()
    assert "\r" not in text
    lines = [line for line in text.splitlines() if line.startswith("training: ")]
    assert len(lines) >= 2
    step = (
        r"training: [\d,]+ of 400 steps \(\d+%\), loss \d\.\d{3}, [\d,]+ tok/s, "
        r"(time left not known yet|\d\d:\d\d left|in \d\d:\d\d)"
    )
    for line in lines[1:]:
        assert re.match(step, line), line
    assert len(set(lines)) == len(lines)
