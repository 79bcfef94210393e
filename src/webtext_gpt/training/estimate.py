"""The tables of `estimate=true`: memory of each device, and time of a step, without a run."""

import torch

from webtext_gpt.errors import UserError
from webtext_gpt.gpus import GPU, NAMES, known_gpu, named_gpu
from webtext_gpt.model import GPTConfig
from webtext_gpt.settings.run import AUTO
from webtext_gpt.settings.train import Train
from webtext_gpt.training.batch import BatchPlan, plan_batch
from webtext_gpt.training.callbacks.time_budget import OPEN
from webtext_gpt.training.compilation import CPU_FLOPS
from webtext_gpt.training.corpus import expected_vocabulary, model_config
from webtext_gpt.training.distributed.devices import Devices, find_devices
from webtext_gpt.training.length import plan_length
from webtext_gpt.training.memory import (
    THIS_CALL,
    chosen_precision,
    count_parameters,
    kept_averages,
    memory_table,
    single_moments,
)
from webtext_gpt.training.start import open_start
from webtext_gpt.training.step_time import StepTime, computing_seconds, sent_bytes
from webtext_gpt.training.strategy import Parallelism

ADVICE = f"name one, as in estimate={NAMES[0]}"
ROWS = ("ZeRO-0 (DDP)", "ZeRO-1", "ZeRO-2", "ZeRO-3, FSDP")
"""Titles of the rows of the time table, by ZeRO stage."""


def estimate(settings: Train) -> str:
    """Return tables of the memory and the time that the configured training needs.

    The devices need not exist here: more devices than CPU cores are taken for GPUs of another
    machine that multiply in bf16, and `estimate` may name a GPU.

    Raises:
        UserError: the data does not exist, the batch does not divide, or a GPU is named for
            training on another kind of device.
    """
    devices = _devices(settings)
    config = _expected_config(settings)
    plan = plan_batch(
        settings.global_batch_tokens, config.block_size, devices.count, settings.micro_batch_size
    )
    precision = chosen_precision(settings, devices)
    parallelism = settings.strategy.build(devices)
    memory = memory_table(
        config,
        plan,
        devices.count,
        half=precision.startswith("bf16"),
        recompute=settings.activation_checkpointing,
        on_gpu=devices.kind == "cuda",
        pure=precision == "bf16-true",
        masked=settings.mask_documents,
        parallelism=parallelism,
        one_moment=single_moments(settings, config),
        averages=kept_averages(settings),
    )
    time = _time_lines(settings, config, plan, devices, precision, parallelism)
    return "\n".join([memory, "", *time, "", f"{THIS_CALL:12}the strategy of this call"])


def _devices(settings: Train) -> Devices:
    """Return the devices that training would have; a GPU that is named need not be here."""
    asked = settings.trainer
    if isinstance(settings.estimate, bool):
        return find_devices(asked.accelerator, asked.devices, asked.num_nodes, check=False)
    if asked.accelerator in ("cpu", "mps"):
        raise UserError(
            f"estimate={settings.estimate} names a GPU, but training runs on "
            f"trainer.accelerator={asked.accelerator}; leave one of them out"
        )
    number = asked.devices
    if number == "auto" and not torch.cuda.is_available():
        number = 1
    return find_devices("cuda", number, asked.num_nodes, check=False)


def _expected_config(settings: Train) -> GPTConfig:
    """Return the configuration of the model that training would have."""
    if settings.checkpoint is None:
        return model_config(settings.model, expected_vocabulary(settings))
    if settings.resume not in (None, AUTO):
        return model_config(settings.model, settings.model.vocab_size or 0)  # from its config.yaml
    start = open_start(settings)
    assert start is not None  # noqa: S101 - a checkpoint is given
    return start.config


def _time_lines(
    settings: Train,
    config: GPTConfig,
    plan: BatchPlan,
    devices: Devices,
    precision: str,
    parallelism: Parallelism,
) -> list[str]:
    """Return the time of a step as lines of a table, or a line that says why it is unknown."""
    if devices.kind == "cpu":
        return [_cpu_line(settings, config, plan, devices)]
    if devices.kind != "cuda":
        return [f"time        unknown for {devices.kind}; to estimate it for a GPU, {ADVICE}"]
    if not precision.startswith("bf16"):
        return [f"time        known for bf16 on GPUs only, not for trainer.precision={precision}"]
    found = _gpu(settings)
    if found is None:
        return [f"time        the GPU is unknown; {ADVICE}"]
    name, gpu = found
    bandwidth = gpu.link if devices.num_nodes == 1 else gpu.network
    speed = gpu.utilization * gpu.peak * devices.count
    computing = computing_seconds(
        config.flops_per_token * plan.tokens, speed, recompute=settings.activation_checkpointing
    )
    own = 3 if parallelism.zero_stage is None else parallelism.zero_stage
    lines = [
        f"time        on {devices.count} {name}, assumed to reach {gpu.utilization:.0%} of "
        f"{gpu.peak / 1e12:.0f} TFLOP/s ({gpu.source}), to send {bandwidth / 1e9:g} GB/s each, and "
        "not to compute meanwhile",
        f"{'a step':12}  computing s  exchange s   share  GB sent   tokens/s     hours",
    ]
    for stage, title in enumerate(ROWS):
        sent = sent_bytes(
            count_parameters(config),
            stage,
            devices.count,
            plan.accumulation,
            half=True,
            pure=precision == "bf16-true",
        )
        step = StepTime(computing, sent / bandwidth)
        lines.append(
            f"{title:12}  {step.computing:11.4f}  {step.exchange:10.4f}  {step.share:6.1%}  "
            f"{sent / 1e9:7.3f}  {plan.tokens / step.total:9,.0f}  "
            f"{_hours(settings, plan, step.total) or '-':>8}"
            f"{f'  {THIS_CALL}' if stage == own else ''}"
        )
    return lines


def _cpu_line(settings: Train, config: GPTConfig, plan: BatchPlan, devices: Devices) -> str:
    seconds = computing_seconds(
        config.flops_per_token * plan.tokens,
        CPU_FLOPS * torch.get_num_threads() * devices.num_nodes,
        recompute=settings.activation_checkpointing,
    )
    hours = _hours(settings, plan, seconds)
    return (
        f"time        {seconds:,.3g} s a step of {plan.tokens:,} tokens, "
        f"{plan.tokens / seconds:,.0f} tokens/s{f', {hours} hours' if hours else ''}; assumed: "
        f"{CPU_FLOPS / 1e9:.0f} GFLOP/s a thread, and no time for what processes exchange"
    )


def _gpu(settings: Train) -> tuple[str, GPU] | None:
    """Return the GPU that is named, or the one of this machine, if its speed is known."""
    if isinstance(settings.estimate, str):
        return settings.estimate, named_gpu(settings.estimate)
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name(0)
    gpu = known_gpu(name)
    return None if gpu is None else (name, gpu)


def _hours(settings: Train, plan: BatchPlan, seconds: float) -> str:
    """Return the hours of the run, given those of a step; empty if only its time is limited."""
    trainer = settings.trainer
    length = plan_length(
        trainer.max_steps, trainer.max_tokens, trainer.max_minutes, tokens_per_step=plan.tokens
    )
    return "" if length.max_steps == OPEN else f"{length.max_steps * seconds / 3600:,.2f}"
