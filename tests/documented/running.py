"""Run a documented command in a folder: in this process where that is possible, else in its own."""

import contextlib
import io
import os
import re
import runpy
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from tests.documented.pages import REPOSITORY
from webtext_gpt.commands import PROGRAM

OWN_PROCESS = re.compile(
    r"^(?:echo|cat)|devices=[24]|logger=wandb|pages\.py|build\.py|://|python benchmarks/|lm_eval"
)
"""Commands of the shell; those that start processes by calling themselves again or leave services
behind; a crawl, whose reactor starts once; and those whose imports change other programs' state."""
SERVES = re.compile(r"serve\.py(?!.*export=)")
TITLE = b"<title>webtext-gpt explorer</title>"

Done = subprocess.CompletedProcess[str]


def run(text: str, words: Sequence[str], here: str | None, folder: Path) -> Done:
    """Run a command to its end in a folder; nothing it has started may outlive it.

    Args:
        text: what the pages say, which decides how it is run.
        words: its words, with those of the tables; a redirection is `>` and a file's name.
        here: its here-document.
        folder: an existing folder.
    """
    before = set(psutil.Process().children(recursive=True))
    with contextlib.chdir(folder):
        if SERVES.search(text):
            done = _served(words)
        elif OWN_PROCESS.search(text):
            done = _in_own_process(words, here)
        else:
            done = _in_this_process(words, here)
    left = set(psutil.Process().children(recursive=True)) - before
    _, alive = psutil.wait_procs([p for p in left if not _is_tracker(p)], timeout=10)
    assert not alive, f"still running after {text!r}: {alive}"
    return done


def _is_tracker(process: psutil.Process) -> bool:
    """Return whether a process is Python's own, which ends with this one."""
    with contextlib.suppress(psutil.Error):
        return "multiprocessing.resource_tracker" in " ".join(process.cmdline())
    return False


def _split_output(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """Return the words before a redirection, and its file, whose folder is made."""
    if ">" not in words:
        return list(words), None
    at = list(words).index(">")
    target = Path(words[at + 1])
    target.parent.mkdir(parents=True, exist_ok=True)
    return list(words[:at]), target


def _in_this_process(words: Sequence[str], here: str | None) -> Done:
    """Run Python's or the program's command as a process of its own would."""
    command, target = _split_output(words)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _python_state():
        try:
            _execute(command, here)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if target is not None:
        target.write_text(out.getvalue())
    return Done(list(words), code, out.getvalue(), err.getvalue())


def _execute(command: Sequence[str], here: str | None) -> None:
    program, *rest = command
    if program == PROGRAM:
        sys.argv = list(command)
        from webtext_gpt.commands import main

        main()
    elif rest[0] == "-m":
        sys.argv = rest[1:]
        runpy.run_module(rest[1], run_name="__main__", alter_sys=True)
    elif rest[0] in ("-c", "-"):
        sys.argv = rest[:1]
        code = here if rest[0] == "-" else rest[1]
        assert code is not None
        exec(compile(code, rest[0], "exec"), {"__name__": "__main__"})
    else:
        sys.argv = [str(REPOSITORY / rest[0]), *rest[1:]]
        runpy.run_path(sys.argv[0], run_name="__main__")


@contextlib.contextmanager
def _python_state() -> Iterator[None]:
    """Restore arguments, environment and signal handlers after the block."""
    argv, environment = sys.argv, dict(os.environ)
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environment)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _own_words(words: Sequence[str]) -> list[str]:
    """Return a call of Python with this interpreter, and with a script of the checkout."""
    if not words[0].endswith("python"):
        return list(words)
    script = [str(REPOSITORY / words[1])] if words[1].endswith(".py") else [words[1]]
    return [sys.executable, *script, *words[2:]]


def _in_own_process(words: Sequence[str], here: str | None) -> Done:
    command, target = _split_output(words)
    if command[0] == "cat":  # cat > FILE <<'END'
        assert target is not None
        command = ["cat"]
    done = subprocess.run(
        _own_words(command), input=here, capture_output=True, text=True, timeout=300, check=False
    )
    if target is not None:
        target.write_text(done.stdout)
    return done


def _served(words: Sequence[str]) -> Done:
    """Start a server, read its page, and stop it as a user does, by Ctrl-C."""
    with subprocess.Popen(
        _own_words(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            shown: list[str] = []
            for line in iter(process.stdout.readline, ""):
                shown.append(line)
                if line.startswith("explorer"):
                    with urllib.request.urlopen(line.split()[1], timeout=60) as response:
                        assert TITLE in response.read()
                    process.send_signal(signal.SIGINT)
                    break
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    return Done(list(words), process.returncode, "".join(shown) + rest, errors)
