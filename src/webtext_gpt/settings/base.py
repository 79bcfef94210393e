"""Settings as typed objects: how they are declared, read from plain values, and looked up by key.

A command's settings are a `Settings` class. Each field states its type and range (its `Kind`), its
default and its meaning once; help, `docs/configuration.md` and every check are made from them.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from webtext_gpt.errors import UserError
from webtext_gpt.settings.kinds import ItemError, Kind, Named

TARGET = "_target_"
"""Key of a group's choice that names the function or class that the choice configures."""

Class = TypeVar("Class", bound="Settings")


def setting(
    default: Any = ...,
    meaning: str = "",
    *,
    common: bool = False,
    alias: str | None = None,
    shown: str | None = None,
) -> Any:
    """Return a field.

    Args:
        default: its default; `...` if it must be given; a function that returns it.
        meaning: what the setting does.
        common: whether `--help` shows it.
        alias: its key, if that is not a name in Python.
        shown: how help shows a default that differs from call to call.
    """
    given = {"default_factory": default} if callable(default) else {"default": default}
    extra: JsonDict = {"common": common, "shown": shown}
    return Field(**given, description=meaning, alias=alias, json_schema_extra=extra)


def keys(group: type["Settings"] | None = None, *, common: bool = True) -> Any:
    """Return a field that holds settings of its own, by default with all of their defaults."""
    default: dict[str, Any] = {"default": None} if group is None else {"default_factory": group}
    return Field(**default, json_schema_extra={"common": common})


class Settings(BaseModel):
    """Base class of settings: unknown keys are refused, and assignments are checked."""

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, populate_by_name=True, protected_namespaces=()
    )

    def arguments(self) -> dict[str, Any]:
        """Return the fields as keyword arguments."""
        return {name: getattr(self, name) for name in type(self).model_fields if name != "target"}


class Target(Settings):
    """Settings of one function or class: the choice of a group.

    `target` names the function; a subclass restricts it to one name, so that a configuration
    cannot name other code.
    """

    target: str

    def build(self, *args: Any, **more: Any) -> Any:
        """Call the function with these settings."""
        return self.partial()(*args, **more)

    def partial(self) -> partial[Any]:
        """Return the function with these settings as keyword arguments."""
        module, _, name = self.target.rpartition(".")
        return partial(getattr(import_module(module), name), **self.arguments())


@dataclass(frozen=True)
class Leaf:
    """One key of a command."""

    key: str
    kind: Kind
    field: FieldInfo
    owner: type[Settings]
    """Class that declares the field."""

    common: bool
    """Whether the usual help shows it."""

    @property
    def meaning(self) -> str:
        """The key's description."""
        return self.field.description or ""

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.field.is_required()

    @property
    def default(self) -> Any:
        """The value without a choice or a setting; as text if it differs from call to call."""
        extra = self.field.json_schema_extra
        text = extra.get("shown") if isinstance(extra, dict) else None
        return text or self.field.get_default(call_default_factory=True)


@dataclass(frozen=True)
class Changes(Kind):
    """Some settings of a class, checked one by one; what is not given keeps its default elsewhere.

    Attributes:
        model: the class.
        prefix: key of the group, for messages.
        reserved: keys that are set elsewhere, and therefore not in help.
    """

    model: type[Settings]
    prefix: str
    reserved: tuple[str, ...] = ()

    def _read(self, value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self.refused()
        changed = {}
        for name, item in value.items():
            key = f"{self.prefix}.{name}"
            field = _field(self.model, str(name))
            if field is None or name == TARGET:
                raise ValueError(unknown_key(self.model, key))
            kind = kind_of(field) or Changes(models_of(field)[0], key)
            try:
                changed[str(name)] = kind.read(item)
            except ValueError as error:
                nested = isinstance(kind, Changes)
                raise ValueError(str(error) if nested else _located(key, item, error)) from None
        return changed

    def _name(self) -> str:
        return f"settings, {self.prefix}.KEY=..."


def read(settings: type[Class], values: Mapping[str, Any], *, source: str = "") -> Class:
    """Return typed settings.

    Args:
        settings: their class.
        values: plain values by name, nested as the class is; texts are read as on a command line.
        source: prefix of the keys in messages, such as `links.` in a build.

    Raises:
        UserError: values are missing, unknown or wrong. There is a line for each, which names the
            key, what was given and what is expected.
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
        field = _field(model, part)
        if field is None:
            raise UserError(unknown_key(settings, key, others))
        kind = kind_of(field)
        if isinstance(kind, Changes):
            model, node = kind.model, _inner(node, part, key)
            continue
        if isinstance(kind, Named):
            rest = ".".join([*parents[depth + 1 :], last])
            given = _named(kind, node.get(part), ".".join(parents[: depth + 1]))
            node[part] = {**given, rest: text}
            return
        model = _model_of(field, node.get(part))
        if model is None:
            raise UserError(_unused(settings, key, others))
        node = _inner(node, part, key)
    field = _field(model, last)
    if field is None and any(leaf.key == key for leaf in leaves(settings)):
        raise UserError(_unused(settings, key))
    if field is None or last == TARGET:
        raise UserError(unknown_key(settings, key, others))
    kind = kind_of(field)
    if kind is not None and not isinstance(kind, Changes):
        node[last] = text
    elif text in ("null", "none", "false", "no", "off") and _is_optional(field):
        node[last] = None
    else:
        inner = [leaf.key for leaf in leaves(settings) if leaf.key.startswith(f"{key}.")]
        shown = ", ".join(f"{name}=..." for name in inner[:3])
        raise UserError(f"{key}={text}: {key} holds several settings; give {shown}")


def leaves(
    settings: type[Settings], prefix: str = "", *, common: bool = True, repeat: bool = False
) -> Iterator[Leaf]:
    """Yield every key of a class of settings, with those of all choices of its groups.

    Args:
        settings: the class.
        prefix: prefix of the keys.
        common: whether the group that holds the keys is shown in the usual help.
        repeat: yield a key again for each class of choices that has it.
    """
    seen: set[str] = set()
    for name, field in settings.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        if name == "target":
            continue
        extra = field.json_schema_extra
        own = common and bool(isinstance(extra, dict) and extra.get("common"))
        kind = kind_of(field)
        if kind is not None and not isinstance(kind, Changes):
            yield Leaf(key, kind, field, settings, own)
        reserved = kind.reserved if isinstance(kind, Changes) else ()
        for model in models_of(field):
            for leaf in leaves(model, f"{key}.", common=own, repeat=repeat):
                if leaf.key.removeprefix(f"{key}.") in reserved:
                    continue
                if repeat or leaf.key not in seen:
                    seen.add(leaf.key)
                    yield leaf


def models_of(field: FieldInfo) -> list[type[Settings]]:
    """Return the classes of settings that a field can hold."""
    kind = kind_of(field)
    if kind is not None:
        return [kind.model] if isinstance(kind, Changes) else []
    return [a for a in _alternatives(field.annotation) if isinstance(a, type) and _is_settings(a)]


def unknown_key(settings: type[Settings], key: str, others: Iterable[str] = ()) -> str:
    """Return the message for a key that does not exist, with similar keys.

    Args:
        settings: the command's class.
        key: the key.
        others: groups of the command that are no settings, such as `experiment`.
    """
    single = [leaf.key for leaf in leaves(settings)]
    groups = {key.rpartition(".")[0] for key in single} - {""}
    known = list(dict.fromkeys([*single, *sorted(groups), *others]))
    word = key.rpartition(".")[2]
    near = [k for k in known if k.rpartition(".")[2] == word]  # the same key elsewhere
    near += [k for name, k in HABITS.items() if name == word and k in known and k not in near]
    near = near or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near[:3])}?" if near else ""
    return f"unknown key {key!r}{hint or ';'} --help all lists every key"


HABITS = {
    "max_iters": "trainer.max_steps", "max_epochs": "epochs", "num_train_epochs": "epochs",
    "learning_rate": "optimizer.lr", "wd": "optimizer.weight_decay",
    "warmup_iters": "scheduler.warmup_steps", "min_lr": "scheduler.min_ratio",
    "batch_size": "micro_batch_size", "total_batch_size": "global_batch_tokens",
    "dtype": "trainer.precision", "device": "trainer.accelerator", "gpus": "trainer.devices",
    "grad_clip": "trainer.gradient_clip_val", "eval_interval": "validate_every",
    "out_dir": "run_dir", "output_dir": "run_dir", "max_length": "max_new_tokens",
    "model": "checkpoint", "start": "prompt", "accumulate_grad_batches": "global_batch_tokens",
    "max_time": "trainer.max_minutes", "val_check_interval": "validate_every",
    "init_from": "checkpoint",
}  # fmt: skip
"""Keys of other programs, and ours for the same thing."""


def _explain(details: ErrorDetails, settings: type[Settings], source: str) -> str:
    """Return one line for one of pydantic's errors."""
    key = source + dotted(details["loc"])
    value = details["input"]
    if details["type"] == "missing":
        leaf = next((leaf for leaf in leaves(settings) if source + leaf.key == key), None)
        meaning = f" ({leaf.meaning})" if leaf and leaf.meaning else ""
        return f"{key} has no value; give {key}=...{meaning}"
    if details["type"] == "extra_forbidden":
        return unknown_key(settings, dotted(details["loc"]))
    if details["type"] == "value_error":
        error = details["ctx"]["error"]
        is_single = any(source + leaf.key == key for leaf in leaves(settings))
        if not is_single and not isinstance(error, ItemError):
            # a check of several settings names them itself
            is_whole = source and not details["loc"]
            return f"{source.rstrip('.')}: {error}" if is_whole else str(error)
        return _located(key, value, error)
    return _refuse_group(key, details)


def _refuse_group(key: str, details: ErrorDetails) -> str:
    """Return the message for a value of a group that has no known target, or is not a group."""
    value = details["input"]
    if details["type"] in ("union_tag_invalid", "literal_error"):
        found = details["ctx"].get("tag", value)
        key = key if key.endswith(TARGET) else f"{key}.{TARGET}"
        allowed = details["ctx"].get("expected_tags") or details["ctx"]["expected"]
        return f"{key}={shown(found)}: expected {allowed}"
    if details["type"] == "union_tag_not_found":
        return f"{key}: {shown(value)} names none of its choices"
    return f"{key}={shown(value)}: holds several settings, {key}.KEY=..., not one value"


def _located(key: str, value: object, error: ValueError) -> str:
    """Return the message of a kind with the key and value in front."""
    return f"{key}.{error}" if isinstance(error, ItemError) else f"{key}={shown(value)}: {error}"


def dotted(location: tuple[int | str, ...]) -> str:
    """Return the key of an error's location, without pydantic's tags: the targets of choices."""
    return ".".join(part for part in map(str, location) if "." not in part)


def shown(value: object) -> str:
    """Return a value as it is written on a command line, cut to a readable length."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {shown(item)}' for name, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    # One line: a line break or another invisible character is shown as in Python.
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))
    return text if len(text) <= 200 else f"{text[:200]}..."


def _inner(node: dict[str, Any], part: str, key: str) -> dict[str, Any]:
    """Return the plain values of a group, which are added if it is absent or null."""
    if node.get(part) is None:
        node[part] = {}
    inner = node[part]
    if not isinstance(inner, dict):
        raise UserError(f"{key}: {part}={shown(inner)} was given, which holds no keys")
    return inner


def _named(kind: Named, value: object, key: str) -> dict[str, Any]:
    """Return the values by name that were given so far, also as text: `{a: 1, b: 2}`."""
    try:
        return dict(kind.read({} if value is None else value) or {})
    except ValueError as error:
        raise UserError(f"{key}={shown(value)}: {error}") from None


def _unused(settings: type[Settings], key: str, others: Iterable[str] = ()) -> str:
    """Return the message for a key that the present choices of the groups do not have."""
    owners = [leaf.owner for leaf in leaves(settings, repeat=True) if leaf.key == key]
    if not owners:
        return unknown_key(settings, key, others)
    # The description of a choice begins with it, or names it: `data=files`.
    chosen = [(owner.__doc__ or "").partition("`")[2].partition("`")[0] for owner in owners]
    named = " or ".join(dict.fromkeys(choice for choice in chosen if "=" in choice))
    group = key.partition(".")[0]
    hint = f"it is a setting of {named}; give that too" if named else f"--help {group} explains it"
    return f"{key} has no effect with the present choice of {group}; {hint}"


def _field(model: type[Settings] | None, name: str) -> FieldInfo | None:
    if model is None or name == "target":
        return None
    for own, field in model.model_fields.items():
        if name == (field.alias or own):
            return field
    return None


def kind_of(field: FieldInfo) -> Kind | None:
    """Return the kind of a field; None if it holds settings of its own."""
    return next((m for m in field.metadata if isinstance(m, Kind)), None)


def _model_of(field: FieldInfo, node: object) -> type[Settings] | None:
    """Return the class that a group's present choice has; None if the group is null."""
    models = models_of(field)
    target = node.get(TARGET) if isinstance(node, Mapping) else None
    for model in models:
        allowed = model.model_fields.get("target")
        if target is not None and allowed and target in get_args(allowed.annotation):
            return model
    if len(models) == 1 and (node is not None or not _is_optional(field)):
        return models[0]
    return None


def _alternatives(annotation: object) -> Iterator[object]:
    if get_origin(annotation) in (Union, UnionType):
        for inner in get_args(annotation):
            yield from _alternatives(inner)
    elif get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    else:
        yield annotation


def _is_optional(field: FieldInfo) -> bool:
    return type(None) in _alternatives(field.annotation)


def _is_settings(candidate: type) -> bool:
    return issubclass(candidate, Settings)
