"""train.py with an injected fault or a probe. The processes that it starts run this file, too.

POISON=STEP:RANK makes the loss of the first micro-batch of that step NaN on that rank.
PROBE=FILE writes the settings that DeepSpeed received.
"""

import json
import math
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from webtext_gpt.commands import run
from webtext_gpt.training.pretrain import PretrainingModule


def poison(step: int, rank: int) -> None:
    healthy = PretrainingModule.training_step

    def training_step(self, batch, batch_idx):
        loss = self.loss
        if (self.global_step + 1, self.global_rank, len(self._step_losses)) == (step, rank, 0):
            self.loss = lambda *batch: loss(*batch) * math.nan
        try:
            return healthy(self, batch, batch_idx)
        finally:
            self.loss = loss

    PretrainingModule.training_step = training_step


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
        poison(*map(int, os.environ["POISON"].split(":")))
    if "PROBE" in os.environ:
        probe(os.environ["PROBE"])
    run("train")
