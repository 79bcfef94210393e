"""Train once and record the validation loss by tokens and by seconds in `curve.json`.

    python benchmarks/curve.py FOLDER [key=value ...]

Runs `train.py` with the given settings in FOLDER, without checkpoints and samples. Each point of
the curve is a validation: step, tokens, CPU and elapsed seconds of the process since training
began, without validations, and the validation loss in nats a token. A folder with a `curve.json`
is finished; one without it starts again.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from benchmarks.common.timing import cpu_seconds
from webtext_gpt.data.shards import holds_shards
from webtext_gpt.files import replaced
from webtext_gpt.machine import cores

REPOSITORY = Path(__file__).parents[1]
CURVE = "curve.json"
ALWAYS = (
    "callbacks.checkpoints=null", "callbacks.samples=null", "callbacks.loss_curve=null",
    "trainer.devices=1",
)  # fmt: skip


class Point(NamedTuple):
    """A validation, and the cost of training until then."""

    step: int
    tokens: int
    cpu: float
    wall: float
    loss: float


def corpus_settings(corpus: str) -> list[str]:
    """Return the settings of a corpus: `docstrings`, a folder of token shards, or texts."""
    if corpus == "docstrings":
        return ["data=docstrings"]
    return [f"data={'shards' if holds_shards(Path(corpus)) else 'files'}", f"data.path={corpus}"]


def device_settings(accelerator: str) -> list[str]:
    """Return the settings of a kind of device on which losses are to equal those of a CPU."""
    return [f"trainer.accelerator={accelerator}", "trainer.precision=32-true", "compile=false"]


def available_cores() -> list[int | None]:
    """Return the cores that runs can be bound to; None for each if the system cannot bind them."""
    if not hasattr(os, "sched_getaffinity"):
        return [None] * cores()
    return sorted(os.sched_getaffinity(0))


def read_curve(folder: Path, settings: Sequence[str]) -> list[Point] | None:
    """Return the points of a finished run, in order; None if it is not finished.

    Raises:
        RuntimeError: the run had other settings.
    """
    path = folder / CURVE
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"] != list(settings):
        raise RuntimeError(
            f"{folder} has a run with other settings, {' '.join(found['settings'])}, not "
            f"{' '.join(settings)}; give another folder"
        )
    return [Point(*point) for point in found["points"]]


def run_curve(
    folder: Path, settings: Sequence[str], *, core: int | None = None, threads: int | None = 1
) -> list[Point]:
    """Run a training in a process of its own, unless it is finished, and return its curve.

    Args:
        folder: folder of the run; files of an unfinished run there are removed.
        settings: arguments of `train.py`.
        core: the only CPU core it may use; None for all.
        threads: number of torch's threads; None for its default.

    Raises:
        RuntimeError: it failed; its output is in `output.txt` of the folder. Or the folder has a
            finished run with other settings.
    """
    found = read_curve(folder, settings)
    if found is not None:
        return found
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    limits = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    with (folder / "output.txt").open("wb") as output:
        command = [sys.executable, str(Path(__file__)), str(folder), *settings]
        with subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **limits}, cwd=REPOSITORY
        ) as process:
            if core is not None:
                os.sched_setaffinity(process.pid, {core})
    curve = read_curve(folder, settings)
    if process.returncode or curve is None:
        raise RuntimeError(f"{' '.join(settings)} failed: see {folder / 'output.txt'}")
    return curve


def train(folder: Path, settings: Sequence[str]) -> None:
    """Train in this process and write the curve."""
    import lightning as L

    from webtext_gpt.cli import parse, read_settings
    from webtext_gpt.commands import COMMANDS
    from webtext_gpt.training import pretrain

    class Recorder(L.Callback):
        """Records the curve. The clock is stopped during validations."""

        def __init__(self) -> None:
            self.points: list[Point] = []
            self._spent = (0.0, 0.0)
            self._since = (0.0, 0.0)

        def on_train_start(self, *args: Any) -> None:
            self._since = (cpu_seconds(), time.perf_counter())

        def on_validation_start(self, trainer: L.Trainer, *args: Any) -> None:
            if not trainer.sanity_checking:
                now = (cpu_seconds(), time.perf_counter())
                self._spent = (
                    self._spent[0] + now[0] - self._since[0],
                    self._spent[1] + now[1] - self._since[1],
                )

        def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            if not trainer.sanity_checking:
                step, loss = trainer.global_step, float(trainer.callback_metrics["val_loss"])
                tokens = step * module.tokens_per_step
                self.points.append(Point(step, tokens, *self._spent, loss))
                self._since = (cpu_seconds(), time.perf_counter())

    recorder = Recorder()
    compose = pretrain.compose_trainer

    def composed(*args: Any, **named: Any) -> L.Trainer:
        trainer = compose(*args, **named)
        trainer.callbacks.append(recorder)
        return trainer

    command = COMMANDS["train"]
    with patch.object(pretrain, "compose_trainer", composed):
        pretrain.pretrain(
            read_settings(
                command, parse([*ALWAYS, *settings, f"run_dir={folder / 'run'}"], command)
            )
        )
    with replaced(folder / CURVE) as partial:
        curve = {"settings": list(settings), "points": recorder.points}
        partial.write_text(json.dumps(curve) + "\n", encoding="utf-8")


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2:])
