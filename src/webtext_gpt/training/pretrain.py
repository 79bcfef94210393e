"""Pretraining: the language-model loss, and one run from its configuration to `summary.json`."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Unpack

import lightning as L
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from webtext_gpt.cli import Call
from webtext_gpt.data.pretraining import PretrainingData, Source
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig, cross_entropy
from webtext_gpt.model.empty import empty_gpt
from webtext_gpt.settings.data import Mixed
from webtext_gpt.settings.model import Model
from webtext_gpt.settings.train import Train
from webtext_gpt.terminal import quoted
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.activation_checkpointing import recompute_activations
from webtext_gpt.training.batch import BatchPlan, plan_batch
from webtext_gpt.training.callbacks.sources import Sources
from webtext_gpt.training.callbacks.time_budget import random_tokens
from webtext_gpt.training.compilation import chooses_compilation
from webtext_gpt.training.corpus import asked_vocabulary, model_config, open_shards
from webtext_gpt.training.distributed.launcher import rank_zero_reports_first
from webtext_gpt.training.language_loss import documents_of, language_loss, loss_to_compile, nats
from webtext_gpt.training.length import before_decay, run_length
from webtext_gpt.training.memory import check_memory, count_parameters
from webtext_gpt.training.module import ModuleOptions, TrainingModule
from webtext_gpt.training.opening import Run, open_run
from webtext_gpt.training.run import compose_trainer, conclude, fit, module_options
from webtext_gpt.training.start import open_start, refuse_other_start
from webtext_gpt.training.strategy import partitions_parameters
from webtext_gpt.training.summary import Summary, summarize
from webtext_gpt.training.validation import SHARE, Scored, share_scored, validation_figures


class PretrainingModule(TrainingModule):
    """Trains a model to predict each next token.

    Args:
        model: the model to train.
        tokenizer: the corpus's tokenizer.
        sources: the sources of the corpus; each validation split is scored separately.
        mask_documents: whether attention and positions stay inside each document, in training and
            validation.
        packing: how the training samples are made from documents, for the checkpoint.
        row_processes: number of processes that divide the rows of a micro-batch, see
            `RowProcesses`; 1 means this one alone.
        options: see `TrainingModule`.
    """

    model: GPT

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        *,
        sources: Sequence[Source],
        mask_documents: bool = False,
        packing: str = "stream",
        row_processes: int = 1,
        **options: Unpack[ModuleOptions],
    ) -> None:
        end_of_text = tokenizer.end_of_text if mask_documents else None
        compile_model = options["compile_model"]
        loss = (loss_to_compile if compile_model else language_loss)(model, end_of_text)
        rows = None
        if row_processes > 1:
            from webtext_gpt.training.row_processes import Recipe, RowProcesses

            loss = rows = RowProcesses(model, Recipe(end_of_text, compile_model), row_processes)
            options["compile_model"] = False  # each process compiles its own
        super().__init__(model, tokenizer, loss, **options)
        self.rows = rows
        self._end_of_text = end_of_text
        self.mask_documents = mask_documents
        self.packing = packing
        self.sources = sources
        self._val_sums = torch.zeros(len(sources), 2, dtype=torch.float64)  # nats, tokens

    def timed_pass(self, probe: GPT) -> tuple[Callable[[], None], int]:
        """See `TrainingModule.timed_pass`; with documents and row processes as in training."""
        tokens = random_tokens(self.trainer, probe.config.vocab_size)
        documents, rows = documents_of(tokens, self._end_of_text), self.rows

        def one_pass() -> None:
            if rows is None:
                cross_entropy(probe(tokens, documents=documents), tokens).backward()
            else:
                rows(tokens, tokens).backward()
                rows.add_gradients()
                self.zero_grad(set_to_none=True)

        return one_pass, tokens.numel()

    def on_after_backward(self) -> None:
        """Add the gradients that other processes have computed."""
        if self.rows is not None:
            self.rows.add_gradients()

    def close(self) -> None:
        """End the processes of the module, after training."""
        if self.rows is not None:
            self.rows.close()

    def on_validation_epoch_start(self) -> None:
        """Reset the sums."""
        self._val_sums = torch.zeros_like(self._val_sums, device=self._sum_device)

    def validation_step(
        self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add up the loss of every target in a batch of windows of one source."""
        inputs, targets = batch
        if self.rows is not None:
            total = self.rows.nats(inputs, targets)
        else:
            total = nats(self.model, inputs, targets, self._end_of_text)
        n_targets = (targets >= 0).sum()
        sums = torch.stack((total.double(), n_targets.double())).to(self._sum_device)
        self._val_sums[dataloader_idx] += sums

    def validation_figures(self) -> dict[str, float]:
        """Return the figures of all sources together, and of each; see `validation_figures`."""
        sums = self.trainer.strategy.reduce(self._val_sums, reduce_op="sum").tolist()
        scored = [Scored(*own) for own in sums]
        figures = validation_figures(self.sources, scored)
        if self.trainer.datamodule.validate_tokens is not None:
            figures[SHARE] = share_scored(self.sources, scored)
        return figures

    def description(self) -> dict[str, Any]:
        """See `TrainingModule.description`; options at their defaults are left out."""
        masked = {"mask_documents": True} if self.mask_documents else {}
        packed = {"packing": self.packing} if self.packing != "stream" else {}
        return {**super().description(), **masked, **packed}

    def refuse_other_training(self, checkpoint: dict[str, Any]) -> None:
        """See `TrainingModule.refuse_other_training`."""
        for key, default in (("mask_documents", False), ("packing", "stream")):
            theirs = checkpoint.get(key, default)
            if theirs != getattr(self, key):
                raise UserError(
                    f"the run to resume was trained with {key}={str(theirs).lower()}; leave the "
                    "key out, or start a new run"
                )
        super().refuse_other_training(checkpoint)


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
    with open_run(settings, call) as run:
        return _pretrain(run, settings)


def _pretrain(run: Run, settings: Train) -> Summary:
    if run.state is not None:
        refuse_other_start(settings.checkpoint, run.folder)
    start = open_start(settings, run.state)
    global_batch_tokens = settings.global_batch_tokens
    if global_batch_tokens is None and run.state is not None:
        # The default depends on the number of devices, which may have changed.
        global_batch_tokens = run.state.get("tokens_per_step")
    plan = plan_batch(
        global_batch_tokens,
        (settings.model if start is None else start.config).block_size,
        run.devices.count,
        settings.micro_batch_size,
    )
    run = before_decay(run, run_length(run, plan.tokens))
    L.seed_everything(settings.seed, verbose=False)
    asked = asked_vocabulary(settings) if start is None else None
    if asked is not None:  # before minutes of tokenizing, if the vocabulary is known already
        _check_memory(run, settings, model_config(settings.model, asked), plan)
    shards = open_shards(settings, start.tokenizer if start else None, plan.block_size)
    config = start.config if start else model_config(settings.model, shards.vocab_size)
    _check_memory(run, settings, config, plan)
    data = PretrainingData(
        shards,
        block_size=config.block_size,
        global_batch_size=plan.global_batch_size,
        micro_batch_size=plan.micro_batch_size,
        seed=settings.seed,
        packing=settings.packing,
        num_workers=settings.num_workers,
        validate_tokens=settings.validate_tokens,
    )
    trainer = compose_trainer(
        run,
        plan,
        validate_every=settings.validate_every,
        notes=("global_batch_tokens", max(data.passes(plan.global_batch_size).values())),
        own_callbacks=(
            [Sources(data, settings.data.epochs)] if isinstance(settings.data, Mixed) else []
        ),
    )
    if run.checkpoint is not None:
        model = empty_gpt(config)
    else:
        model = start.model if start and start.model else GPT(config)
    if settings.activation_checkpointing:
        recompute_activations(model)
    compile_model = chooses_compilation(
        settings.compile,
        run_length(run, plan.tokens),
        config.flops_per_token * plan.tokens,
        kind=run.devices.kind,
        devices=run.devices.count,
        partitions_parameters=partitions_parameters(trainer.strategy),
    )
    module = PretrainingModule(
        model,
        start.tokenizer if start else shards.tokenizer,
        sources=data.sources,
        mask_documents=settings.mask_documents,
        packing=settings.packing,
        row_processes=_row_processes(settings, trainer, plan),
        **module_options(
            settings,
            corpus=shards.hash,
            tokens_per_step=plan.tokens,
            compile_model=compile_model and settings.compile,
        ),
    )
    with contextlib.closing(module):  # it may have processes already
        module.validates_first = start is not None and run.checkpoint is None
        # A resumed run reads its shape from `config.yaml`, not from the checkpoint it started from.
        shape = (
            {} if start is None else {"model": Model(**config.to_dict()).model_dump(by_alias=True)}
        )
        text = _plan_text(trainer, module, data, plan, settings)
        if start is not None:
            text = f"start       {settings.checkpoint}\n{text}"
        if run.state is None and (settings.size is not None or settings.budget is not None):
            from webtext_gpt.dial.derive import describe

            text = f"dial        {describe(settings)}\n{text}"
        found = {"global_batch_tokens": plan.tokens, "compile": compile_model}
        trained = fit(run, trainer, module, data, text, **found, **shape)
    if not trained or not trainer.is_global_zero:
        return {}
    summary = summarize(trainer, module, data)
    conclude(run, trainer, summary)
    return summary


def _check_memory(run: Run, settings: Train, config: GPTConfig, plan: BatchPlan) -> None:
    """Refuse a model that cannot be trained in the memory of a device."""
    check_memory(settings, config, count_parameters(config), plan, run.devices, run.parallelism)


def _row_processes(settings: Train, trainer: L.Trainer, plan: BatchPlan) -> int:
    """Return the number of processes that divide the rows of a micro-batch."""
    strategy = trainer.strategy
    alone = isinstance(strategy, SingleDeviceStrategy) and strategy.root_device.type == "cpu"
    if not (settings.parallel_rows and alone):
        return 1
    return min(torch.get_num_threads(), plan.micro_batch_size)


def _packing_text(data: PretrainingData) -> str:
    """Return a line per source on the tokens that packing leaves out; empty without packing."""
    return "".join(
        f"packing     {f'{name}: ' if name else ''}{rows.n_rows:,} rows an epoch; "
        f"{1 - rows.epoch_tokens / rows.stream.n_tokens:.1%} of the training tokens are left out, "
        f"{rows.beyond / rows.stream.n_tokens:.1%} in documents beyond the length of a row\n"
        for name, rows in data.packed.items()
    )


def _plan_text(
    trainer: L.Trainer,
    module: PretrainingModule,
    data: PretrainingData,
    plan: BatchPlan,
    settings: Train,
) -> str:
    """Describe the run in a few lines."""
    training = [source.training for source in data.sources]
    targets = [source.validation.n_tokens - 1 for source in data.sources]  # all but the first
    sample = settings.validate_tokens
    scored = sum(n if sample is None else min(n, sample) for n in targets)
    validation = (
        f"validation  {scored:,} of {sum(targets):,} tokens every {settings.validate_every:,} "
        "steps, all after the last\n"
        if scored < sum(targets)
        else ""
    )
    rows = "" if module.rows is None else f", rows in {module.rows.n} processes"
    length = f"{trainer.max_steps:,} steps" if trainer.max_steps > 0 else "as many steps as fit,"
    return (
        f"model       {module.num_parameters:,} parameters, "
        f"context {plan.block_size}, vocabulary {module.tokenizer.vocab_size:,}\n"
        f"corpus      {sum(split.n_tokens for split in training):,} tokens of "
        f"{plural(sum(split.n_documents for split in training), 'document')} for training, "
        f"{sum(source.validation.n_tokens for source in data.sources):,} held out\n"
        f"{_packing_text(data)}"
        f"training    {length} of {plan.tokens:,} tokens, "
        f"{trainer.world_size} x {plan.micro_batch_size} sequences x {plan.accumulation}, "
        f"{trainer.precision} on {trainer.world_size} {trainer.strategy.root_device.type}{rows}\n"
        f"{validation}"
        f"run         {quoted(trainer.default_root_dir)}"
    )
