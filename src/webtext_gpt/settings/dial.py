"""Settings that `size=` and `budget=` imply or exclude, before any is read."""

from collections.abc import Mapping

from webtext_gpt.errors import UserError
from webtext_gpt.settings.kinds import NULL
from webtext_gpt.settings.lengths import LENGTHS

DIALS = ("size", "budget")
RECIPE = "modern"
"""The choice of `recipe=` that the dial's laws are fitted for."""
SHAPE = ("model.n_layer", "model.n_head", "model.n_embd")
"""Keys that give the shape of the model."""


def implied_recipe(given: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the choice of `recipe=` that a call with `size` or `budget` makes; else nothing.

    Args:
        given: the keys that the call gives, and their texts.
        chosen: the choices of groups that it gives.

    Raises:
        UserError: the call gives a key or choice that chooses the same thing as the dial.
    """
    values = {key: text for key, text in given.items() if not _is_null(text)}
    size, budget = (values.get(key) for key in DIALS)
    if size is None and budget is None:
        return {}
    if size is not None and budget is not None:
        raise UserError(
            f"size={size} and budget={budget} both choose the size of the model; leave one out, "
            f"or give size={size} trainer.max_minutes={budget}"
        )
    name, dial = (f"size={size}", "size") if budget is None else (f"budget={budget}", "budget")
    other = {**values, **{k: v for k, v in chosen.items() if k == "recipe" or not _is_null(v)}}
    for key, reason in _excluded(dial, other).items():
        if key in other:
            raise UserError(f"{name} and {key}={other[key]}: {reason}")
    return {"recipe": RECIPE}


def _excluded(dial: str, other: Mapping[str, str]) -> dict[str, str]:
    """Return the keys and groups that the dial excludes, each with the reason and what to do."""
    excluded = {
        "checkpoint": "the checkpoint has a size of its own; leave one of the two out",
        "experiment": "both choose the model and its training; leave one of the two out",
        "optimizer": f"the dial has the optimizer of recipe={RECIPE}; leave optimizer= out",
        **dict.fromkeys(
            ("model", *SHAPE), "both choose the shape of the model; leave one of the two out"
        ),
    }
    if other.get("recipe") != RECIPE:
        excluded["recipe"] = f"the laws of the dial are fitted with recipe={RECIPE}; give that"
    if dial == "budget":
        excluded |= dict.fromkeys(
            LENGTHS, "both choose the length of training; leave one of the two out"
        )
    if other.get("resume") != "auto":
        excluded["resume"] = f"a resumed run keeps its model; leave {dial}= out"
    elif dial == "budget":
        excluded["resume"] = (
            "a restart may measure another speed and choose another model; give size= instead of "
            "budget=, or leave resume= out"
        )
    return excluded


def _is_null(text: str) -> bool:
    return text.strip().lower() in NULL
