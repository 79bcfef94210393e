"""Pretraining: the language-model loss, and one run from its configuration to `summary.json`."""

import math
from typing import Any, Unpack

import lightning as L
import torch
from torch import Tensor

from webtext_gpt.cli import Call
from webtext_gpt.data.pretraining import PretrainingData
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, Documents, cross_entropy, perplexity
from webtext_gpt.model.empty import empty_gpt
from webtext_gpt.settings.train import Train
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.activation_checkpointing import recompute_activations
from webtext_gpt.training.batch import BatchPlan, plan_batch
from webtext_gpt.training.corpus import model_config, open_shards
from webtext_gpt.training.distributed.launcher import rank_zero_reports_first
from webtext_gpt.training.memory import check_memory, count_parameters
from webtext_gpt.training.module import ModuleOptions, TrainingModule
from webtext_gpt.training.run import compose_trainer, conclude, fit, module_options, open_run
from webtext_gpt.training.summary import Summary, summarize


class PretrainingModule(TrainingModule):
    """Trains a model to predict each next token.

    Args:
        model: the model to train.
        tokenizer: the corpus's tokenizer.
        val_tokens_per_byte: predicted tokens of the validation split per byte of its text.
        mask_documents: whether attention and positions stay inside each document, in training and
            validation.
        options: see `TrainingModule`.
    """

    model: GPT

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        *,
        val_tokens_per_byte: float,
        mask_documents: bool = False,
        **options: Unpack[ModuleOptions],
    ) -> None:
        def logits(inputs: Tensor) -> Tensor:
            if not mask_documents:
                return model(inputs)
            return model(inputs, documents=Documents(inputs, tokenizer.end_of_text))

        def loss(inputs: Tensor, targets: Tensor) -> Tensor:
            return cross_entropy(logits(inputs), targets)  # targets are shifted by the data

        super().__init__(model, tokenizer, loss, **options)
        self.logits = logits
        self.mask_documents = mask_documents
        self.val_tokens_per_byte = val_tokens_per_byte
        self._val_sums = torch.zeros(2, dtype=torch.float64)  # nats, tokens

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self._val_sums = torch.zeros(2, dtype=torch.float64, device=self._sum_device)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add up the loss of every target in a batch of windows."""
        inputs, targets = batch
        nats = cross_entropy(self.logits(inputs), targets, reduction="sum")
        n_targets = (targets >= 0).sum()
        self._val_sums += torch.stack((nats.double(), n_targets.double())).to(self._sum_device)

    def validation_figures(self) -> dict[str, float]:
        """Return loss (nats per token), perplexity, and bits per byte of the validation text."""
        nats, tokens = self.trainer.strategy.reduce(self._val_sums, reduce_op="sum").tolist()
        loss = nats / tokens
        return {
            "val_loss": loss,
            "val_perplexity": perplexity(loss),
            "val_bits_per_byte": loss / math.log(2) * self.val_tokens_per_byte,
        }

    def description(self) -> dict[str, Any]:
        """See `TrainingModule.description`; a run without masks is described as ever."""
        masked = {"mask_documents": True} if self.mask_documents else {}
        return {**super().description(), **masked}

    def refuse_other_training(self, checkpoint: dict[str, Any]) -> None:
        """See `TrainingModule.refuse_other_training`."""
        theirs = checkpoint.get("mask_documents", False)
        if theirs != self.mask_documents:
            raise UserError(
                f"the run to resume was trained with mask_documents={str(theirs).lower()}; leave "
                "the key out, or start a new run"
            )
        super().refuse_other_training(checkpoint)

    @property
    def _sum_device(self) -> torch.device:
        """Device of the sums: double precision is missing on Apple's GPUs."""
        return torch.device("cpu") if self.device.type == "mps" else self.device


@rank_zero_reports_first()
def pretrain(settings: Train, call: Call | None = None) -> Summary:
    """Pretrain a model in a folder of its own.

    Args:
        settings: what to train, and how.
        call: the command line; None if the caller is other Python code.

    Returns:
        The contents of `summary.json`; empty on non-zero ranks, and if `resume=auto` finds the
        run finished.

    Raises:
        UserError: the settings or the data cannot be used, in which case nothing was trained
            or written to the run's folder; or the loss was not finite.
        Stopped: training was interrupted; its state is saved.
    """
    run = open_run(settings, call)
    global_batch_tokens = settings.global_batch_tokens
    if global_batch_tokens is None and run.state is not None:
        # The default depends on the number of devices, which may have changed.
        global_batch_tokens = run.state.get("tokens_per_step")
    plan = plan_batch(
        global_batch_tokens,
        settings.model.block_size,
        run.devices.count,
        settings.micro_batch_size,
    )
    L.seed_everything(settings.seed, verbose=False)
    shards = open_shards(settings)
    config = model_config(settings.model, shards.vocab_size)
    check_memory(settings, config, count_parameters(config), plan, run.devices, run.parallelism)
    data = PretrainingData(
        shards,
        block_size=config.block_size,
        global_batch_size=plan.global_batch_size,
        micro_batch_size=plan.micro_batch_size,
        seed=settings.seed,
        num_workers=settings.num_workers,
    )
    trainer = compose_trainer(
        run,
        plan,
        validate_every=settings.validate_every,
        notes=("global_batch_tokens", plan.tokens / data.training.stream.n_tokens),
    )
    model = GPT(config) if run.checkpoint is None else empty_gpt(config)
    if settings.activation_checkpointing:
        recompute_activations(model)
    module = PretrainingModule(
        model,
        shards.tokenizer,
        val_tokens_per_byte=(data.validation.n_tokens - 1) / data.validation.n_bytes,
        mask_documents=settings.mask_documents,
        **module_options(settings, corpus=shards.hash, tokens_per_step=plan.tokens),
    )
    text = _plan_text(trainer, module, data, plan)
    trained = fit(run, trainer, module, data, text, global_batch_tokens=plan.tokens)
    if not trained or not trainer.is_global_zero:
        return {}
    summary = summarize(trainer, module, data.validation)
    conclude(run, trainer, summary)
    return summary


def _plan_text(
    trainer: L.Trainer, module: PretrainingModule, data: PretrainingData, plan: BatchPlan
) -> str:
    """Describe the run in a few lines."""
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
