"""Whether a call resumes the run that a checkpoint is of, or would train something else."""

import dataclasses
from collections.abc import Mapping

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPTConfig


def refuse_other_description(checkpoint: Mapping[str, object], ours: Mapping[str, object]) -> None:
    """Refuse a checkpoint of another model, tokenizer or corpus.

    Args:
        checkpoint: the checkpoint, or its part without tensors.
        ours: `TrainingModule.description` of this call.

    Raises:
        UserError: names what differs.
    """
    different = [
        name + _changes(checkpoint.get(name), value)
        for name, value in ours.items()
        if checkpoint.get(name) != value
    ]
    if different:
        raise UserError(
            f"the run to resume has another {' and another '.join(different)} than this call; "
            "start a new run, or restore what changed"
        )


def refuse_other_order(name: str, theirs: object, ours: object) -> None:
    """Refuse another value of a setting that fixes the order of the samples.

    Args:
        name: the setting.
        theirs: its value in the checkpoint; None if an earlier version did not save it.
        ours: its value in this call.

    Raises:
        UserError: they differ.
    """
    if theirs not in (None, ours):
        raise UserError(
            f"the run to resume has {name}={theirs}, which fixes the order of its samples, but "
            f"this call has {ours}; set {name}={theirs}, or start a new run"
        )


def _changes(theirs: object, ours: object) -> str:
    """Return which entries of two mappings differ: ` (n_layer=3, not 2)`; else nothing."""
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return ""
    keys = {**ours, **theirs}
    absent = dataclasses.asdict(GPTConfig())  # a description lacks later options at their defaults
    both = [(k, *(values.get(k, absent.get(k)) for values in (theirs, ours))) for k in keys]
    pairs = [f"{k}={their}, not {our}" for k, their, our in both if their != our]
    return f" ({'; '.join(pairs[:5])})"
