"""The checkpoints of one model that the explorer offers: all that a run has kept, or just one."""

from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.checkpoint.absent import FOLDER, no_checkpoint, run_of
from webtext_gpt.checkpoint.parts import COMPLETE
from webtext_gpt.checkpoint.store import BEST, LAST, saved_checkpoints
from webtext_gpt.errors import UserError
from webtext_gpt.paths import local_path
from webtext_gpt.weights import find_format
from webtext_gpt.weights.foreign import ForeignPath

ONLY = "model"
"""Id of the checkpoint of a model that has only one."""


@dataclass(frozen=True)
class Kept:
    """One checkpoint.

    Attributes:
        id: its name in addresses and requests.
        label: its name on the page.
        step: optimizer steps that it was trained for; None if its name does not contain them.
        path: argument of `webtext_gpt.checkpoint.load.load`.
    """

    id: str
    label: str
    step: int | None
    path: str | Path


class Checkpoints:
    """The checkpoints of the model that the user named.

    Args:
        given: a value of `checkpoint=`, as in every command.
        prefix: beginning of their ids.

    Attributes:
        name: the model's name on the page.
        run_dir: folder of their run; None if they are not in a run's folder.
    """

    def __init__(self, given: str, prefix: str = "") -> None:
        self.given = given
        self.prefix = prefix
        path = local_path(given, "checkpoint")
        named = path if path.name not in ("", "..") else path.resolve()
        self.name = named.name if path.exists() else given
        is_one = not (path / FOLDER).is_dir() or (path / COMPLETE).is_file()
        self._is_run = not is_one and find_format(ForeignPath(given)) is None
        self.run_dir = path if self._is_run else run_of(path.absolute()) if path.exists() else None

    def kept(self) -> list[Kept]:
        """Return the checkpoints by step; a run that is training makes new ones and removes old.

        Raises:
            UserError: the run has none.
        """
        if not self._is_run:
            path = local_path(self.given, "checkpoint")
            return [Kept(self.prefix + ONLY, self.name, _step(path.resolve()), self.given)]
        folder = local_path(self.given) / FOLDER
        saved = saved_checkpoints(folder.parent)[::-1]
        if not saved:
            raise UserError(no_checkpoint(folder.parent))
        best, last = _target(folder / BEST), _target(folder / LAST)
        marks = {last: " (last)", best: " (best)"}
        return sorted(
            (
                Kept(self.prefix + path.stem, _label(path) + marks.get(path.name, ""), step, path)
                for path in saved
                for step in [_step(path)]
            ),
            key=lambda kept: -1 if kept.step is None else kept.step,
        )

    def preferred(self) -> list[Kept]:
        """Return the checkpoints in the order in which `load` prefers them: best, last, newest."""
        newest = self.kept()[::-1]
        if not self._is_run:
            return newest
        folder = local_path(self.given) / FOLDER
        first = [_target(folder / BEST), _target(folder / LAST)]
        rank = {name: place for place, name in reversed(list(enumerate(first)))}
        return sorted(newest, key=lambda kept: rank.get(Path(kept.path).name, len(first)))


def _target(link: Path) -> str:
    """Return the name of the checkpoint that a run's link points to; empty if it is absent."""
    return link.readlink().name if link.is_symlink() else link.name if link.exists() else ""


def _step(path: Path) -> int | None:
    digits = path.stem.removeprefix("step-")
    return int(digits) if digits.isdecimal() and path.stem.startswith("step-") else None


def _label(path: Path) -> str:
    step = _step(path)
    return path.stem if step is None else f"step {step:,}"
