"""One pretraining run, from its configuration to `summary.json`."""

from collections.abc import Sequence

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

from webtext_gpt.data.prepare import prepare_shards
from webtext_gpt.data.pretraining import PretrainingData
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.training.activation_checkpointing import recompute_activations
from webtext_gpt.training.batch import BatchPlan, plan_batch
from webtext_gpt.training.distributed.devices import Devices, find_devices
from webtext_gpt.training.distributed.launcher import first_process_speaks
from webtext_gpt.training.memory import memory_table
from webtext_gpt.training.precision import best_precision
from webtext_gpt.training.pretraining import PretrainingModule
from webtext_gpt.training.run import (
    carry_out,
    compose_trainer,
    conclude,
    module_options,
    open_run,
)
from webtext_gpt.training.strategy import BUCKET
from webtext_gpt.training.summary import Summary, summarize
from webtext_gpt.training.trainer import set_lengths


@first_process_speaks()
def pretrain(cfg: DictConfig, overrides: Sequence[str] = ()) -> Summary:
    """Train a model as `conf/train.yaml` composes it, in the folder `cfg.run_dir`.

    Args:
        cfg: the composed configuration; where `cfg.resume` is set, that of the run in
            `cfg.run_dir` takes its place.
        overrides: this call's `key=value` arguments, which may change a continued run.

    Returns:
        What `summary.json` holds; nothing on processes other than the first, or where
        `resume=auto` finds the run finished.

    Raises:
        UserError: something in the configuration or the data cannot be used; nothing was trained
            or written to the run's folder then. Or training met a loss that is not finite.
        Stopped: training was interrupted, and is saved.
    """
    if cfg.estimate:
        print(estimate(cfg))
        return {}
    run = open_run(cfg, overrides)
    cfg = run.cfg
    L.seed_everything(cfg.seed, verbose=False)
    shards = open_shards(cfg)
    config = model_config(cfg.model, shards)
    global_batch_tokens = cfg.global_batch_tokens
    if global_batch_tokens is None and run.state is not None:
        global_batch_tokens = run.state.get("tokens_per_step")  # not derived from other devices
    plan = plan_batch(
        global_batch_tokens, config.block_size, run.devices.count, cfg.micro_batch_size
    )
    trainer = compose_trainer(run)
    set_lengths(
        trainer,
        plan,
        max_tokens=cfg.trainer.max_tokens,
        validate_every=cfg.validate_every,
        planned_steps=run.state["max_steps"] if run.state else None,
    )
    data = PretrainingData(
        shards,
        block_size=config.block_size,
        global_batch_size=plan.global_batch_size,
        micro_batch_size=plan.micro_batch_size,
        seed=cfg.seed,
        num_workers=cfg.num_workers,
    )
    module = PretrainingModule(
        build_model(cfg, config),
        shards.tokenizer,
        corpus=shards.hash,
        tokens_per_step=plan.tokens,
        val_tokens_per_byte=(data.validation.n_tokens - 1) / data.validation.n_bytes,
        **module_options(cfg),
    )
    text = _plan_text(trainer, module, data, plan)
    trained = carry_out(run, trainer, module, data, text, global_batch_tokens=plan.tokens)
    if not trained or not trainer.is_global_zero:
        return {}
    summary = summarize(trainer, module, data.validation)
    conclude(run, trainer, summary)
    return summary


def estimate(cfg: DictConfig) -> str:
    """What the configured training would need of each device, whether or not they are here.

    The vocabulary is the model's, or the tokenizer's as it is set; no data is read. More devices
    than there are CPU cores are GPUs of another machine, which multiply in bf16.

    Raises:
        UserError: the batch does not divide.
    """
    devices = find_devices(cfg.trainer, check=False)
    vocab_size = cfg.model.get("vocab_size") or cfg.tokenizer.get("vocab_size")
    config = instantiate(cfg.model, vocab_size=vocab_size)  # null stands for GPT-2's
    plan = plan_batch(
        cfg.global_batch_tokens, config.block_size, devices.count, cfg.micro_batch_size
    )
    precision = cfg.trainer.precision
    if precision == "auto":
        absent = devices.kind == "cuda" and not torch.cuda.is_available()
        precision = "bf16-mixed" if absent else best_precision(devices.kind)
    return memory_table(
        config,
        plan,
        devices.count,
        half=str(precision).startswith(("bf16", "16")),
        recompute=cfg.activation_checkpointing,
        on_gpu=devices.kind == "cuda",
        bucket=cfg.strategy.get("reduce_bucket_size") or BUCKET,
        pure=precision == "bf16-true",
        own_stage=_zero_stage(cfg.strategy, devices),
        offload=devices.kind == "cuda" and bool(cfg.strategy.get("offload")),
    )


def _zero_stage(strategy: DictConfig, devices: Devices) -> int | None:
    """The stage of ZeRO that a strategy is on these devices; none for FSDP."""
    name = strategy.get("_target_", "").rpartition(".")[2]
    if name == "automatic":
        return 2 if devices.count > 1 and devices.kind == "cuda" else 0
    return 0 if name == "ddp" else strategy.get("stage")


def build_model(cfg: DictConfig, config: GPTConfig) -> GPT:
    """The model to train, with what is applied to it from outside."""
    model = GPT(config)
    if cfg.activation_checkpointing:
        recompute_activations(model)
    return model


def open_shards(cfg: DictConfig) -> TokenShards:
    """The tokenized corpus, built where it is not in the cache; checked by the first process.

    Raises:
        UserError: see `prepare_shards` and `TokenShards`.
    """
    data = instantiate(cfg.data)
    if not isinstance(data, TokenShards):
        data = prepare_shards(data, instantiate(cfg.tokenizer), cfg.cache_dir)
    if rank_zero_only.rank == 0:
        data.verify()
    return data


def model_config(cfg: DictConfig, shards: TokenShards) -> GPTConfig:
    """The model's configuration, its vocabulary that of the corpus unless it is set larger.

    Raises:
        UserError: the vocabulary set does not hold the corpus's.
    """
    vocab_size = cfg.get("vocab_size") or shards.vocab_size
    if vocab_size < shards.vocab_size:
        raise UserError(
            f"model.vocab_size={vocab_size} does not hold the tokenizer's {shards.vocab_size} "
            "ids; leave it null, or train a smaller tokenizer (tokenizer.vocab_size=...)"
        )
    return instantiate(cfg, vocab_size=vocab_size)


def _plan_text(
    trainer: L.Trainer, module: PretrainingModule, data: PretrainingData, plan: BatchPlan
) -> str:
    """What is about to be done, in a few lines."""
    stream = data.training.stream
    length = f"{trainer.max_steps:,}" if trainer.max_steps > 0 else "as many as fit,"
    return (
        f"model       {module.num_parameters:,} parameters, "
        f"context {plan.block_size}, vocabulary {module.tokenizer.vocab_size:,}\n"
        f"corpus      {stream.n_tokens:,} tokens of {stream.n_documents:,} documents for training, "
        f"{data.validation.n_tokens:,} held out\n"
        f"training    {length} steps of {plan.tokens:,} tokens, "
        f"{trainer.world_size} x {plan.micro_batch_size} sequences x {plan.accumulation}, "
        f"{trainer.precision} on {trainer.world_size} {trainer.strategy.root_device.type}\n"
        f"run         {trainer.default_root_dir}"
    )
