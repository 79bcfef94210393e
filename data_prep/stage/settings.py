"""A composed configuration as plain values, each of the kind that its stage expects."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from webtext_gpt.errors import UserError

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def settings(cfg: DictConfig, kinds: dict[str, type]) -> dict[str, Any]:
    """Turn a configuration into plain values and check those that `kinds` names by dotted key.

    One name will do for a list of one; `workers` may be null.

    Raises:
        UserError: a value of another kind, named with its key.
    """
    options: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
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
    return dict(options)
