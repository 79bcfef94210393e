"""The files, folders, models and runs that the documentation's commands name as their inputs.

A maker writes one input, small, under the name that the pages give it. It is called when the first
command needs it; further commands get copies. Makers are in the other modules of this folder.
"""

import fnmatch
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

RESULTS = ("out", "run_dir", "export")
"""Keys whose values name no input, unless a maker has key and value as its name."""
DATED = re.compile(r"runs/\d{4}-\d\d-\d\d_[\d-]+")
"""A run without `run_dir=`, which the tutorial shows and tells the reader to replace."""

Run = Callable[..., object]


class Maker(NamedTuple):
    """How an input is made.

    Attributes:
        make: called with all inputs and the path to write.
        uses: names of inputs that have to lie beside it.
    """

    make: Callable[["Inputs", Path], None]
    uses: tuple[str, ...]


MAKERS: dict[str, Maker] = {}


def makes(*names: str, uses: Sequence[str] = ()) -> Callable[[Callable], Callable]:
    """Declare that a function makes inputs.

    Args:
        names: inputs as the pages name them; `KEY=NAME` for what is another as a value of KEY.
        uses: names of other inputs that are made before, and copied beside it.
    """

    def declare(make: Callable[["Inputs", Path], None]) -> Callable:
        MAKERS.update(dict.fromkeys(names, Maker(make, tuple(uses))))
        return make

    return declare


class Inputs:
    """The inputs that were made so far.

    Args:
        root: folder to make them in.
        site: address of a web site on this machine, for links.
    """

    def __init__(self, root: Path, site: str) -> None:
        self.root, self.site = root, site
        self.run: Run = lambda *_: None
        """Runs a command in `root`, and fails if it does; set by each test."""

    def path(self, name: str) -> Path:
        """Return an input's path; it is made if it is not there."""
        path, maker = self.root / name, MAKERS[name]
        for used in maker.uses:
            self.path(used)
        if not path.exists():
            parent = str(Path(name).parent)
            if parent in MAKERS:
                self.path(parent)
            path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            maker.make(self, path)
        return path

    def copy(self, name: str, folder: Path, called: str | None = None) -> None:
        """Copy an input, and what it uses, to a folder, under its name or another."""
        for used in MAKERS[name].uses:
            self.copy(used, folder)
        source, target = self.path(name), folder / (called or name.rpartition("=")[2])
        if target.exists():
            return  # another input uses it, too
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True)
        else:
            shutil.copy(source, target)

    def provide(self, words: Sequence[str], folder: Path) -> None:
        """Copy every input that a command names to its folder."""
        for name, called in _named(words):
            self.copy(name, folder, called)


def _named(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the makers' names of the inputs in a command, and the other name that it gives them."""
    for word in words:
        key, is_setting, values = word.partition("=")
        for value in re.split(r"[\[\],]", values if is_setting else word):
            if f"{key}={value}" in MAKERS:
                yield f"{key}={value}", None
            elif DATED.fullmatch(value):
                yield "runs/DATE_TIME", value
            elif key not in RESULTS:
                path = Path(value)
                known = [str(p) for p in (path, *path.parents) if str(p) in MAKERS]
                known = known[:1] or fnmatch.filter(MAKERS, value)
                yield from ((name, None) for name in known)
