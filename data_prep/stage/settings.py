"""Composed configurations as plain values of the expected types."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from webtext_gpt.errors import UserError

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def settings(cfg: DictConfig, kinds: dict[str, type]) -> dict[str, Any]:
    """Convert a configuration to plain values and check the types of some keys.

    A whole number is accepted for a float, and a single name for a list of names. `workers` is
    always checked: a whole number or null.

    Args:
        cfg: The composed configuration.
        kinds: Expected types by dotted key.

    Raises:
        UserError: A value has another type. The message names its key.
    """
    options: dict[str, Any] = OmegaConf.to_container(  # type: ignore[assignment]
        cfg, resolve=True, throw_on_missing=True
    )
    for key, kind in {**kinds, "workers": int}.items():
        *parents, name = key.split(".")
        node = options
        for parent in parents:
            node = node[parent]
        if name not in node or (name == "workers" and node[name] is None):
            continue
        value = node[name]
        if kind is list:
            node[name] = value if isinstance(value, list) else [value]
            if not node[name] or not all(isinstance(entry, str) for entry in node[name]):
                raise UserError(f"{key}={value}: expected a list of names, as {key}=[a,b]")
        elif kind is float and type(value) is int:
            node[name] = float(value)
        elif type(value) is not kind:
            raise UserError(f"{key}={value}: expected {_NAMES[kind]}")
    return options
