"""docs/reference/evaluation-tasks.md lists tasks, files and hub names as the code has them."""

import re
from pathlib import Path

from webtext_gpt.evaluation.blimp_sets import SETS
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.registry import BENCHMARKS, OTHERS
from webtext_gpt.evaluation.tasks import core

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "evaluation-tasks.md"
LISTED = {**BENCHMARKS, **OTHERS}
KINDS = {"multiple_choice": "choice", "schema": "schema", "language_modeling": "exact"}
"""Names of `InContextTask.kind` on the page."""


def tables() -> dict[str, list[list[str]]]:
    """Return the cells of the rows of the page's tables, by their header lines."""
    found: dict[str, list[list[str]]] = {}
    header = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            header = ""
        elif not header:
            header = line
        elif set(line) != set("|-"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.setdefault(header, []).append(cells)
    return found


def quoted(cell: str) -> list[str]:
    """Return the names in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def names_of(source: DataSource) -> set[str]:
    """Return every file name and folder of a source, as the page writes them."""
    originals = (name for original in source.originals for name in original.files)
    return {*source.files, *originals, *(f"{folder}/" for folder in source.folders)}


def test_the_files_are_those_that_are_read() -> None:
    listed = {
        task: set(quoted(files))
        for tasks, files in tables()["| task | files |"]
        for task in quoted(tasks)
    }
    assert listed.keys() == LISTED.keys()
    for task, names in listed.items():
        assert names == names_of(LISTED[task].source), task


def test_the_names_on_the_hub_are_those_that_are_loaded() -> None:
    listed = {
        task: None if hub == "-" else hub
        for tasks, _, hub in tables()["| task | metrics | name on the hub |"]
        for task in quoted(tasks)
    }
    assert listed == {
        name: benchmark.source.hub
        for name, benchmark in LISTED.items()
        if name not in ("translation", "music")
    }


def test_the_rows_of_core_are_its_tasks() -> None:
    found = tables()
    folders = {
        file: quoted(folder)[0]
        for folder, files in found["| folder | files |"]
        for file in quoted(files)
    }
    rows = found["| label | shots | kind | baseline |"]
    assert len(rows) == len(core.TASKS) == 22
    for (label, shots, kind, baseline), benchmark in zip(rows, core.TASKS, strict=True):
        task, *other_file = quoted(label)
        assert f"core_{task}" == benchmark.name
        (file,) = other_file or [f"{task}.jsonl"]
        path = f"{folders[file]}{file}"
        assert benchmark.source.files == (file, path, f"eval_data/{path}"), task
        assert [shots, kind] == [str(benchmark.shots), KINDS[benchmark.kind]], task
        versions = [float(value) for value in baseline.split(", now ")]
        assert (versions[0], versions[-1]) == benchmark.baselines, task


def test_the_sets_of_blimp_are_listed_by_term() -> None:
    listed = {quoted(term)[0]: tuple(quoted(sets)) for term, sets in tables()["| term | sets |"]}
    assert listed == SETS
