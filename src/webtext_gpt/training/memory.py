"""Estimate each device's memory in training by formulas, without starting a run.

Model states follow Rajbhandari et al. 2020 (ZeRO, section 3.1). With Adam in fp32, a parameter
takes 4 bytes, its gradient 4 and its two moments 8. DeepSpeed's bf16 takes 2 and 2, and 12 for the
moments and an fp32 copy of the parameter. Stage 1 divides the last term over devices, stage 2 also
the gradients, stage 3 also the parameters. Muon keeps only one moment of a matrix, 4 bytes less.
"""

import os
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPTConfig
from webtext_gpt.model.empty import empty_gpt
from webtext_gpt.settings.optimization import Muon
from webtext_gpt.settings.run import RunSettings
from webtext_gpt.settings.train import Train
from webtext_gpt.training.batch import BatchPlan
from webtext_gpt.training.distributed.devices import Devices
from webtext_gpt.training.optim import hidden_matrices
from webtext_gpt.training.precision import best_precision
from webtext_gpt.training.strategy import BUCKET, Parallelism

LIVE_PARAMETERS = 100_000_000
"""Maximum number of parameters that a device holds gathered at a time in stage 3."""

PREFETCHED = LIVE_PARAMETERS // 4
"""Maximum number of parameters that stage 3 gathers at once, ahead of their use."""


@dataclass(frozen=True)
class Memory:
    """Memory of one device, in bytes."""

    parameters: float
    gradients: float
    optimizer: float
    """Moments and, under DeepSpeed, an fp32 copy of the parameters."""
    buffers: float
    """Values being communicated between devices, and copies of weights in bf16."""
    activations: float

    @property
    def total(self) -> float:
        """Sum of all fields."""
        return sum(getattr(self, field.name) for field in fields(self))


HEADINGS = ("weights", "gradients", "optimizer", "buffers", "activations", "  total")
"""Columns of the table of memory; each is as wide as its heading."""
THIS_CALL = "<-"
"""Marks the row of this call's strategy in a table."""


def check_memory(
    settings: RunSettings,
    config: GPTConfig,
    n_parameters: int,
    plan: BatchPlan,
    devices: Devices,
    parallelism: Parallelism,
) -> None:
    """Refuse training that cannot fit into the memory of a device of this machine.

    Args:
        settings: the settings of the run.
        config: configuration of the model.
        n_parameters: its number of parameters.
        plan: division of the global batch.
        devices: the run's devices.
        parallelism: how training is distributed over them.

    Raises:
        UserError: the estimate exceeds the device's memory.
    """
    available = device_memory(devices)
    if available is None:
        return
    precision = chosen_precision(settings, devices)
    half = precision.startswith("bf16")
    recompute = settings.activation_checkpointing
    needed = estimate_memory(
        n_parameters,
        3 if parallelism.zero_stage is None else parallelism.zero_stage,  # FSDP shards as ZeRO-3
        devices.count,
        half=half,
        activations=activation_bytes(
            config,
            plan.micro_batch_size,
            half=half,
            recompute=recompute,
            masked=isinstance(settings, Train) and settings.mask_documents,
        ),
        bucket=parallelism.reduce_bucket_size,
        on_gpu=devices.kind == "cuda",
        pure=precision == "bf16-true",
        offload=parallelism.offload,
        one_moment=single_moments(settings, config),
        averages=kept_averages(settings),
    )
    if needed.total <= available:
        return
    states, activations = needed.total - needed.activations, needed.activations
    hints = ["a smaller micro_batch_size"] if plan.micro_batch_size > 1 else []
    hints += [] if recompute else ["activation_checkpointing=true"]
    hints += ["a strategy that divides the states, on more devices"] if states > available else []
    raise UserError(
        f"training needs about {needed.total / 2**30:,.1f} GiB on each device "
        f"({states / 2**30:,.1f} for the model's states, {activations / 2**30:,.1f} for the "
        f"activations of micro_batch_size={plan.micro_batch_size}), which has "
        f"{available / 2**30:,.1f}; set {', or '.join([*hints, 'a smaller model'])}. "
        "estimate=true prints the table"
    )


def device_memory(devices: Devices) -> float | None:
    """Return the memory of one device in bytes; None if it is unknown.

    CPU processes share the machine's memory, or the limit of this process's control group.
    """
    if devices.kind == "cuda":
        return float(torch.cuda.get_device_properties(0).total_memory)
    if devices.kind != "cpu":
        return None
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limit = Path("/sys/fs/cgroup/memory.max")
        allowed = limit.read_text().strip() if limit.is_file() else "max"
    except (OSError, ValueError):
        return None
    return min(total, int(allowed) if allowed.isdigit() else total) / devices.per_node


def single_moments(settings: RunSettings, config: GPTConfig) -> int:
    """Return the number of parameters of which the optimizer keeps one moment instead of two."""
    if not isinstance(settings.optimizer, Muon):
        return 0
    return sum(matrix.numel() for matrix in hidden_matrices(empty_gpt(config, "meta")))


def kept_averages(settings: RunSettings) -> int:
    """Return how many values per parameter the chosen average of the weights keeps."""
    return 0 if settings.average is None else settings.average.build().copies


def chosen_precision(settings: RunSettings, devices: Devices) -> str:
    """Return the number format that training would choose."""
    precision = settings.trainer.precision
    if precision != "auto":
        return precision
    absent = devices.kind == "cuda" and not torch.cuda.is_available()
    return "bf16-mixed" if absent else best_precision(devices.kind)


def estimate_memory(
    n_parameters: int,
    stage: int,
    devices: int,
    *,
    half: bool,
    activations: float,
    bucket: int = BUCKET,
    on_gpu: bool = True,
    pure: bool = False,
    offload: bool = False,
    one_moment: int = 0,
    averages: int = 0,
) -> Memory:
    """Return the memory of one device under a ZeRO stage; stage 0 is DDP or one process.

    Args:
        n_parameters: parameters of the model, tied weights counted once.
        stage: 0 to 3.
        devices: number of devices.
        half: whether to use bf16, otherwise fp32. DDP only computes in bf16; its states stay in
            fp32.
        activations: bytes, see `activation_bytes`.
        bucket: gradient values that are reduced at once.
        on_gpu: whether the devices are GPUs, otherwise CPU processes.
        pure: whether the precision is bf16-true, which keeps DDP's states in bf16 too.
        offload: whether optimizer states, and in stage 3 parameters, are off the device.
        one_moment: parameters of which the optimizer keeps one moment instead of two.
        averages: fp32 values for each parameter that an average of the weights keeps.
    """
    if stage == 0 and pure:
        states = 4 * n_parameters - 2 * one_moment
        return Memory(2 * n_parameters, 2 * n_parameters, states, 0, activations)
    if stage == 0:
        casts = 2 * n_parameters if half else 0  # autocast's copies of the weights
        states = (8 + 4 * averages) * n_parameters - 4 * one_moment
        return Memory(4 * n_parameters, 4 * n_parameters, states, casts, activations)
    width = 2 if half else 4
    return Memory(
        parameters=(
            0 if offload and stage == 3 else width * n_parameters / (devices if stage == 3 else 1)
        ),
        gradients=width * n_parameters / (devices if stage >= 2 else 1),
        optimizer=(
            0 if offload else ((12 + 4 * averages) * n_parameters - 4 * one_moment) / devices
        ),
        buffers=width * _buffered(n_parameters, stage, bucket, on_gpu=on_gpu),
        activations=activations,
    )


def _buffered(n_parameters: int, stage: int, bucket: int, *, on_gpu: bool) -> int:
    """Return the maximum number of values that DeepSpeed's buffers hold on a device."""
    filled = min(n_parameters, bucket)
    if stage < 3:
        # A GPU fills one bucket while it sends the other. On a CPU, only the filled part counts.
        return 2 * bucket if on_gpu else filled
    # Before a reduce-scatter, the bucket is copied in the order of the partitions, and what was
    # gathered is copied into the parameters; gloo communicates copies of both.
    gathered, prefetched = min(n_parameters, LIVE_PARAMETERS), min(n_parameters, PREFETCHED)
    return gathered + (bucket + filled + prefetched if on_gpu else 3 * filled + 2 * prefetched)


def activation_bytes(
    config: GPTConfig,
    micro_batch_size: int,
    *,
    half: bool,
    recompute: bool = False,
    masked: bool = False,
) -> int:
    """Return the peak memory, in bytes, of the activations that the backward pass needs.

    A block keeps 16 values per token and unit of width: its input, the outputs of both norms,
    query, key and value, the attention output, the sum after it, and 4 + 4 inside the MLP.
    Attention itself keeps next to nothing, because its kernels recompute. The logits exist twice
    in fp32, as log-probabilities and as their gradient, and with bf16 once more in bf16.

    Args:
        config: configuration of the model.
        micro_batch_size: sequences of one forward pass.
        half: whether to compute in bf16, otherwise fp32.
        recompute: whether activations are checkpointed: each block keeps only its input, and one
            block at a time keeps everything.
        masked: whether documents are masked: attention then keeps a value for each pair of
            positions, the mask in its own number format.
    """
    tokens = micro_batch_size * config.block_size
    unit = tokens * config.n_embd * (2 if half else 4)
    masks = 2 * tokens * config.n_embd if config.resid_dropout else 0  # one byte per value
    pairs = tokens * config.block_size * (2 if half else 4) if masked else 0
    block = 16 * unit + masks + pairs
    blocks = config.n_layer * unit + block if recompute else config.n_layer * block
    logits = tokens * config.vocab_size * (4 + 4 + (2 if half else 0))
    return blocks + 2 * unit + logits  # 2 units: input and output of the last norm


def count_parameters(config: GPTConfig) -> int:
    """Return the number of parameters of a model, without allocating it."""
    return empty_gpt(config, "meta").num_parameters


def memory_table(
    config: GPTConfig,
    plan: BatchPlan,
    devices: int,
    *,
    half: bool,
    recompute: bool,
    on_gpu: bool,
    pure: bool,
    masked: bool = False,
    parallelism: Parallelism,
    one_moment: int = 0,
    averages: int = 0,
) -> str:
    """Return the estimate for ZeRO stages 0 to 3 as a table, in GiB per device.

    Args:
        config: configuration of the model.
        plan: division of the batch.
        devices: number of devices.
        half: see `estimate_memory`.
        recompute: whether activations are checkpointed.
        on_gpu: whether the devices are GPUs, otherwise CPU processes.
        pure: see `estimate_memory`.
        masked: whether documents are masked.
        parallelism: this call's strategy, whose row is marked.
        one_moment: see `estimate_memory`.
        averages: see `estimate_memory`.
    """
    n_parameters = count_parameters(config)
    activations = activation_bytes(
        config, plan.micro_batch_size, half=half, recompute=recompute, masked=masked
    )
    own_stage, offload = parallelism.zero_stage, parallelism.offload
    number = 2 if pure and own_stage in (0, None) else 4
    saved = number * (3 * n_parameters - one_moment)
    recomputed = ", activation checkpointing" if recompute else ""
    lines = [
        f"model       {n_parameters:,} parameters, context {config.block_size:,}, vocabulary "
        f"{config.vocab_size:,}",
        f"step        {devices} {_devices_name(devices, on_gpu)} x {plan.micro_batch_size} "
        f"sequences x {plan.accumulation}, {plan.tokens:,} tokens, "
        f"{'bf16' if half else 'fp32'}{recomputed}",
        f"checkpoint  {saved / 2**30:.3f} GiB, also of CPU memory while it is written",
        "",
        f"{'GiB a device':15}{'  '.join(HEADINGS)}",
    ]
    for stage, name in enumerate(("0 (DDP)", "1", "2", "3")):
        memory = estimate_memory(
            n_parameters,
            stage,
            devices,
            half=half,
            activations=activations,
            bucket=parallelism.reduce_bucket_size,
            on_gpu=on_gpu,
            pure=pure,
            offload=offload and stage == own_stage,
            one_moment=one_moment,
            averages=averages,
        )
        values = [getattr(memory, field.name) for field in fields(memory)]
        shown = zip((*values, memory.total), HEADINGS, strict=True)
        columns = "  ".join(f"{v / 2**30:{len(heading)}.3f}" for v, heading in shown)
        mark = f"  {THIS_CALL}" if stage == own_stage else ""
        lines.append(f"ZeRO-{name:<10}{columns}{mark}")
    if offload:
        width = (2 if half else 4) if own_stage == 3 else 0
        offloaded = (12 + 4 * averages + width) * n_parameters - 4 * one_moment
        lines.append(f"offloaded   {offloaded / 2**30:.3f} GiB of CPU memory, over all machines")
    return "\n".join(lines)


def _devices_name(devices: int, on_gpu: bool) -> str:
    return f"{'GPU' if on_gpu else 'CPU process'}{'' if devices == 1 else 's' if on_gpu else 'es'}"
