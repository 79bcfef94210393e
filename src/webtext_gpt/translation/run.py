"""One training run of a translation model, from its configuration to `summary.json`."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import lightning as L
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.checkpoint.load import LoadedModel, empty_model, load, only_translator
from webtext_gpt.cli import Call
from webtext_gpt.commands import shell_command
from webtext_gpt.data.pairs import Files
from webtext_gpt.data.prepare import TokenizerRecipe
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import UserError
from webtext_gpt.model.transformer import Transformer, TransformerConfig
from webtext_gpt.pair_tokenizer import PairTokenizer
from webtext_gpt.settings import saved
from webtext_gpt.settings.data import Characters, Pairs
from webtext_gpt.settings.model import TransformerModel
from webtext_gpt.settings.run import RunSettings
from webtext_gpt.settings.train import Train
from webtext_gpt.settings.translation import LABEL_SMOOTHING
from webtext_gpt.terminal import quoted, say, say_rows
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.batch import MICRO_BATCH_TOKENS, BatchPlan
from webtext_gpt.training.corpus import at_least, tokenizer_recipe, vocabulary_size
from webtext_gpt.training.distributed.launcher import rank_zero_reports_first
from webtext_gpt.training.length import before_decay, run_length
from webtext_gpt.training.opening import Run, open_run
from webtext_gpt.training.run import compose_trainer, conclude, fit, module_options
from webtext_gpt.training.start import refuse_other_start
from webtext_gpt.training.summary import LABELS, Summary, progress_figures
from webtext_gpt.translation.batches import TokenBatches
from webtext_gpt.translation.datamodule import PairData
from webtext_gpt.translation.encoding import EncodedPairs, encode_pairs
from webtext_gpt.translation.module import TranslationModule
from webtext_gpt.translation.samples import Translations

DEFAULT_TOKENS = 4096
"""Global batch if none is given, in source and in target tokens."""


@rank_zero_reports_first()
def train_translator(settings: Train, call: Call | None = None) -> Summary:
    """Train a translation model in a folder of its own.

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
        return _train(run, settings)


def _train(run: Run, settings: Train) -> Summary:
    if run.state is not None:
        refuse_other_start(settings.checkpoint, run.folder)
    training_files, validation_files = settings.data.build().splits()
    L.seed_everything(settings.seed, verbose=False)
    model, tokenizer = _model(run, settings, training_files, validation_files)
    training, validation = (
        encode_pairs(tokenizer, files, model.config.block_size, settings.checkpoint or "")
        for files in (training_files, validation_files)
    )
    _report(training, validation)
    tokens = settings.global_batch_tokens or DEFAULT_TOKENS
    batches = TokenBatches(*training.lengths, tokens, settings.seed)
    plan = _plan(batches, tokens, run.devices.count)
    run = before_decay(run, run_length(run, plan.tokens))
    trainer = _trainer(run, settings, plan, batches, validation_files)
    data = PairData(
        training,
        validation,
        batches,
        accumulation=plan.accumulation,
        num_workers=settings.num_workers,
    )
    smoothing = settings.label_smoothing
    module = TranslationModule(
        model,
        tokenizer,
        global_batch_tokens=tokens,
        label_smoothing=LABEL_SMOOTHING if smoothing is None else smoothing,
        **module_options(
            settings,
            corpus=training.sha256(),
            tokens_per_step=plan.tokens,
            compile_model=settings.compile is True,  # not for `auto`: batches have many lengths
        ),
    )
    module.validates_first = settings.checkpoint is not None and run.checkpoint is None
    trained = fit(
        run, trainer, module, data, _plan_text(trainer, module, data), global_batch_tokens=tokens
    )
    if not trained or not trainer.is_global_zero:
        return {}
    summary = {
        **module.validation_metrics,
        **progress_figures(trainer, module),
        "epochs": trainer.global_step / batches.per_epoch,
        "pairs": len(training),
        "left_out_pairs": len(training.empty) + len(training.too_long),
    }
    conclude(run, trainer, summary)
    return summary


def _model(
    run: Run, settings: Train, training: Files, validation: Files
) -> tuple[Transformer, Tokenizer]:
    """Return the model to train, in training mode, and its tokenizer.

    The weights of a resumed run are loaded later, with its optimizer.
    """
    if run.state is not None:
        resumed = LoadedModel(*empty_model(run.state))
        _refuse_other_tokenizer(run, settings, resumed.tokenizer)
        model = only_translator(resumed, run.folder)
        if settings.checkpoint is None:  # changes are refused later, all in one message
            model = Transformer(_config(settings, resumed.tokenizer))
        return model.train(), resumed.tokenizer
    if settings.checkpoint is not None:
        loaded = load(settings.checkpoint)
        return only_translator(loaded, settings.checkpoint).train(), loaded.tokenizer
    recipe = tokenizer_recipe(settings.tokenizer)
    known = [training, validation] if isinstance(settings.tokenizer, Characters) else [training]
    tokenizer = _tokenizer(recipe, known, _vocabulary_choice(settings))
    return Transformer(_config(settings, tokenizer)), tokenizer


def _refuse_other_tokenizer(run: Run, settings: Train, tokenizer: Tokenizer) -> None:
    """Refuse to resume with another tokenizer; the run's own is in its checkpoint."""
    vocabulary = _vocabulary_choice(settings)
    is_separate = vocabulary == "separate"
    if settings.checkpoint is None and is_separate != isinstance(tokenizer, PairTokenizer):
        raise UserError(
            f"the run in {run.folder} has {'one tokenizer' if is_separate else 'two tokenizers'}, "
            f"and data.vocabulary={vocabulary} asks for "
            f"{'two' if is_separate else 'one'}; leave data.vocabulary out, or start a new run"
        )
    ours = saved.plain(settings)["tokenizer"]
    if saved.load(run.folder).get("tokenizer") != ours:
        raise UserError(
            f"the run in {run.folder} has another tokenizer than this call, and its weights are "
            "for its own vocabulary; leave tokenizer.KEY= out, or start a new run"
        )


def _vocabulary_choice(settings: Train) -> str:
    assert isinstance(settings.data, Pairs)  # noqa: S101 - checked by Train
    return settings.data.vocabulary


def _tokenizer(recipe: TokenizerRecipe, files: Sequence[Files], vocabulary: str) -> Tokenizer:
    """Return the tokenizer of both sides of the pairs, or one of each side; train it if asked to.

    Args:
        recipe: the tokenizer, or how to train it.
        files: the pairs to train it on.
        vocabulary: `joint` or `separate`.
    """
    if isinstance(recipe, Tokenizer):
        return recipe if vocabulary == "joint" else PairTokenizer(recipe, recipe)
    sides = [[one.sources for one in files], [one.targets for one in files]]
    if vocabulary == "joint":
        sides = [sides[0] + sides[1]]
    trained = [recipe(chain.from_iterable(side)) for side in sides]  # type: ignore[operator]
    return trained[0] if len(trained) == 1 else PairTokenizer(*trained)


def _config(settings: Train, tokenizer: Tokenizer) -> TransformerConfig:
    model = settings.model
    assert isinstance(model, TransformerModel)  # noqa: S101 - checked by Train
    sources = None
    if isinstance(tokenizer, PairTokenizer):
        found = tokenizer.source.vocab_size
        sources = at_least(model.source_vocab_size, found, "model.source_vocab_size")
    config: TransformerConfig = model.build(
        vocab_size=vocabulary_size(model, tokenizer.vocab_size), source_vocab_size=sources
    )
    return config


def _plan(batches: TokenBatches, tokens: int, devices: int) -> BatchPlan:
    """Return the division of a step; its sizes count target tokens instead of sequences.

    A device reads at most about `MICRO_BATCH_TOKENS` of each side at once.
    """
    accumulation = -(-tokens // (devices * MICRO_BATCH_TOKENS))
    size = round(batches.mean_targets)
    return BatchPlan(
        global_batch_size=size,
        micro_batch_size=max(1, size // (devices * accumulation)),
        accumulation=accumulation,
        block_size=1,
    )


def _trainer(
    run: Run, settings: Train, plan: BatchPlan, batches: TokenBatches, validation: Files
) -> L.Trainer:
    """Return the trainer; its samples are translations, not continued texts."""
    samples = settings.callbacks.samples
    callbacks = settings.callbacks.model_copy(update={"samples": None})
    without: RunSettings = settings.model_copy(update={"callbacks": callbacks})
    own = (
        []
        if samples is None
        else [Translations(run.folder, validation.pairs[: samples.num_samples])]
    )
    return compose_trainer(
        replace(run, settings=without),
        plan,
        validate_every=settings.validate_every,
        notes=("global_batch_tokens", 1 / batches.per_epoch),
        own_callbacks=own,
    )


@rank_zero_only
def _report(training: EncodedPairs, validation: EncodedPairs) -> None:
    """Print how many pairs of a split are left out, and why."""
    for pairs in (training, validation):
        for lines, reason in (
            (pairs.empty, "are empty on one side or both"),
            (pairs.too_long, "do not fit model.block_size"),
        ):
            if lines:
                say(
                    f"{plural(len(lines), 'pair')} of {pairs.name} left out, which "
                    f"{reason}; the first is line {lines[0]:,}",
                    label="data",
                )


def _plan_text(trainer: L.Trainer, module: TranslationModule, data: PairData) -> str:
    """Describe the run in a few lines."""
    batches, steps = data.batches, trainer.max_steps
    epochs = f", {plural(steps / batches.per_epoch, 'epoch')}," if steps > 0 else ""
    length = f"{steps:,} steps" if steps > 0 else "as many steps as fit the time"
    return (
        f"model       {module.num_parameters:,} parameters, vocabulary {_vocabulary(module)}\n"
        f"pairs       {len(data.training):,} for training, {len(data.validation):,} for "
        f"validation; {batches.per_epoch:,} batches an epoch\n"
        f"training    {length}{epochs} of {batches.mean_targets:,.0f} target tokens, "
        f"{trainer.precision} on {trainer.world_size} {trainer.strategy.root_device.type}\n"
        f"run         {quoted(trainer.default_root_dir)}"
    )


def _vocabulary(module: TranslationModule) -> str:
    """Return the number of tokens of both languages, or of each."""
    tokenizer = module.tokenizer
    if isinstance(tokenizer, PairTokenizer):
        sources = tokenizer.source.vocab_size
        return f"{sources:,} of the sources and {tokenizer.vocab_size:,} of the targets"
    return f"{tokenizer.vocab_size:,} of both languages"


@rank_zero_only
def print_translator(run_dir: str, summary: Summary) -> None:
    """Print the figures of a run, and what to do next."""
    say(
        f"\n--- after {summary['step']:,} steps, {summary['epochs']:.1f} epochs, "
        f"{summary['seconds']:,.0f} s\n"
        f"validation loss   {summary['val_loss']:.4f} nats a token\n"
        f"perplexity        {summary['val_perplexity']:,.2f}"
    )
    checkpoint = f"checkpoint={run_dir}"
    say_rows(
        {
            "run": quoted(run_dir),
            "loss curve": quoted(f"{run_dir}/loss.png"),
            "try it": shell_command("generate", checkpoint, "prompt=..."),
            "look inside": shell_command("serve", checkpoint),
        },
        least=LABELS,
    )
