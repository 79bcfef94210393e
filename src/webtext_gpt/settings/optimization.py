"""Settings of optimization: the choices of `optimizer=` and `scheduler=`, and the guard."""

from typing import Annotated, Literal

from pydantic import Field

from webtext_gpt.settings.base import Settings, Target, setting
from webtext_gpt.settings.kinds import Number, OneOf, Whole
from webtext_gpt.settings.lists import Listed

Steps = Whole(0, unit="optimizer steps")


class AdamW(Target):
    """`optimizer=adamw`: AdamW; weight matrices decay, biases and gains do not."""

    target: Literal["webtext_gpt.training.optim.adamw"] = setting(
        "webtext_gpt.training.optim.adamw", alias="_target_"
    )
    lr: Annotated[float | None, Number(above=0, null="reference_lr (768 / n_embd)^1.5")] = setting(
        None, "peak learning rate", common=True
    )
    reference_lr: Annotated[float, Number(above=0)] = setting(
        6e-4, "peak learning rate for width 768"
    )
    betas: Annotated[list[float], Listed(Number(0, below=1), length=2)] = setting(
        lambda: [0.9, 0.95], "decay rates of the first and second moment"
    )
    eps: Annotated[float, Number(above=0)] = setting(
        1e-8, "added to the square root of the second moment"
    )
    weight_decay: Annotated[float, Number(0)] = setting(
        0.1, "weight decay of matrices, decoupled from the gradient"
    )


class Muon(Target):
    """`optimizer=muon`: Muon for the blocks' matrices and AdamW for all else, on one schedule."""

    target: Literal["webtext_gpt.training.optim.muon"] = setting(alias="_target_")
    lr: Annotated[float, Number(above=0)] = setting(0.02, "Muon's peak learning rate")
    momentum: Annotated[float, Number(0, below=1)] = setting(0.95, "decay rate of Muon's momentum")
    ns_steps: Annotated[int, Whole(1, 20, unit="iterations")] = setting(
        5, "Newton-Schulz iterations that orthogonalize an update"
    )
    weight_decay: Annotated[float, Number(0)] = setting(
        0.01, "weight decay of Muon's matrices, decoupled from the gradient"
    )
    adamw_lr: Annotated[float, Number(above=0)] = setting(4e-3, "AdamW's peak learning rate")
    adamw_betas: Annotated[list[float], Listed(Number(0, below=1), length=2)] = setting(
        lambda: [0.9, 0.95], "decay rates of AdamW's first and second moment"
    )
    adamw_eps: Annotated[float, Number(above=0)] = setting(
        1e-8, "added to the square root of AdamW's second moment"
    )
    adamw_weight_decay: Annotated[float, Number(0)] = setting(
        0.01, "weight decay of embeddings and head, decoupled from the gradient"
    )


Optimizer = Annotated[AdamW | Muon, Field(discriminator="target")]


class Cosine(Target):
    """`scheduler=cosine`: linear warm-up, then half a cosine down to min_ratio of the peak."""

    target: Literal["webtext_gpt.training.schedule.cosine"] = setting(alias="_target_")
    warmup_steps: Annotated[int, Steps] = setting(100, "length of linear warm-up", common=True)
    min_ratio: Annotated[float, Number(0, 1)] = setting(
        0.0, "last learning rate, as a fraction of the peak"
    )


class Linear(Target):
    """`scheduler=linear`: linear warm-up, then a straight line down to min_ratio of the peak."""

    target: Literal["webtext_gpt.training.schedule.linear"] = setting(alias="_target_")
    warmup_steps: Annotated[
        int | None, Whole(0, unit="optimizer steps", null="warmup_ratio of all steps")
    ] = setting(100, "length of linear warm-up", common=True)
    warmup_ratio: Annotated[float, Number(0, below=1)] = setting(
        0.0, "length of linear warm-up as a fraction of all steps; used if warmup_steps is null"
    )
    min_ratio: Annotated[float, Number(0, 1)] = setting(
        0.0, "last learning rate, as a fraction of the peak"
    )


class InverseSqrt(Target):
    """`scheduler=inverse_sqrt`: linear warm-up, then the inverse square root of the step.

    The rate of Vaswani et al. 2017 for width d has its peak at optimizer.lr =
    (d warmup_steps)^-0.5.
    """

    target: Literal["webtext_gpt.training.schedule.inverse_sqrt"] = setting(alias="_target_")
    warmup_steps: Annotated[int, Steps] = setting(4000, "length of linear warm-up", common=True)


class Constant(Target):
    """`scheduler=constant`: linear warm-up, then the peak to the end."""

    target: Literal["webtext_gpt.training.schedule.constant"] = setting(alias="_target_")
    warmup_steps: Annotated[int, Steps] = setting(100, "length of linear warm-up", common=True)


class WarmupStableDecay(Target):
    """`scheduler=wsd`: linear warm-up, the peak, then a decay over the last part of the run.

    The checkpoint before the decay is kept, and a longer run continues from it.
    """

    target: Literal["webtext_gpt.training.schedule.wsd"] = setting(alias="_target_")
    warmup_steps: Annotated[int, Steps] = setting(100, "length of linear warm-up", common=True)
    decay_ratio: Annotated[float, Number(above=0, most=1)] = setting(
        0.2, "length of the decay as a fraction of all steps"
    )
    decay_form: Annotated[str, OneOf(("linear", "cosine", "sqrt"))] = setting(
        "linear", "form of the decay; sqrt: 1 minus the square root of its progress"
    )
    min_ratio: Annotated[float, Number(0, 1)] = setting(
        0.0, "last learning rate, as a fraction of the peak"
    )


Scheduler = Annotated[
    Cosine | Linear | InverseSqrt | Constant | WarmupStableDecay,
    Field(discriminator="target"),
]


class Guard(Settings):
    """Reactions to losses and gradients that go wrong."""

    not_finite: Annotated[str, OneOf(("stop", "skip"))] = setting(
        "stop", "if a loss or gradient is not finite: stop the run, or skip the step"
    )
    spike: Annotated[float, Number(above=1)] = setting(
        10.0, "report gradient norms above this multiple of the recent median"
    )
