"""`trainer.profiler`: where the time of training goes, written into the run's folder."""

import contextlib
import itertools
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from torch.profiler import ProfilerAction, ProfilerActivity, schedule

from webtext_gpt.files import replaced
from webtext_gpt.terminal import say

RECORDED = 3
"""Micro-batches that `TraceProfile` records. Few, since a trace holds every operation."""
SKIPPED = 5
"""Optimizer steps before the recorded ones, in which kernels and memory warm up."""


def profiler(kind: str) -> Profiler | None:
    """Return the profiler of Lightning that `Profile` needs; `TraceProfile` needs none."""
    if kind == "simple":
        return SimpleProfiler()
    return AdvancedProfiler(line_count_restriction=30) if kind == "advanced" else None


class Profile(L.Callback):
    """Writes the trainer's profile when training ends, is interrupted or fails.

    The file is `profile.txt`; other ranks write `profile-rank1.txt` and so on, and a resumed run
    `profile-2.txt`.

    Args:
        run_dir: the run's folder.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.path = run_dir / "profile.txt"
        self._first_step: int | None = None  # None: training has not begun, or all is written

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Choose a name that no file has yet."""
        self._first_step = trainer.global_step + 1
        rank = f"-rank{trainer.global_rank}" if trainer.global_rank else ""
        names = (f"profile{rank}{f'-{n}' if n > 1 else ''}.txt" for n in itertools.count(1))
        self.path = next(path for name in names if not (path := self.run_dir / name).exists())

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the profile."""
        self._write(trainer)

    def on_exception(self, trainer: L.Trainer, *args: object) -> None:
        """Write the profile up to here; if that fails, the first error is the one to report."""
        with contextlib.suppress(OSError, RuntimeError):
            self._write(trainer)

    def report(self, trainer: L.Trainer) -> str:
        """Return the text of the profile."""
        return trainer.profiler.summary()

    def _write(self, trainer: L.Trainer) -> None:
        if self._first_step is None:
            return
        steps = f"from optimizer step {self._first_step}, ended after step {trainer.global_step}"
        self._first_step = None
        text = self.report(trainer)
        with replaced(self.path) as partial:
            partial.write_text(f"Training {steps}\n\n{text}\n", encoding="utf-8")
        if trainer.is_global_zero:
            say(f"profile     {self.path}")


class TraceProfile(Profile):
    """Records `RECORDED` micro-batches with PyTorch's profiler: a trace, and a table of it.

    The trace is `profile-trace.json`, beside `profile.txt` and named like it. The first recorded
    micro-batch ends an optimizer step. Recording stops before a validation, which could make the
    trace grow without limit.
    """

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir)
        self._profiler: torch.profiler.profile | None = None
        self._table = "training ended before the micro-batches to record"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start to count micro-batches, and say which will be recorded."""
        super().on_train_start(trainer, pl_module)
        steps = trainer.max_steps - trainer.global_step
        skipped = max(0, min(SKIPPED, steps - RECORDED))
        before = (skipped + 1) * trainer.accumulate_grad_batches - 1  # micro-batches
        on_cuda = pl_module.device.type == "cuda"
        self._profiler = torch.profiler.profile(
            activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])],
            schedule=schedule(
                wait=max(0, before - 1), warmup=min(1, before), active=RECORDED, repeat=1
            ),
            on_trace_ready=self._keep,
            acc_events=True,  # without it, torch warns that it forgets the events of earlier cycles
        )
        self._profiler.start()
        if trainer.is_global_zero:
            say(
                f"profile     {RECORDED} micro-batches, from step "
                f"{trainer.global_step + skipped + 1}, will be recorded in {self._trace}"
            )

    def on_train_batch_end(self, *args: object) -> None:
        """Go on to the next micro-batch."""
        if self._profiler is not None:
            self._profiler.step()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """End the recording, if there is one."""
        if self._profiler is not None and self._profiler.current_action in (
            ProfilerAction.RECORD,
            ProfilerAction.RECORD_AND_SAVE,
        ):
            self._stop()

    def report(self, trainer: L.Trainer) -> str:
        """Return a table of the operations, the slowest first."""
        self._stop()
        return self._table

    @property
    def _trace(self) -> Path:
        return self.path.with_name(self.path.stem.replace("profile", "profile-trace") + ".json")

    def _stop(self) -> None:
        if self._profiler is not None:
            running, self._profiler = self._profiler, None
            running.stop()  # calls `_keep` if it has recorded anything that is not written yet

    def _keep(self, recorded: torch.profiler.profile) -> None:
        with replaced(self._trace) as partial:
            recorded.export_chrome_trace(str(partial))
        key = "self_cpu_time_total"
        if ProfilerActivity.CUDA in recorded.activities:
            key = "self_device_time_total"
        self._table = recorded.key_averages().table(sort_by=key, row_limit=40)
