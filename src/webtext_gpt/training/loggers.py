"""Loggers: `metrics.csv` in every run, and optionally TensorBoard or Weights & Biases."""

import csv
import glob
import os
import secrets
import shlex
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.checkpoint.background import announced_if_slow
from webtext_gpt.commands import program
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced, write_text
from webtext_gpt.terminal import from_here, quoted, say
from webtext_gpt.training.metrics import METRICS, read_metrics

WANDB_ID = "wandb_id.txt"
WANDB_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")


class CSVLogger(Logger):
    """Writes one row to `metrics.csv` for each optimizer step that logged something.

    Metrics of one step are merged into its row. A resumed run keeps the rows up to its first step.

    Args:
        run_dir: the run's folder.
        first_step: the step that the run resumes from.
    """

    def __init__(self, run_dir: str | Path, first_step: int = 0) -> None:
        super().__init__()
        self.path = Path(run_dir) / METRICS
        self._columns: list[str] = ["step"]
        self._rows: dict[int, dict[str, Any]] = {}
        self._written = -1  # last step in the file
        self._must_rewrite = True
        for row in read_metrics(self.path):
            if row["step"] <= first_step:
                self._add(int(row["step"]), row)

    @property
    def name(self) -> str:
        """Empty; required by Lightning, but the run's folder carries the name."""
        return ""

    @property
    def version(self) -> str:
        """Empty; required by Lightning, but a run has one version."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Do nothing: the run's folder holds the composed configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add metrics to the row of `step`."""
        self._add(step or 0, {k: v for k, v in metrics.items() if k != "epoch"})

    def _add(self, step: int, metrics: dict[str, Any]) -> None:
        new = [name for name in metrics if name not in self._columns]
        self._columns += new
        self._rows.setdefault(step, {}).update(metrics, step=step)
        self._must_rewrite |= bool(new) or step <= self._written

    @rank_zero_only
    def save(self) -> None:
        """Append new rows, or rewrite the file if a column or an earlier row is new."""
        with announced_if_slow(str(self.path)):
            self._write()

    def _write(self) -> None:
        if self._must_rewrite:
            with replaced(self.path) as partial, partial.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, self._columns)
                writer.writeheader()
                writer.writerows(self._rows[step] for step in sorted(self._rows))
        else:
            with self.path.open("a", newline="") as stream:
                new = [step for step in reversed(self._rows) if step > self._written]
                rows = [self._rows[step] for step in reversed(new)]
                csv.DictWriter(stream, self._columns).writerows(rows)
        self._must_rewrite = False
        self._written = max(self._rows, default=-1)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the remaining rows."""
        self.save()


def tensorboard(run_dir: str, first_step: int = 0) -> TensorBoardLogger:
    """Return a logger of TensorBoard event files, for `tensorboard --logdir RUN_DIR`.

    Args:
        run_dir: the run's folder.
        first_step: the step that the run resumes from; TensorBoard hides events of later steps.
    """
    import tensorboard  # noqa: F401 - Lightning's message names other packages if it is missing

    return TensorBoardLogger(run_dir, name="tensorboard", version="", purge_step=first_step + 1)


def wandb(run_dir: str, project: str, name: str | None = None, first_step: int = 0) -> WandbLogger:
    """Return a Weights & Biases logger: online with an account, else offline in the run's folder.

    `WANDB_MODE` overrides this choice. An offline run can be uploaded later, see `location`. A
    resumed run continues the same Weights & Biases run, by the id that `save_run_id` wrote.

    Args:
        run_dir: the run's folder.
        project: the project's name.
        name: the run's name; `None` means the name of its folder.
        first_step: ignored, because steps are an ordinary metric of Weights & Biases.

    Raises:
        UserError: `WANDB_MODE` is not a mode.
    """
    import wandb as client

    if client.run is not None:
        client.finish()  # an earlier run of this process, in a sweep: Lightning would go on with it
    mode = os.environ.get("WANDB_MODE")
    if mode is None:
        try:
            mode = "online" if client.login(prompt=False) else "offline"
        except client.errors.Error as error:  # an account, but no connection
            reason = f"Weights & Biases cannot be reached, so the run is kept offline: {error}"
            say(reason, label="note")
            mode = "offline"
    elif mode not in WANDB_MODES:
        raise UserError(f"WANDB_MODE={mode} is not one of {', '.join(WANDB_MODES)}")
    kept = Path(run_dir) / WANDB_ID
    logger = _Wandb(
        project=project,
        name=name or Path(run_dir).name,
        save_dir=run_dir,
        mode=mode,
        id=kept.read_text().strip() if kept.is_file() else secrets.token_hex(4),
        resume="allow",
        # `location` says where the run is. Offline, no message about the network can be lost.
        settings=(
            client.Settings(silent=True)
            if mode == "offline"
            else client.Settings(quiet=True, show_info=False)
        ),
    )
    logger._wandb_init.pop("anonymous", None)  # Lightning's; wandb warns that it has no effect
    return logger


class _Wandb(WandbLogger):
    """Lightning's logger, which connects at the first use; a refusal is a message."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """See `WandbLogger.experiment`."""
        from wandb.errors import Error

        try:
            return super().experiment
        except Error as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"Weights & Biases cannot be reached: {reason}; WANDB_MODE=offline keeps the run "
                "in its folder, to be uploaded later"
            ) from error


def save_run_id(logger: Logger, run_dir: Path) -> None:
    """Write a Weights & Biases id into the run's folder, so that a resumed run can reuse it."""
    if isinstance(logger, WandbLogger):
        write_text(run_dir / WANDB_ID, f"{logger.version}\n")


def location(logger: Logger) -> str | None:
    """Return lines that say where a logger's output is and how to open it, if it has any."""
    if isinstance(logger, TensorBoardLogger):
        opens = f"{program('tensorboard')} --logdir {shlex.quote(logger.log_dir)}"
        return f"tensorboard\n  {opens}"
    if isinstance(logger, WandbLogger):
        run = logger.experiment
        if run.disabled:
            return "wandb       disabled by WANDB_MODE"
        upload = wandb_sync(Path(logger.save_dir or "."), run.id)
        if run.offline:
            return f"wandb       offline; upload it:\n  {upload}"
        earlier = f"; upload its offline parts:\n  {upload}" if upload else ""
        return f"wandb       {run.url}{earlier}"
    return None


def wandb_sync(run_dir: Path, run_id: str) -> str:
    """Return the command that uploads the offline parts of a Weights & Biases run.

    Each start of a run makes a part, `wandb/offline-run-TIME-ID`. A call with all of them uploads
    them in order as one run, and leaves out what is uploaded already.
    """
    parts = sorted((run_dir / "wandb").glob(f"offline-run-*-{glob.escape(run_id)}"))
    if not parts:
        return ""
    return f"{program('wandb')} sync {quoted(*map(from_here, parts))}"
