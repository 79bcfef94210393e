"""Settings of a training run: `trainer.KEY`, and the choices of `strategy=` and `logger=`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from webtext_gpt.settings.base import Settings, Target, setting
from webtext_gpt.settings.kinds import (
    Number,
    OneOf,
    Switch,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import Either, Listed

NO_FP16 = "training in fp16 needs a loss scale, which is not supported; use bf16-mixed or 32-true"
PRECISION = OneOf(
    ("auto", "32-true", "bf16-mixed", "bf16-true", "64-true"),
    instead={
        **dict.fromkeys(("16", "16-mixed", "16-true", "fp16", "float16", "half"), NO_FP16),
        **dict.fromkeys(("32", "fp32", "float32"), "give 32-true"),
        **dict.fromkeys(("bf16", "bfloat16"), "give bf16-mixed"),
    },
)
DEVICES = Either((OneOf(("auto", "-1")), Whole(1), Listed(Whole(0), bare=False)))
Steps = Whole(1, unit="optimizer steps")
DEFAULT_MINUTES = 5.0
"""Minutes of training when no length is set."""


class Trainer(Settings):
    """Arguments of `lightning.Trainer`, and two of our own: max_tokens and max_minutes."""

    accelerator: Annotated[str, OneOf(("auto", "cpu", "gpu", "cuda", "mps"))] = setting(
        "auto", "kind of device"
    )
    devices: Annotated[str | int | list[int], DEVICES] = setting(
        "auto",
        "how many, or the indices of GPUs; auto: all GPUs, or 1 CPU process",
        common=True,
    )
    num_nodes: Annotated[int, Whole(1)] = setting(1, "number of machines")
    precision: Annotated[str, PRECISION] = setting(
        "auto",
        "auto: bf16-mixed if the hardware has bf16, else 32-true",
        common=True,
    )
    max_steps: Annotated[int | None, Whole(1, unit="optimizer steps", null="no limit")] = setting(
        None, "length of training", common=True
    )
    max_tokens: Annotated[int | None, Whole(1, unit="tokens", null="no limit")] = setting(
        None, "length of training, in pretraining; instead of max_steps"
    )
    max_minutes: Annotated[float | None, Number(above=0, unit="minutes", null="no limit")] = (
        setting(
            None,
            "time limit; if only this is set, as many steps as fit",
            common=True,
        )
    )
    gradient_clip_val: Annotated[float | None, Number(0, null="no clipping")] = setting(
        1.0, "upper limit of the global gradient norm; 0: no clipping"
    )
    log_every_n_steps: Annotated[int, Steps] = setting(10, "interval between logged metrics")
    limit_val_batches: Annotated[
        int | None, Whole(1, unit="batches", null="the complete validation split")
    ] = setting(None, "length of a validation")
    deterministic: Annotated[bool | str, Either((Switch(), OneOf(("warn",))))] = setting(
        False, "use only deterministic kernels of torch; warn: say where there is none"
    )
    benchmark: Annotated[bool, Switch()] = setting(
        False, "let cuDNN try several kernels and keep the fastest"
    )
    detect_anomaly: Annotated[bool, Switch()] = setting(
        False, "find the operation that made a gradient not finite; slow"
    )
    profiler: Annotated[str | None, OneOf(("simple", "advanced", "pytorch"), null="no profile")] = (
        setting(
            None,
            "write where the time goes to profile.txt in the run's folder; simple: of each hook, "
            "advanced: of each Python function, pytorch: of each operation in a few steps, as a "
            "trace too",
        )
    )

    @model_validator(mode="after")
    def _refuse_two_lengths(self) -> Self:
        if self.max_steps is not None and self.max_tokens is not None:
            raise ValueError(
                f"trainer.max_steps={self.max_steps} and trainer.max_tokens={self.max_tokens} both "
                "give the length of training; leave one out"
            )
        return self


class Auto(Target):
    """`strategy=auto`: one process on one device; on several, ZeRO-2 on GPUs and DDP on CPUs."""

    target: Literal["webtext_gpt.training.strategy.automatic"] = setting(alias="_target_")


class DDP(Target):
    """`strategy=ddp`: a full replica on every device; gradients are averaged."""

    target: Literal["webtext_gpt.training.strategy.ddp"] = setting(alias="_target_")
    process_group_backend: Annotated[
        str | None, OneOf(("nccl", "gloo"), null="nccl for GPUs, gloo for CPUs")
    ] = setting(None, "library of collective operations")


class DeepSpeed(Target):
    """`strategy=deepspeed_zero1`, `..._zero2`, `..._zero3`: DeepSpeed's ZeRO."""

    target: Literal["webtext_gpt.training.strategy.deepspeed"] = setting(alias="_target_")
    stage: Annotated[int, Whole(1, 3)] = setting(
        2, "1 divides optimizer states over devices, 2 also gradients, 3 also parameters"
    )
    offload: Annotated[bool, Switch()] = setting(
        False, "keep optimizer states, and in stage 3 parameters, in CPU memory"
    )
    reduce_bucket_size: Annotated[int, Whole(1, unit="values")] = setting(
        50_000_000, "gradient values that are reduced at once"
    )
    allgather_bucket_size: Annotated[int, Whole(1, unit="values")] = setting(
        200_000_000, "parameter values that are gathered at once"
    )


class FSDP(Target):
    """`strategy=fsdp`: PyTorch's sharding of parameters, gradients and optimizer states; GPUs."""

    target: Literal["webtext_gpt.training.strategy.fsdp"] = setting(alias="_target_")
    sharding_strategy: Annotated[str, OneOf(("FULL_SHARD", "SHARD_GRAD_OP"))] = setting(
        "FULL_SHARD", "what is sharded; SHARD_GRAD_OP: gradients and optimizer states only"
    )


Strategy = Annotated[Auto | DDP | DeepSpeed | FSDP, Field(discriminator="target")]


class TensorBoard(Target):
    """`logger=tensorboard`: TensorBoard, in addition to metrics.csv."""

    target: Literal["webtext_gpt.training.loggers.tensorboard"] = setting(alias="_target_")


class Wandb(Target):
    """`logger=wandb`: Weights & Biases; without an account, offline in the run folder."""

    target: Literal["webtext_gpt.training.loggers.wandb"] = setting(alias="_target_")
    project: Annotated[str, Text("the name of a project")] = setting("webtext-gpt", "project")
    name: Annotated[str | None, Text(null="the name of the run's folder")] = setting(
        None, "name of the run"
    )


Logger = Annotated[TensorBoard | Wandb, Field(discriminator="target")]
