"""Fixtures for examples: files of rows, a dataset of the hub, the tasks under conf/task."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.run import open_task


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """`write(name, rows)`: write rows or text to a file, in the format of its suffix."""

    def _write(name: str, rows: list[dict[str, Any]] | str) -> str:
        file = tmp_path / name
        if isinstance(rows, str):
            file.write_text(rows)
        elif file.suffix == ".parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
        else:
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(file)

    return _write


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder as `datasets` saves it; labels are class numbers, in an order of their own."""
    folder = tmp_path_factory.mktemp("hub")
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["worse", "same", "better", "unused"]),
            "score": datasets.Value("float32"),
        }
    )
    for split, labels in {"train": [2, 0, 1, 2] * 25, "validation": [0, 1], "test": [-1]}.items():
        columns = {
            "text": [f"{split} {number}" for number in range(len(labels))],
            "label": labels,
            "score": [0.5] * len(labels),
        }
        dataset = datasets.Dataset.from_dict(columns, features=features)
        dataset.to_parquet(folder / f"{split}.parquet")
    return str(folder)


@pytest.fixture(scope="session")
def load_task(compose: Callable[..., Any]) -> Callable[..., Task]:
    """`load_task(name, *overrides)`: a task of conf/task, with `key=value` as on a command line."""

    def _load_task(name: str, *overrides: str) -> Task:
        keys = [f"task.{override}" for override in overrides]
        return open_task(compose("finetune", f"task={name}", *keys).task)

    return _load_task
