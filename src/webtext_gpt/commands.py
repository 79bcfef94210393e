"""The commands of the program: `webtext-gpt COMMAND`, and a script for most of them.

A command is a class of settings and a function that does the work. Both are named here as text, so
that one command does not import what another needs.
"""

import atexit
import contextlib
import gc
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from webtext_gpt.errors import UserError, did_you_mean
from webtext_gpt.terminal import from_here

PROGRAM = "webtext-gpt"


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        name: its name after `webtext-gpt`.
        script: how a checkout calls it.
        settings: its class of settings, as `module:name`.
        work: the function that does the work, as `module:name`; it takes the settings and a `Call`.
        config: its primary configuration in conf/; None if it has no groups.
    """

    name: str
    script: str
    settings: str
    work: str
    config: str | None = None

    @property
    def is_stage(self) -> bool:
        """Whether it is a command of data_prep, which prints its counts beside labels."""
        return self.settings.startswith("data_prep.")

    def load(self, what: str) -> Any:
        """Import `settings` or `work`."""
        module, _, name = getattr(self, what).partition(":")
        with many_imports():
            return getattr(import_module(module), name)


@contextlib.contextmanager
def many_imports() -> Iterator[None]:
    """Disable garbage collection in the block, which imports packages with many objects.

    These objects stay until the process ends, so later collections skip them, too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def _corpus(name: str, settings: str, *, has_groups: bool = False) -> Command:
    return Command(
        name,
        f"python data_prep/{name}.py",
        f"data_prep.settings:{settings}",
        f"data_prep.{name}:main",
        f"data_prep/{name}" if has_groups else None,
    )


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "train",
            "python train.py",
            "webtext_gpt.settings.train:Train",
            "webtext_gpt.training.command:train",
            "train",
        ),
        Command(
            "generate",
            "python generate.py",
            "webtext_gpt.settings.generate:Generate",
            "webtext_gpt.generation.command:generate",
        ),
        Command(
            "eval",
            "python eval.py",
            "webtext_gpt.settings.evaluate:Evaluate",
            "webtext_gpt.evaluation.main:main",
        ),
        Command(
            "serve",
            "python serve.py",
            "webtext_gpt.settings.serve:Serve",
            "webtext_gpt.explorer.command:serve",
        ),
        Command(
            "corpora",
            "python -m webtext_gpt.evaluation.corpora",
            "webtext_gpt.settings.corpora:Corpora",
            "webtext_gpt.evaluation.corpora.command:main",
        ),
        Command(
            "finetune",
            "python finetune.py",
            "webtext_gpt.settings.finetune:Finetune",
            "webtext_gpt.finetuning.command:run_command",
            "finetune",
        ),
        Command(
            "weights",
            "python -m webtext_gpt.weights",
            "webtext_gpt.settings.weights:Weights",
            "webtext_gpt.weights.command:weights",
        ),
        Command(
            "cache",
            "python -m webtext_gpt.data.cache",
            "webtext_gpt.settings.cache:Cache",
            "webtext_gpt.data.cache:main",
        ),
        _corpus("build", "Build", has_groups=True),
        _corpus("links", "Links", has_groups=True),
        _corpus("pages", "Pages", has_groups=True),
        _corpus("quality", "Quality"),
        _corpus("documents", "Documents", has_groups=True),
        _corpus("dedup", "Dedup", has_groups=True),
        _corpus("overlap", "Overlap", has_groups=True),
        _corpus("filters", "Filters", has_groups=True),
        _corpus("tokenizer", "TokenizerSettings", has_groups=True),
        _corpus("shards", "Shards", has_groups=True),
        _corpus("report", "Report"),
    )
}


def shell_command(name: str, *arguments: str) -> str:
    """Return a call of a command for the user to type, quoted for the shell.

    The call has the form that started this process: a script of the checkout with its Python, or
    the installed program. Each has the shortest name that the user's shell finds.
    """
    called = _script(COMMANDS[name].script) if sys.argv[0].endswith(".py") else None
    if called is None:
        called = f"{program()} {name}"
    return " ".join([called, *map(shlex.quote, arguments)])


def _script(call: str) -> str | None:
    """Return how a shell calls a script or module, `python train.py`; None if it is not here."""
    _, *words = call.split()
    if words[0] != "-m":
        scripts = (command.script.partition(" ")[2] for command in COMMANDS.values())
        started = Path(sys.argv[0])
        tops = (started.parents[len(Path(s).parts) - 1] for s in scripts if started.match(s))
        script = next(tops, Path()) / words[0]
        if not script.exists():
            return None
        words = [shlex.quote(from_here(script))]
    return " ".join([_interpreter(), *words])


def _interpreter() -> str:
    """Return `python` if the shell finds this process's Python by that name, or else its path."""
    found = shutil.which("python")
    if found and Path(found).parent.resolve() == Path(sys.executable).parent.resolve():
        return "python"
    return shlex.quote(from_here(Path(sys.executable)))


def program(name: str = PROGRAM) -> str:
    """Return an installed program's name if the shell finds it, or else its path."""
    beside = Path(sys.executable).parent / name
    return name if shutil.which(name) or not beside.exists() else shlex.quote(from_here(beside))


def run(name: str) -> None:
    """Run a command with the arguments of this process: the body of its script."""
    from webtext_gpt.cli import run_command

    _leave_memory_to_the_system()
    run_command(COMMANDS[name], sys.argv[1:], COMMANDS[name].script)


def _leave_memory_to_the_system() -> None:
    """Skip the garbage collection at exit, which takes a second with torch imported."""
    atexit.register(gc.freeze)


def run_script(name: str) -> NoReturn:
    """Run a command and exit.

    A script that also holds the work calls this before its imports, so that help and bad settings
    do not wait for them.
    """
    run(name)
    sys.exit(0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `webtext-gpt COMMAND [key=value ...]`."""
    from webtext_gpt.cli import clear_errors, run_command
    from webtext_gpt.help import overview, version

    _leave_memory_to_the_system()
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    with clear_errors():
        if name in ("--help", "-h", "help"):
            print(overview())
        elif name == "--version":
            print(version())
        elif name == "lm-eval":
            from webtext_gpt.lm_eval import main as lm_eval

            sys.argv = [f"{PROGRAM} {name}", *rest]
            lm_eval()
        elif name in COMMANDS:
            run_command(COMMANDS[name], rest, f"{PROGRAM} {name}")
        else:
            near = did_you_mean(name, [*COMMANDS, "lm-eval"])
            hint = f"; {near}" if near else ";"
            raise UserError(f"{name!r} is not a command{hint} {PROGRAM} --help lists them")
