"""Settings that pretraining and fine-tuning share."""

import os
from datetime import datetime
from typing import Annotated, Self

from pydantic import model_validator

from webtext_gpt.settings.average import Average
from webtext_gpt.settings.base import Settings, keys, setting
from webtext_gpt.settings.callbacks import Callbacks
from webtext_gpt.settings.kinds import OneOf, PathText, Switch, Whole
from webtext_gpt.settings.lists import Either
from webtext_gpt.settings.optimization import Guard, Muon, Optimizer, Scheduler
from webtext_gpt.settings.training import FSDP, DeepSpeed, Logger, Strategy, Trainer

AUTO = "auto"
"""Value of `resume` that starts a run, or resumes it if its folder holds one."""

Seed = Annotated[int, Whole(0, 2**32 - 1)]


def dated(parent: str) -> str:
    """Return a folder named after the present time."""
    return f"{parent}/{datetime.now():%Y-%m-%d_%H-%M-%S}"


def cache_folder() -> str:
    """Return the default cache: `WEBTEXT_GPT_CACHE`, or a folder in the user's home."""
    return os.environ.get("WEBTEXT_GPT_CACHE") or "~/.cache/webtext-gpt"


class RunSettings(Settings):
    """A training run in a folder of its own."""

    run_dir: Annotated[str, PathText()] = setting(
        lambda: dated("runs"),
        "folder for everything that the run writes",
        common=True,
        shown="runs/DATE_TIME",
    )
    resume: Annotated[str | None, PathText(what="a run folder or auto", null="a new run")] = (
        setting(
            None,
            "run folder to resume with its settings; auto: start or resume run_dir",
            common=True,
        )
    )
    seed: Seed = setting(1337, "seed of the new weights, dropout and the order of samples")
    compile: Annotated[bool | str, Either((Switch(), OneOf(("auto", "gpu"))))] = setting(
        "gpu",
        "compile the model with torch.compile: faster steps after about a minute, with other "
        "rounding; auto: in pretraining, if that saves time within the run; gpu: auto on GPUs, "
        "false on CPUs",
    )
    activation_checkpointing: Annotated[bool, Switch()] = setting(
        False, "recompute activations in the backward pass: less memory, slower"
    )
    num_workers: Annotated[int, Whole(0, unit="processes")] = setting(
        0, "data-loading workers per device; memory-mapped tokens rarely need any"
    )
    guard: Guard = keys(Guard, common=False)
    optimizer: Optimizer = keys()
    scheduler: Scheduler = keys()
    average: Average | None = keys(None, common=False)
    strategy: Strategy = keys()
    trainer: Trainer = keys(Trainer)
    logger: Logger | None = keys(None)
    callbacks: Callbacks = keys(Callbacks, common=False)

    @model_validator(mode="after")
    def _whole_matrices(self) -> Self:
        strategy = self.strategy
        stage_3 = isinstance(strategy, DeepSpeed) and strategy.stage == 3
        if isinstance(self.optimizer, Muon) and (stage_3 or isinstance(strategy, FSDP)):
            raise ValueError(
                f"optimizer=muon needs whole weight matrices, and strategy="
                f"{'deepspeed_zero3' if stage_3 else 'fsdp'} divides them among devices; use "
                "strategy=deepspeed_zero2, deepspeed_zero1 or ddp, or optimizer=adamw"
            )
        return self
