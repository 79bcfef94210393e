"""What training needs of each device's memory, worked out without starting anything.

Model states follow Rajbhandari et al. 2020 (ZeRO, section 3.1): with Adam, fp32 takes 4 bytes a
parameter, 4 its gradient and 8 the two moments; DeepSpeed's bf16 takes 2, 2, and 12 for the
moments and a copy of the parameter in fp32. Stage 1 divides the last, stage 2 gradients too,
stage 3 parameters too.
"""

from dataclasses import dataclass, fields

import torch

from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.training.batch import BatchPlan

LIVE_PARAMETERS = 100_000_000
"""Of stage 3: most parameters that a device holds gathered at a time."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one device."""

    parameters: float
    gradients: float
    optimizer: float
    """Moments, and where DeepSpeed trains, an fp32 copy of the parameters."""
    buffers: float
    """For what is on its way between devices."""
    activations: float

    @property
    def total(self) -> float:
        """Of all columns."""
        return sum(getattr(self, field.name) for field in fields(self))


def estimate_memory(
    n_parameters: int,
    stage: int,
    devices: int,
    *,
    half: bool,
    activations: float,
    bucket: int = 50_000_000,
    on_gpu: bool = True,
    pure: bool = False,
    offload: bool = False,
) -> Memory:
    """Memory of a device under ZeRO-`stage`; stage 0 is DDP, or one process alone.

    Args:
        n_parameters: of the model, tied weights once.
        stage: 0 to 3.
        devices: that share.
        half: bf16, else fp32. Under DDP bf16 is only computed in: states are those of fp32.
        activations: bytes, see `activation_bytes`.
        bucket: gradients that are reduced at once, in values.
        on_gpu: two buckets are in use then, one filled while the other is sent.
        pure: bf16-true, under which DDP's states are bf16 too.
        offload: optimizer states, and under stage 3 parameters, are not on the device.
    """
    if stage == 0 and pure:
        return Memory(2 * n_parameters, 2 * n_parameters, 4 * n_parameters, 0, activations)
    if stage == 0:
        casts = 2 * n_parameters if half else 0  # autocast's copies of the weights
        return Memory(4 * n_parameters, 4 * n_parameters, 8 * n_parameters, casts, activations)
    width = 2 if half else 4
    shared = devices if stage == 3 else 1
    gathered = min(n_parameters, LIVE_PARAMETERS) * width if stage == 3 else 0
    return Memory(
        parameters=0 if offload and stage == 3 else width * n_parameters / shared,
        gradients=width * n_parameters / (devices if stage >= 2 else 1),
        optimizer=0 if offload else 12 * n_parameters / devices,
        buffers=width * bucket * (2 if on_gpu else 1) + gathered,
        activations=activations,
    )


def activation_bytes(
    config: GPTConfig, micro_batch_size: int, *, half: bool, recompute: bool = False
) -> int:
    """What the backward pass needs of the forward pass of one micro-batch, in bytes, at its peak.

    A block keeps 16 values a token and unit of width: its input, the output of both norms, query,
    key and value, what attention gives, the sum after it, and 4 + 4 inside the perceptron
    (attention itself keeps next to nothing: its kernels recompute). The logits are there twice,
    as log-probabilities and as their gradient, in fp32, and in bf16 once more.

    Args:
        config: of the model.
        micro_batch_size: sequences.
        half: bf16, else fp32.
        recompute: activation checkpointing: a block keeps its input alone, and one block at a
            time all of it.
    """
    tokens = micro_batch_size * config.block_size
    unit = tokens * config.n_embd * (2 if half else 4)
    masks = 2 * tokens * config.n_embd if config.resid_dropout else 0  # a byte a value
    block = 16 * unit + masks
    blocks = config.n_layer * unit + block if recompute else config.n_layer * block
    logits = tokens * config.vocab_size * (4 + 4 + (2 if half else 0))
    return blocks + 2 * unit + logits  # and the input and output of the last norm


def count_parameters(config: GPTConfig) -> int:
    """Parameters of a model, which is not allocated for it."""
    with torch.device("meta"):
        return GPT(config).num_parameters


def memory_table(
    config: GPTConfig,
    plan: BatchPlan,
    devices: int,
    *,
    half: bool,
    recompute: bool,
    on_gpu: bool,
    bucket: int = 50_000_000,
    pure: bool = False,
    own_stage: int | None = None,
    offload: bool = False,
) -> str:
    """The estimate for ZeRO-0 to 3 in lines for a reader, in GiB a device.

    Args:
        config: of the model.
        plan: of the batch.
        devices: that share.
        half: bf16, else fp32.
        recompute: activation checkpointing.
        on_gpu: else processes on the CPU.
        bucket: see `estimate_memory`.
        pure: see `estimate_memory`.
        own_stage: of this call's strategy, whose row is marked; `None` where it has none.
        offload: this call's strategy offloads from GPUs to the machine's memory.
    """
    n_parameters = count_parameters(config)
    activations = activation_bytes(config, plan.micro_batch_size, half=half, recompute=recompute)
    lines = [
        f"{n_parameters:,} parameters, vocabulary {config.vocab_size:,}, context "
        f"{config.block_size}; {devices} {'GPUs' if on_gpu else 'CPU processes'} x "
        f"{plan.micro_batch_size} sequences x {plan.accumulation}, {'bf16' if half else 'fp32'}"
        + (", activation checkpointing" if recompute else ""),
        f"{'GiB a device':26} parameters  gradients  optimizer  buffers  activations    total",
    ]
    for stage, name in enumerate(("0 (one process, DDP)", "1", "2", "3")):
        memory = estimate_memory(
            n_parameters,
            stage,
            devices,
            half=half,
            activations=activations,
            bucket=bucket,
            on_gpu=on_gpu,
            pure=pure,
            offload=offload and stage == own_stage,
        )
        values = [getattr(memory, field.name) for field in fields(memory)]
        widths = (10, 9, 9, 7, 11)
        columns = "  ".join(f"{v / 2**30:{w}.3f}" for v, w in zip(values, widths, strict=True))
        mark = "  <- this call" if stage == own_stage else ""
        lines.append(f"ZeRO-{name:<21} {columns}  {memory.total / 2**30:7.3f}{mark}")
    if offload:
        width = (2 if half else 4) if own_stage == 3 else 0
        lines.append(
            f"machine memory for what is offloaded, over all machines: "
            f"{(12 + width) * n_parameters / 2**30:.3f} GiB"
        )
    return "\n".join(lines)
