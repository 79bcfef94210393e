"""The commands that the documentation gives its reader to type, read from the pages in order."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from webtext_gpt.commands import COMMANDS, PROGRAM

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
NO_CALLS_IN_PROSE = ("decisions.md", "configuration.md", "performance.md")
"""A log of what was decided, and two generated pages: their sentences name commands, also of
former days, and tell nobody to type them."""

PROGRAMS = {
    *("python", ".venv/bin/python", PROGRAM, "make", "pip", "docker", "torchrun", "srun"),
    *("source", ".venv/bin/pre-commit", "echo", "cat"),
}
"""First words of a line that is a command. The other lines of a script are the shell's own."""


@dataclass(frozen=True)
class Documented:
    """A command of the documentation.

    Attributes:
        text: what identifies it: the line without its comment, of a here-document the first one.
        words: the line as a shell reads it, redirections included.
        here: the lines of its here-document.
    """

    text: str
    words: tuple[str, ...]
    here: str | None = None

    def call(self) -> tuple[str, list[str]] | None:
        """Return name and arguments of a command of ours, by its script or by the program."""
        words = [self.words[0].removeprefix(".venv/bin/"), *self.words[1:]]
        for command in COMMANDS.values():
            for called in (command.script.split(), [PROGRAM, command.name]):
                if words[: len(called)] == called:
                    return command.name, words[len(called) :]
        return None


@cache
def commands() -> tuple[Documented, ...]:
    """Return every command of the pages once, in the order in which a reader meets them.

    Commands are the lines of fenced blocks, and code in sentences that has arguments. Code that is
    only the name of one of our commands (`python train.py`) is no call.
    """
    found: dict[str, Documented] = {}
    for page in PAGES:
        for command in _of_page(page):
            found.setdefault(command.text, command)
    return tuple(found.values())


def _of_page(page: Path) -> Iterator[Documented]:
    """Yield the commands of a page, those of sentences between the blocks."""
    for number, part in enumerate(re.split(r"^ *```", page.read_text("utf-8"), flags=re.M)):
        if number % 2:
            language, _, block = part.partition("\n")
            yield from _of_block(block, is_shell=language == "bash")
        elif page.name not in NO_CALLS_IN_PROSE:
            for code in re.findall(r"`([^`]+)`", part):
                if _is_call(code):
                    yield _command(" ".join(code.split()))


def _of_block(block: str, *, is_shell: bool) -> Iterator[Documented]:
    """Yield the commands of a fenced block; of one that is no shell's, calls of Python alone."""
    is_script = block.startswith("#!")
    rest = block.replace("\\\n", " ").splitlines()
    while rest:
        line, here = rest.pop(0).strip(), None
        if end := re.search(r"<<'(\w+)'", line):
            last = rest.index(end[1])
            here, rest = "\n".join([*rest[:last], ""]), rest[last + 1 :]
        if not line or line.startswith("#"):
            continue
        is_command = line.split()[0] in PROGRAMS
        if is_shell:
            assert is_command or is_script, f"is {line!r} a command? Add its program to PROGRAMS"
        elif not line.startswith("python "):
            continue
        if is_command:
            yield _command(line, here)


def _command(line: str, here: str | None = None) -> Documented:
    words = tuple(shlex.split(line, comments=True))
    plain = re.match(r"""(?:'[^']*'|"[^"]*"|(?<=\S)\#|[^'"#])*""", line)
    return Documented(" ".join(plain[0].split()) if plain else line, words, here)


def _is_call(code: str) -> bool:
    """Return whether code is a command with arguments, rather than its name: `python -m a.b`."""
    words = code.split()
    if len(words) < 2 or words[0] not in PROGRAMS:
        return False
    if words[0] == PROGRAM:  # "webtext-gpt token shards" is a format
        return len(words) > 2 and words[1] in COMMANDS
    return code not in {c.script for c in COMMANDS.values()} | {"python SCRIPT.py"}
