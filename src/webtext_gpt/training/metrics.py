"""Read `metrics.csv`, the figures of a run by step, without the imports of training."""

import csv
from pathlib import Path
from typing import NamedTuple

METRICS = "metrics.csv"


class LossMeaning(NamedTuple):
    """What the losses in a run's `metrics.csv` measure."""

    unit: str = "nats per token"
    """Unit of the validation loss."""
    training: str | None = None
    """How the training loss is made up, if it is not the validation loss of training rows."""


PER_TOKEN = LossMeaning()
"""The losses of a language model."""


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """Return the rows of a `metrics.csv`, without empty cells; none if there is no file.

    A last line that a killed run left incomplete is ignored.
    """
    path = Path(path)
    if not path.is_file():
        return []
    with path.open(newline="") as stream:
        return [
            {name: float(value) for name, value in row.items() if value not in ("", None)}
            for row in csv.DictReader(line for line in stream if line.endswith("\n"))
        ]
