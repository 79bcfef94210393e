"""Units of work of a stage: each is recorded when it is finished, and then not done again."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from data_prep.stage.engine import NATIVE, Engine, each_on
from data_prep.stage.inputs import InputFile
from data_prep.stage.manifest import read_manifest, write_manifest
from data_prep.stage.outputs import OutputHashes
from data_prep.stage.records import Record, Records
from data_prep.stage.workers import advance

Task = TypeVar("Task")


class Units:
    """Units of work of a stage, in this process, in parallel or on a cluster.

    Args:
        work: Folder whose `done/NAME.json` is the record of the finished unit NAME.
        hashes: Takes the hashes of the files of each unit that is finished; None if the stage
            records hashes of its own.
    """

    def __init__(self, work: Path, hashes: OutputHashes | None) -> None:
        self.work = work
        self._hashes = hashes

    def done(self, unit: str) -> Mapping[str, Any] | None:
        """Return the record of a unit of work, or None while it is unfinished."""
        path = self.work / "done" / f"{unit}.json"
        return read_manifest(path) if path.exists() else None

    def run_unit(self, unit: str, work: Callable[[], Record]) -> Record:
        """Run one unit of work in this process, unless an earlier run finished it.

        Args:
            unit: Name of the unit; must not change from run to run.
            work: Does the work and returns its record, as plain JSON values. Its files must be in
                place when it returns.

        Returns:
            The record of this run or of the earlier one.
        """
        if self.done(unit) is None:
            self._finish_unit(unit, work())
        return cast(Record, self.done(unit))

    def run_files(
        self,
        work: Callable[[InputFile], Record],
        files: Sequence[InputFile],
        *,
        label: str,
        workers: int | None,
        engine: Engine = NATIVE,
        memory: int = 0,
    ) -> Records[Record]:
        """Run a unit of work for each file that no earlier run finished, in parallel.

        The longest files come first. `work` reports the bytes that it has read to
        `workers.advance`.

        Args:
            work: Does the work and returns its record, as in `run_unit`. Must be picklable unless
                `workers` is 1.
            files: Input files, each a unit named by its hash; those of equal content are one unit.
            label: Name of the progress bar.
            workers: Number of processes. None means one per core.
            engine: Where the processes run.
            memory: Bytes that a process needs; see `cluster.each`.

        Returns:
            The records of all files, in the order of `files`.

        Raises:
            UserError: `work` raised it for a file, or a file is not as its manifest says. The
                other files are finished first.
        """
        units = {
            file.hash: file for file in sorted(files, key=lambda file: file.size, reverse=True)
        }
        done = self._run(
            partial(_checked, work), units, label=label, workers=workers, engine=engine,
            size=lambda file: file.size, unit="B", memory=memory,
        )  # fmt: skip
        return Records(done[file.hash] for file in files)

    def run_parts(
        self,
        work: Callable[[Task], Record],
        parts: Mapping[str, Task],
        *,
        label: str,
        workers: int | None = None,
        engine: Engine = NATIVE,
    ) -> Records[Record]:
        """Run a unit of work for each part of the data that no earlier run finished.

        Natively, the units run one after the other in this process, and may use all cores by
        threads. On a cluster, they are tasks.

        Args:
            work: Does the work and returns its record, as in `run_unit`. A cluster needs it to be
                picklable.
            parts: Arguments of `work` by the name of their unit, which must not change from run
                to run.
            label: Name of the progress bar.
            workers: Number of tasks at once on a cluster. None means one per core.
            engine: Where the units run.

        Returns:
            The records of all parts, in the order of `parts`.

        Raises:
            UserError: `work` raised it. The other units are finished first.
        """
        at_once = 1 if engine["name"] == "native" else workers
        done = self._run(
            partial(_counted, work), parts, label=label, workers=at_once, engine=engine,
            size=lambda _: 1, unit="part",
        )  # fmt: skip
        return Records(done.values())

    def _run(
        self,
        work: Callable[[Task], Record],
        units: Mapping[str, Task],
        *,
        label: str,
        workers: int | None,
        engine: Engine,
        size: Callable[[Task], int],
        unit: str,
        memory: int = 0,
    ) -> dict[str, Record]:
        """Run the unfinished units, and return the records of all by their names."""
        todo = [(name, task) for name, task in units.items() if self.done(name) is None]
        if todo:
            total = sum(size(task) for _, task in todo)
            for (name, _), record in each_on(
                engine, partial(_of_unit, work), todo, workers,
                total=total, unit=unit, label=label, memory=memory,
            ):  # fmt: skip
                self._finish_unit(name, record)
        return {name: cast(Record, self.done(name)) for name in units}

    def _finish_unit(self, unit: str, record: Mapping[str, Any]) -> None:
        if self._hashes:
            self._hashes.take_new()
        write_manifest(self.work / "done" / f"{unit}.json", record)


def _of_unit(work: Callable[[Task], Record], unit: tuple[str, Task]) -> Record:
    return work(unit[1])


def _counted(work: Callable[[Task], Record], part: Task) -> Record:
    record = work(part)
    advance(1)
    return record


def _checked(work: Callable[[InputFile], Record], file: InputFile) -> Record:
    file.check()
    return work(file)
