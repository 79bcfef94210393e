"""The loss curve of a run, read again when the run has written more of it."""

import csv
import math
import threading
import time
from pathlib import Path
from typing import Any

from webtext_gpt.errors import UserError
from webtext_gpt.training.metrics import METRICS, read_metrics
from webtext_gpt.training.run_folder import SUMMARY
from webtext_gpt.training.run_lock import FRESH_SECONDS, is_held

MOST_POINTS = 2000
"""Maximum points of a curve; from a longer one, evenly spaced points and the last are returned."""


class Curve:
    """The losses in a run's `metrics.csv`.

    Args:
        run_dir: the run's folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self._read: dict[str, Any] = {}
        self._version: tuple[int, int, int] | None = None
        self._lock = threading.Lock()

    @property
    def exists(self) -> bool:
        """Whether the run has written metrics."""
        return (self.run_dir / METRICS).is_file()

    def points(self) -> dict[str, Any]:
        """Return `train` and `validation`, `[[step, nats per token]]`, `step` and `is_running`.

        Raises:
            UserError: `metrics.csv` is absent or cannot be read.
        """
        path = self.run_dir / METRICS
        with self._lock:
            try:
                found = path.stat()
                version = found.st_ino, found.st_mtime_ns, found.st_size
                if version != self._version:
                    self._read = _losses(read_metrics(path))
                    self._version = version
            except (OSError, ValueError, KeyError, csv.Error) as error:
                raise UserError(
                    f"{path} cannot be read ({error}); there is no loss curve to show"
                ) from error
            return {**self._read, "is_running": self._is_running(found.st_mtime)}

    def _is_running(self, written: float) -> bool:
        """Return whether the run is training: by its lock, or because it has just written.

        The second test is for a folder that is copied or mounted without its lock.
        """
        if is_held(self.run_dir):
            return True
        summary = self.run_dir / SUMMARY
        is_finished = summary.is_file() and summary.stat().st_mtime >= written
        return not is_finished and time.time() - written < FRESH_SECONDS


def _losses(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "train": _thinned(rows, "train_loss"),
        "validation": _thinned(rows, "val_loss"),
        "step": int(rows[-1]["step"]) if rows else 0,
    }


def _thinned(rows: list[dict[str, float]], column: str) -> list[list[float]]:
    points = [
        [int(row["step"]), row[column]] for row in rows if math.isfinite(row.get(column, math.nan))
    ]
    every = -(-len(points) // MOST_POINTS) or 1
    return points[:-1][::every] + points[-1:]
