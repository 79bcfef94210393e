"""Training for a number of minutes: the steps that fit are estimated before the first one."""

import copy
import time

import lightning as L
import torch

from webtext_gpt.model import Documents, cross_entropy, language_model
from webtext_gpt.training.lightning_internals import set_max_steps

OPEN = -1
"""Lightning's value of `max_steps` for no limit."""
SHARE = 0.85
"""Fraction of the budget planned for training steps; the rest covers validation and variation."""
PROBE_SECONDS = 3.0
FEWEST_PASSES = 4


class TimeBudget(L.Callback):
    """Ends training after a time; sets `max_steps`, if it is open, to the steps that fit.

    A learning-rate schedule needs to know the last step. The number of steps is therefore fixed
    before the first one and saved in checkpoints, so that a resumed run ends at the same step.

    Args:
        minutes: wall-clock minutes of training.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._last_step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Remember the step at which training starts."""
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: object
    ) -> None:
        """Stop after an optimizer step once rank 0's time is up."""
        if trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        if trainer.strategy.broadcast(pl_module.seconds > 60 * self.minutes):
            trainer.should_stop = True

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Estimate the number of steps on rank 0, and broadcast it."""
        if stage == "fit" and trainer.max_steps == OPEN:
            steps = self._steps(trainer, pl_module) if trainer.is_global_zero else 0
            set_max_steps(trainer, trainer.strategy.broadcast(steps))

    def _steps(self, trainer: L.Trainer, pl_module: L.LightningModule) -> int:
        """Return the steps that fit, by timing passes of a copy of the model on random tokens."""
        device = trainer.strategy.root_device
        probe = language_model(copy.deepcopy(pl_module.model)).to(device)
        generator = torch.Generator().manual_seed(0)  # does not change training's random state
        data = trainer.datamodule
        shape = (data.micro_batch_size, data.block_size)
        tokens = torch.randint(probe.config.vocab_size, shape, generator=generator).to(device)
        masked = getattr(pl_module, "mask_documents", False)
        documents = Documents(tokens, pl_module.tokenizer.end_of_text) if masked else None
        half = str(trainer.precision).startswith("bf16")
        times: list[float] = []
        while len(times) < FEWEST_PASSES or sum(times) < PROBE_SECONDS:
            started = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=half), torch.random.fork_rng():
                cross_entropy(probe(tokens, documents=documents), tokens).backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - started)
        typical = sorted(times[1:])[len(times) // 2 - 1]  # the first warms up kernels
        return max(1, int(SHARE * 60 * self.minutes / (typical * trainer.accumulate_grad_batches)))
