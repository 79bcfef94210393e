"""Length of training: the one that a call gives replaces that of its run or experiment."""

from collections.abc import Sequence
from typing import Any

from webtext_gpt.settings.kinds import NULL

LENGTHS = ("trainer.max_steps", "trainer.max_tokens", "trainer.max_minutes", "epochs")
"""Keys that give the length of a run."""


def replace_length(values: dict[str, Any], given: Sequence[tuple[str, str]]) -> None:
    """Remove every length from plain values, in place, if a call gives one.

    A run that began with `trainer.max_tokens` can so be resumed with `trainer.max_steps`.

    Args:
        values: those of an experiment, or of the run to resume.
        given: keys and texts of the command line. `null` removes one length and keeps the others.
    """
    if not any(key in LENGTHS and text.lower() not in NULL for key, text in given):
        return
    for key in LENGTHS:
        group, _, name = key.rpartition(".")
        node = values.get(group) if group else values
        if isinstance(node, dict):
            node.pop(name, None)
