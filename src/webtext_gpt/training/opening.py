"""Open a run, new or resumed: its folder and lock, its devices, and its checkpoint."""

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.checkpoint.store import (
    Checkpoint,
    open_checkpoint,
    restore_replaced,
    saved_checkpoints,
)
from webtext_gpt.cli import Call
from webtext_gpt.commands import COMMANDS, shell_command
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.extras import check_installed
from webtext_gpt.paths import local_path
from webtext_gpt.settings import saved
from webtext_gpt.settings.base import TARGET
from webtext_gpt.settings.run import AUTO, RunSettings
from webtext_gpt.settings.training import DEFAULT_MINUTES, TensorBoard, Wandb
from webtext_gpt.training.distributed.devices import Devices, external_launcher, find_devices
from webtext_gpt.training.distributed.launcher import CHOSEN, RUN_DIR, follow_parent
from webtext_gpt.training.run_folder import (
    newest_undamaged,
    read_summary,
    refuse_other_run,
)
from webtext_gpt.training.run_lock import WAIT_SECONDS, RunLock
from webtext_gpt.training.strategy import Parallelism


@dataclass(frozen=True)
class Run:
    """A run that is about to start or to resume.

    Used in a `with` statement, at whose end the run's folder is unlocked.
    """

    settings: RunSettings
    folder: Path
    devices: Devices
    checkpoint: Checkpoint | None
    """The checkpoint to resume from."""
    goes_back: bool = False
    """Whether it is an older one, from before the learning rate decayed (`before_decay`)."""
    held: ExitStack = field(default_factory=ExitStack)
    """Releases the lock of the folder."""
    is_locked: bool = False
    """Whether the folder was locked when the run was opened; `fit` locks that of a new run."""
    line: str | None = None
    """The command line, for the report; `None` if the caller is other Python code."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        """Unlock the folder; a Ctrl-C before or after training says how to resume, too.

        Raises:
            Stopped: Ctrl-C has ended the block, and the run has a checkpoint.
        """
        self.held.close()
        if isinstance(error, KeyboardInterrupt) and (found := saved_checkpoints(self.folder)):
            raise Stopped(
                f"interrupted; {found[0].name} is saved. Resume with:\n  {resume_command(self)}",
                exit_code=1,
            ) from None

    @property
    def state(self) -> dict[str, Any] | None:
        """Plain values of the checkpoint."""
        return self.checkpoint.state if self.checkpoint else None

    @property
    def step(self) -> int:
        """Optimizer steps taken so far."""
        return self.state["global_step"] if self.state else 0

    @property
    def planned_minutes(self) -> float | None:
        """Minutes for which the number of steps was estimated; `None` if it was set otherwise."""
        if self.state is None:
            return None
        if "planned_minutes" in self.state:
            minutes: float | None = self.state["planned_minutes"]
            return minutes
        config = saved.load(self.folder)  # earlier versions did not save it
        asked = config.get("trainer") or {}
        if asked.get("max_steps") is not None or asked.get("max_tokens") is not None:
            return None
        return asked.get("max_minutes") or (None if "epochs" in config else DEFAULT_MINUTES)

    @cached_property
    def parallelism(self) -> Parallelism:
        """Distribution of training over the devices."""
        chosen: Parallelism = self.settings.strategy.build(self.devices)
        return chosen


def resume_command(run: Run) -> str:
    """Return the command that resumes a run."""
    settings = type(run.settings)
    (name,) = (n for n, c in COMMANDS.items() if c.settings.endswith(f":{settings.__name__}"))
    return shell_command(name, f"resume={run.folder}")


def open_run(settings: RunSettings, call: Call | None = None) -> Run:
    """Open the run that the settings ask for, new or resumed, and find its devices.

    Args:
        settings: the settings; of a resumed run, those of its `config.yaml`.
        call: the command line; None if the caller is other Python code.

    Raises:
        UserError: the folder holds another run, or none to resume; another process trains in it;
            its checkpoints are damaged; the devices do not exist; or several processes are
            requested in a sweep.
        ModuleNotFoundError: the package of the strategy or of the logger is not installed.
    """
    held = ExitStack()
    try:
        return _open_run(settings, call, held)
    except BaseException:
        held.close()
        raise


def _open_run(settings: RunSettings, call: Call | None, held: ExitStack) -> Run:
    follow_parent()
    folder = local_path(os.environ.get(RUN_DIR) or settings.run_dir, "run_dir")
    checkpoint = None
    is_locked = False
    nodes = settings.trainer.num_nodes
    starter = external_launcher() or (f"trainer.num_nodes={nodes}" if nodes > 1 else None)
    names_folder = call is None or "run_dir" in call.given
    if starter is not None and not settings.resume and not names_folder:
        raise UserError(
            f"{starter} starts several processes, each of which would name the run's folder by "
            "its own clock; give run_dir=..."
        )
    if settings.resume == AUTO:
        if not names_folder:
            raise UserError("resume=auto needs run_dir=..., the same folder at every start")
        if saved.holds_run(folder):
            is_locked = _lock_to_resume(folder, held, wait=WAIT_SECONDS)
            checkpoint = _checkpoint_to_resume(folder, is_locked)
    elif settings.resume:
        is_locked = _lock_to_resume(folder, held)
        checkpoint = _checkpoint_to_resume(folder, is_locked)
    elif rank_zero_only.rank == 0:
        refuse_other_run(folder)
    if checkpoint is not None:
        _refuse_other_optimizer(settings, folder)
    trainer = settings.trainer
    devices = find_devices(trainer.accelerator, trainer.devices, trainer.num_nodes)
    if devices.count > 1 and call is not None and call.in_sweep:
        raise UserError(
            "a sweep (-m) trains with one process at a time, because every other process would "
            "start the sweep again; set trainer.devices=1, or start each run by itself from a "
            "shell loop: for lr in 1e-3 2e-3; do python train.py optimizer.lr=$lr ...; done"
        )
    line = call.line if call is not None else None
    run = Run(settings, folder, devices, checkpoint, held=held, is_locked=is_locked, line=line)
    for package in (run.parallelism.package, _logger_package(settings.logger)):
        if package is not None:
            check_installed(package)
    return run


def _refuse_other_optimizer(settings: RunSettings, folder: Path) -> None:
    """Refuse to resume a run with another optimizer, which could not read the saved states."""
    saved_target = (saved.load(folder).get("optimizer") or {}).get(TARGET)
    target = settings.optimizer.target
    if saved_target not in (None, target):
        theirs, ours = (name.rpartition(".")[2] for name in (saved_target, target))
        raise UserError(
            f"the run in {folder} was trained with optimizer={theirs}, and this call gives "
            f"optimizer={ours}, which cannot go on from the states of the other; leave optimizer= "
            "out, or start a new run in another run_dir"
        )


def _logger_package(logger: TensorBoard | Wandb | None) -> str | None:
    """Return the package that a logger needs."""
    if logger is None:
        return None
    return "wandb" if isinstance(logger, Wandb) else "tensorboard"


def _lock_to_resume(folder: Path, held: ExitStack, wait: float = 0.0) -> bool:
    """Lock a run's folder before anything in it is read; only rank 0 of all machines does.

    A finished run in a folder that cannot be written to is only reported, which needs no lock.

    Returns:
        Whether this process has locked it.
    """
    node = os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or "0"
    if rank_zero_only.rank != 0 or int(node) > 0:
        return False
    if read_summary(folder) and not os.access(folder, os.W_OK):
        return False
    held.enter_context(RunLock(folder, wait))
    return True


def _checkpoint_to_resume(folder: Path, is_locked: bool) -> Checkpoint | None:
    """Return the newest undamaged checkpoint; one process per machine chooses and verifies it."""
    chosen = os.environ.get(CHOSEN)
    if chosen is None:
        if is_locked:
            restore_replaced(folder)
        return newest_undamaged(folder, report=rank_zero_only.rank == 0)
    return open_checkpoint(chosen) if chosen else None


def lock_new(run: Run) -> None:
    """Make and lock the folder of a new run, which another process may have begun meanwhile."""
    run.held.enter_context(RunLock(run.folder))
    if run.checkpoint is None:
        refuse_other_run(run.folder)
