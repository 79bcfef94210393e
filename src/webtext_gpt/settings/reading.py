"""Turn plain values into typed settings, or explain each wrong value in one line."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from webtext_gpt.errors import UserError
from webtext_gpt.settings.base import TARGET, Settings
from webtext_gpt.settings.kinds import NULL
from webtext_gpt.settings.lists import ItemError, Named
from webtext_gpt.settings.lookup import (
    ByName,
    Changes,
    field_of,
    is_optional,
    kind_of,
    leaves,
    located,
    models_of,
    shown,
    unknown_key,
)

Class = TypeVar("Class", bound="Settings")


def read(settings: type[Class], values: Mapping[str, Any], *, source: str = "") -> Class:
    """Return typed settings.

    Args:
        settings: their class.
        values: plain values by name, nested as the class is; texts are read as on a command line.
        source: prefix of the keys in messages, such as `links.` in a build.

    Raises:
        UserError: values are missing, unknown or wrong. The message has a line for each, with the
            key, the value given and what is expected.
    """
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        lines = [_explain(details, settings, source) for details in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines[:8]))) from None


def assign(
    settings: type[Settings],
    values: dict[str, Any],
    key: str,
    text: str,
    others: Iterable[str] = (),
) -> None:
    """Set one key in plain values, in place, to the text that was given for it.

    Args:
        settings: the command's class.
        values: the values.
        key: the key.
        text: the text.
        others: see `unknown_key`.

    Raises:
        UserError: there is no such key, or it does not hold a single value.
    """
    *parents, last = key.split(".")
    model: type[Settings] | None = settings
    node = values
    for depth, part in enumerate(parents):
        field = field_of(model, part)
        if field is None:
            raise UserError(_unused(settings, key, others))
        kind = kind_of(field)
        if isinstance(kind, Changes):
            model, node = kind.model, _inner(node, part, key)
            continue
        if isinstance(kind, ByName):
            _refuse_unknown(settings, key, others)
            _assign_by_name(_inner(node, part, key), key, [*parents[depth + 1 :], last], text)
            return
        if isinstance(kind, Named):
            rest = ".".join([*parents[depth + 1 :], last])
            given = _named(kind, node.get(part), ".".join(parents[: depth + 1]))
            node[part] = {**given, rest: text}
            return
        model = _model_of(field, node.get(part))
        if model is None:
            _refuse_target(field, node.get(part), ".".join(parents[: depth + 1]))
            raise UserError(_unused(settings, key, others))
        node = _inner(node, part, key)
    field = field_of(model, last)
    if field is None and any(leaf.key == key for leaf in leaves(settings)):
        raise UserError(_unused(settings, key))
    if field is None or last == TARGET:
        raise UserError(unknown_key(settings, key, others))
    kind = kind_of(field)
    if kind is not None and not isinstance(kind, Changes | ByName):
        node[last] = text
    elif text in ("null", "none", "false", "no", "off") and is_optional(field):
        node[last] = None
    else:
        raise UserError(_several(settings, key, text))


def _refuse_unknown(settings: type[Settings], key: str, others: Iterable[str]) -> None:
    """Refuse a key that no kind of a named group has, or a value for a whole group.

    Raises:
        UserError: names similar keys, or those of the group.
    """
    if not any(leaf.matches(key) or leaf.is_inside(key) for leaf in leaves(settings)):
        raise UserError(unknown_key(settings, key, others))


def _assign_by_name(groups: dict[str, Any], key: str, path: list[str], text: str) -> None:
    """Set one key of a named group, or the whole group to null, which removes it.

    The keys that a group has depend on other keys, perhaps later ones, so `read` checks them.
    """
    name, *inner = path
    if inner:
        _inner(groups, name, key)[inner[0]] = text
    else:
        groups[name] = None if text.strip().lower() in NULL else text


def _several(settings: type[Settings], key: str, text: str) -> str:
    """Return the message for a single value given to a key that holds several settings."""
    inside = [leaf for leaf in leaves(settings) if leaf.is_inside(key)]
    shown = ", ".join(f"{leaf.key}=..." for leaf in inside[:3])
    return f"{key}={text}: {key} holds several settings; give {shown}"


def _explain(details: ErrorDetails, settings: type[Settings], source: str) -> str:
    """Return one line for one of pydantic's errors."""
    key = source + dotted(details["loc"])
    value = details["input"]
    if details["type"] == "missing":
        known = key.removeprefix(source)
        leaf = next((leaf for leaf in leaves(settings) if leaf.matches(known)), None)
        meaning = f" ({leaf.meaning})" if leaf and leaf.meaning else ""
        return f"{key} has no value; give {key}=...{meaning}"
    if details["type"] == "extra_forbidden":
        key = dotted(details["loc"])
        return _other_kind(settings, key) or unknown_key(settings, key)
    if details["type"] == "value_error":
        error = details["ctx"]["error"]
        is_single = any(leaf.matches(key.removeprefix(source)) for leaf in leaves(settings))
        if not is_single and not isinstance(error, ItemError):
            # a check of several settings names them itself
            is_whole = source and not details["loc"]
            return f"{source.rstrip('.')}: {error}" if is_whole else str(error)
        return located(key, value, error)
    return _refuse_group(key, details)


def _refuse_group(key: str, details: ErrorDetails) -> str:
    """Return the message for a group's value that has no known target, or is no group."""
    value = details["input"]
    if details["type"] in ("union_tag_invalid", "literal_error"):
        found = details["ctx"].get("tag", value)
        key = key if key.endswith(TARGET) else f"{key}.{TARGET}"
        allowed = details["ctx"].get("expected_tags") or details["ctx"]["expected"]
        return f"{key}={shown(found)}: expected {allowed}"
    if details["type"] == "union_tag_not_found":
        return f"{key}: {shown(value)} names none of its choices"
    return f"{key}={shown(value)}: holds several settings, {key}.KEY=..., not one value"


def dotted(location: tuple[int | str, ...]) -> str:
    """Return the key of an error's location, without pydantic's tags: the targets of choices."""
    return ".".join(part for part in map(str, location) if "." not in part)


def _inner(node: dict[str, Any], part: str, key: str) -> dict[str, Any]:
    """Return the plain values of a group, which are added if it is absent or null."""
    if node.get(part) is None:
        node[part] = {}
    inner = node[part]
    if not isinstance(inner, dict):
        raise UserError(f"{key}: {part}={shown(inner)} was given, which holds no keys")
    return inner


def _named(kind: Named, value: object, key: str) -> dict[str, Any]:
    """Return the values by name given so far, which may be text: `{a: 1, b: 2}`."""
    try:
        return dict(kind.read({} if value is None else value) or {})
    except ValueError as error:
        raise UserError(f"{key}={shown(value)}: {error}") from None


def _unused(settings: type[Settings], key: str, others: Iterable[str] = ()) -> str:
    """Return the message for a key that the present choices of the groups do not have."""
    owners = [leaf.owner for leaf in leaves(settings, repeat=True) if leaf.matches(key)]
    if not owners:
        return unknown_key(settings, key, others)
    # The description of a choice begins with it, or names it: `data=files`.
    chosen = [(owner.__doc__ or "").partition("`")[2].partition("`")[0] for owner in owners]
    *most, last = dict.fromkeys(["", *(choice for choice in chosen if "=" in choice)])
    named = " or ".join(filter(None, [", ".join(most[1:]), last]))
    group = key.partition(".")[0]
    hint = f"it is a setting of {named}; give that too" if named else f"--help {group} explains it"
    return f"{key} has no effect with the present choice of {group}; {hint}"


def _other_kind(settings: type[Settings], key: str) -> str:
    """Return the message for a key of a named group that only another kind of group has.

    The message names that kind, as in `kind=hub`; it is empty if there is none.
    """
    owners = [leaf.owner for leaf in leaves(settings, repeat=True) if leaf.matches(key)]
    kinds = [kind for owner in owners for kind in re.findall(r"`(kind=\w+)`", owner.__doc__ or "")]
    group = key.rpartition(".")[0]
    named = " or ".join(f"{group}.{kind}" for kind in kinds)
    return f"{key} has no effect with the present {group}.kind; it needs {named}" if named else ""


def _model_of(field: FieldInfo, node: object) -> type[Settings] | None:
    """Return the class of a group's current choice; None if the group is null."""
    models = models_of(field)
    target = node.get(TARGET) if isinstance(node, Mapping) else None
    for model in models:
        allowed = model.model_fields.get("target")
        if target is not None and allowed and target in get_args(allowed.annotation):
            return model
    if node is None and is_optional(field):
        return None
    if len(models) > 1:  # without a choice, keys are of the one that needs none to be named
        models = [m for m in models if target is None and not _needs_target(m)]
    return models[0] if models else None


def _needs_target(model: type[Settings]) -> bool:
    """Return whether a choice of a group is recognized by its target alone."""
    field = model.model_fields.get("target")
    return field is not None and field.is_required()


def _refuse_target(field: FieldInfo, node: object, key: str) -> None:
    """Refuse a configuration whose target no class of the group has.

    Raises:
        UserError: names the target and those that are known.
    """
    known = [
        target
        for model in models_of(field)
        if "target" in model.model_fields
        for target in get_args(model.model_fields["target"].annotation)
    ]
    found = node.get(TARGET) if isinstance(node, Mapping) else None
    if found is not None and found not in known:
        raise UserError(f"{key}.{TARGET}={shown(found)}: expected {' or '.join(map(str, known))}")
