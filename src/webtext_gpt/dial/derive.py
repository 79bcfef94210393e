"""Derive the values of the keys that `size=` and `budget=` set, from the settings of a call."""

from collections.abc import Callable, Collection

from webtext_gpt.dial import fitted
from webtext_gpt.dial.choice import Plan, plan_budget, shape_of
from webtext_gpt.dial.laws import (
    Cost,
    Shape,
    batch_tokens,
    embedding_lr,
    tokens_of_steps,
    warmup_steps,
)
from webtext_gpt.errors import UserError
from webtext_gpt.model.config import GPT2_VOCAB_SIZE
from webtext_gpt.settings.data import Characters, GPT2Tokenizer, TrainedBPE
from webtext_gpt.settings.optimization import Muon
from webtext_gpt.settings.train import Train
from webtext_gpt.training.distributed.devices import Devices, external_launcher, find_devices

N_CHARACTERS = 256
"""Vocabulary that the cost of `tokenizer=char` is counted with."""


def derive(settings: Train, given: Collection[str]) -> dict[str, object]:
    """Return the values of the keys that the dial sets and the call does not.

    Args:
        settings: the call's settings, with `size` or `budget`.
        given: keys that the call gives, which keep their values.

    Raises:
        UserError: the size or the budget is outside the range of the laws.
    """
    devices = _devices(settings)
    plan = make_plan(settings)
    batch = settings.global_batch_tokens
    if batch is None:
        group = devices.count * (settings.micro_batch_size or 1)
        batch = batch_tokens(plan.tokens, settings.model.block_size, group)
    steps = max(1, round(plan.tokens / batch))
    trainer = settings.trainer
    values: dict[str, object] = {
        "model.n_layer": plan.shape.n_layer,
        "model.n_head": plan.shape.n_head,
        "model.n_embd": plan.shape.n_embd,
        "global_batch_tokens": batch,
    }
    if isinstance(settings.optimizer, Muon):
        values["optimizer.adamw_lr"] = embedding_lr(settings.optimizer.adamw_lr, plan.shape.n_embd)
    if "scheduler.warmup_ratio" not in given:
        values["scheduler.warmup_steps"] = warmup_steps(steps)
    if settings.budget is not None:
        values["trainer.max_minutes"] = settings.budget
    elif not (trainer.max_tokens or trainer.max_steps or trainer.max_minutes):
        values["trainer.max_steps"] = steps
    return {key: value for key, value in values.items() if key not in given}


def make_plan(settings: Train) -> Plan:
    """Return the model and the length of training that `size` or `budget` stands for.

    A length that the settings give replaces the one that is best for the size.

    Raises:
        UserError: see `derive`.
    """
    trainer, batch = settings.trainer, settings.global_batch_tokens
    cost = Cost(_vocabulary(settings), settings.model.block_size)
    if settings.budget is not None:
        return plan_budget(settings.budget, _tokens_per_minute(settings, cost))
    assert settings.size is not None  # noqa: S101 - callers have checked it
    shape = shape_of(settings.size)
    tokens: float
    if trainer.max_tokens is not None:
        tokens = trainer.max_tokens
    elif trainer.max_steps is not None:
        tokens = trainer.max_steps * batch if batch else tokens_of_steps(trainer.max_steps)
    elif trainer.max_minutes is not None:
        tokens = trainer.max_minutes * _tokens_per_minute(settings, cost)(shape)
    else:
        tokens = fitted.LOSS.optimal_tokens(shape, cost)
    return Plan(shape, tokens)


def describe(settings: Train) -> str:
    """Return one line on the model and length that the dial chose for a run.

    Raises:
        UserError: the settings are not those that `derive` gives.
    """
    plan = make_plan(settings)
    dial = f"size={settings.size}" if settings.budget is None else f"budget={settings.budget:g}"
    if settings.model.n_embd != plan.shape.n_embd or settings.global_batch_tokens is None:
        raise UserError(
            f"{dial} sets other keys when a command line is read, which Train(...) does not do; "
            "set them as webtext_gpt.dial.derive says"
        )
    return (
        f"{dial}: {plan.shape.n_layer} layers of width {plan.shape.n_embd} ({plan.shape.size:,} "
        f"weights in the blocks), {plan.tokens:,.0f} tokens in steps of "
        f"{settings.global_batch_tokens:,}; predicted for docstrings: {plan.loss:.2f} nats"
    )


def _vocabulary(settings: Train) -> int:
    """Return the vocabulary that the cost is counted with, without reading the corpus."""
    if settings.model.vocab_size is not None:
        return settings.model.vocab_size
    match settings.tokenizer:
        case TrainedBPE(vocab_size=size):
            return size
        case GPT2Tokenizer():
            return GPT2_VOCAB_SIZE
        case Characters():
            return N_CHARACTERS
    return fitted.VOCAB_SIZE


def _devices(settings: Train) -> Devices:
    trainer = settings.trainer
    return find_devices(trainer.accelerator, trainer.devices, trainer.num_nodes, check=False)


def _tokens_per_minute(settings: Train, cost: Cost) -> Callable[[Shape], float]:
    """Return the speed of training by shape, measured by a few passes on this machine.

    Raises:
        UserError: an external launcher has started several processes, which would each measure.
    """
    from webtext_gpt.dial.speed import measured_speed
    from webtext_gpt.training.callbacks.time_budget import SHARE
    from webtext_gpt.training.precision import best_precision

    devices = _devices(settings)
    if (launcher := external_launcher()) is not None and devices.count > 1:
        key = "trainer.max_minutes" if settings.budget is None else "budget"
        raise UserError(
            f"{key}= needs the speed of training, which each of the processes that {launcher} "
            "starts would measure differently; give size=... alone, or with trainer.max_steps=..."
        )
    precision = settings.trainer.precision
    half = (best_precision(devices.kind) if precision == "auto" else precision).startswith("bf16")
    config = settings.model.build(vocab_size=cost.vocab_size)
    speed = measured_speed(config, devices.kind, half=half)
    return lambda shape: 60 * SHARE * devices.count / speed.seconds(shape, cost)
