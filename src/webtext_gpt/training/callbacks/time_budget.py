"""Training for a number of minutes: the steps that fit are estimated before the first one."""

import copy
import time

import lightning as L
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from webtext_gpt.terminal import say
from webtext_gpt.training.distributed.collectives import greatest_over_ranks
from webtext_gpt.training.lightning_internals import set_max_steps

OPEN = -1
"""Lightning's value of `max_steps` for no limit."""
SHARE = 0.93
"""Fraction of the budget planned for training steps; the rest covers variation in speed."""
FORWARD = 1 / 3
"""Time of a forward pass, as a fraction of that of a forward and a backward pass."""
PROBE_SECONDS = 3.0
FEWEST_PASSES = 4


class TimeBudget(L.Callback):
    """Ends training after a time; sets `max_steps`, if it is open, to the steps that fit.

    A learning-rate schedule needs to know the last step. The number of steps is therefore fixed
    before the first one and saved in checkpoints, so that a resumed run ends at the same step. A
    run that is resumed with another time plans again: the steps taken, and those that fit into the
    rest of the time.

    Args:
        minutes: wall-clock minutes of training, including the runs that this one resumes.
        is_estimate: whether the number of steps was or will be estimated from the time alone.
        taken_steps: optimizer steps taken by the run that this one resumes.
        taken_seconds: seconds that they took.

    Attributes:
        is_over: whether this callback has ended training.
    """

    def __init__(
        self,
        minutes: float,
        *,
        is_estimate: bool = True,
        taken_steps: int = 0,
        taken_seconds: float = 0.0,
    ) -> None:
        self.minutes = minutes
        self.is_estimate = is_estimate
        self.taken_steps = taken_steps
        self.taken_seconds = taken_seconds
        self.is_over = False
        self._last_step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take no further step if the time was up before the run was interrupted."""
        self._last_step = trainer.global_step
        self._stop_in_time(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: object
    ) -> None:
        """Stop after an optimizer step once rank 0's time is up."""
        if trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        self._stop_in_time(trainer, pl_module)

    def _stop_in_time(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        is_over = trainer.is_global_zero and pl_module.seconds > 60 * self.minutes
        if greatest_over_ranks(int(is_over)):
            trainer.should_stop = self.is_over = True

    @rank_zero_only
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print why training ended."""
        if self.is_over and trainer.global_step < trainer.max_steps:
            why = "; steps have become slower than when they were planned"
            say(
                f"training ends at step {trainer.global_step:,} of {trainer.max_steps:,}: "
                f"the time of trainer.max_minutes={self.minutes:g} is over"
                f"{why if self.is_estimate else ''}",
                label="note",
            )

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Estimate the number of steps on rank 0, and broadcast it."""
        if stage == "fit" and trainer.max_steps == OPEN:
            steps = self._steps(trainer, pl_module) if trainer.is_global_zero else 0
            set_max_steps(trainer, trainer.strategy.broadcast(steps))

    def _steps(self, trainer: L.Trainer, pl_module: L.LightningModule) -> int:
        """Return the steps that fit, estimated by timing passes of a copy of the model."""
        device = trainer.strategy.root_device
        probe = copy.deepcopy(pl_module.model).to(device)
        one_pass, n_tokens = pl_module.timed_pass(probe)
        half = str(trainer.precision).startswith("bf16")
        times: list[float] = []
        while len(times) < FEWEST_PASSES or sum(times[1:]) < PROBE_SECONDS:
            started = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=half), torch.random.fork_rng():
                one_pass()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
        typical = sorted(times[1:])[len(times) // 2 - 1]  # the first warms up
        step = typical * trainer.accumulate_grad_batches
        # The update takes a small part of a step on GPUs; with several processes it needs all.
        if device.type == "cpu" and trainer.world_size == 1:
            optimizer = pl_module.make_optimizer(probe)
            for parameter in probe.parameters():
                parameter.grad = torch.ones_like(parameter)
            optimizer.step()  # allocates the moments
            started = time.perf_counter()
            optimizer.step()
            step += time.perf_counter() - started
        seconds = SHARE * (60 * self.minutes - self.taken_seconds)
        pass_per_token = FORWARD * typical / n_tokens / trainer.world_size
        validation, last = (pass_per_token * n for n in trainer.datamodule.validated_tokens)
        seconds -= min(last, seconds / 2)  # a short run must leave time for training, too
        interval = trainer.val_check_interval // trainer.accumulate_grad_batches
        fitting = int(seconds / (step + validation / interval))
        return self.taken_steps + max(1, fitting)


def ended_by_time(trainer: L.Trainer) -> bool:
    """Return whether a time budget has ended training."""
    return any(isinstance(c, TimeBudget) and c.is_over for c in trainer.callbacks)


def random_tokens(trainer: L.Trainer, vocab_size: int) -> Tensor:
    """Return a micro-batch of ids, `(micro_batch_size, block_size)`, to time passes with."""
    generator = torch.Generator().manual_seed(0)  # does not change training's random state
    shape = (trainer.datamodule.micro_batch_size, trainer.datamodule.block_size)
    tokens = torch.randint(vocab_size, shape, generator=generator)
    return tokens.to(trainer.strategy.root_device)
