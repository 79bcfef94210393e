"""train.py with an injected fault or a probe. The processes that it starts run this file, too.

POISON=STEP:RANK[:KIND[:MICRO]] spoils a micro-batch of that step on that rank, see `poisoned`.
PROBE=FILE writes the settings that DeepSpeed received.
COMMAND=finetune runs finetune.py instead.
"""

import json
import math
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from webtext_gpt.commands import run
from webtext_gpt.training.module import TrainingModule


class _InfiniteGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: torch.Tensor) -> torch.Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.inf


KINDS = {"nan": lambda x: x * math.nan, "inf": lambda x: x + math.inf}
KINDS["gradient"] = _InfiniteGradient.apply  # the loss stays finite


def poisoned(
    steps: Collection[int],
    rank: int = 0,
    kind: str = "nan",
    micro_batch: int = 0,
    seen: Callable[[TrainingModule, Any], None] = lambda module, batch: None,
) -> Callable[[TrainingModule, Any, int], torch.Tensor]:
    """Return a `TrainingModule.training_step` that spoils one micro-batch of each given step.

    Args:
        steps: optimizer steps, from 1.
        rank: the process.
        kind: what goes wrong, of `KINDS`.
        micro_batch: number of the micro-batch within the step, from 0.
        seen: called with every micro-batch of these steps, of any process.
    """
    healthy = TrainingModule.training_step

    def training_step(self: TrainingModule, batch: Any, batch_idx: int) -> torch.Tensor:
        loss, step = self.loss, self.global_step + 1
        if step in steps:
            seen(self, batch)
            if (self.global_rank, len(self._step_losses)) == (rank, micro_batch):
                self.loss = lambda *batch: KINDS[kind](loss(*batch))
        try:
            return healthy(self, batch, batch_idx)
        finally:
            self.loss = loss

    return training_step


def probe(file: str) -> None:
    from webtext_gpt.training.distributed.zero import ZeroStrategy

    setup = ZeroStrategy.setup

    def setup_and_write(self, trainer):
        setup(self, trainer)
        engine = self.deepspeed_engine
        groups = engine.optimizer.optimizer.param_groups
        found = {
            "gradient_accumulation_steps": engine.gradient_accumulation_steps(),
            "micro_batch_size": engine.train_micro_batch_size_per_gpu(),
            "batch_size": engine.train_batch_size(),
            "gradient_clipping": engine.gradient_clipping(),
            "stage": engine.zero_optimization_stage(),
            "bf16": engine.bfloat16_enabled(),
            "fp16": engine.fp16_enabled(),
            "dtype": str(next(engine.module.parameters()).dtype),
            "optimizer": type(engine.optimizer.optimizer).__name__,
            "groups": [{k: g[k] for k in ("lr", "betas", "eps", "weight_decay")} for g in groups],
            "own_scheduler": engine.lr_scheduler is not None,
        }
        Path(file).write_text(json.dumps(found))

    ZeroStrategy.setup = setup_and_write


if __name__ == "__main__":
    if "POISON" in os.environ:
        given = os.environ["POISON"].split(":")
        step, rank, kind, micro_batch = given + ["nan", "0"][len(given) - 2 :]
        TrainingModule.training_step = poisoned([int(step)], int(rank), kind, int(micro_batch))
    if "PROBE" in os.environ:
        probe(os.environ["PROBE"])
    run(os.environ.get("COMMAND", "train"))
