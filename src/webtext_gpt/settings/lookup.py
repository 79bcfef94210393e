"""The keys of a class of settings: find one, list all, and suggest some for an unknown one."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from webtext_gpt.settings.base import TARGET, Settings
from webtext_gpt.settings.kinds import Kind
from webtext_gpt.settings.lists import ItemError

NAME = "NAME"
"""Placeholder in a key for a name that the user chooses, as in `data.sources.NAME.path`."""


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

    def matches(self, key: str) -> bool:
        """Return whether a given key, which may contain names of the user's, is this one."""
        parts, given = self.key.split("."), key.split(".")
        return len(parts) == len(given) and all(
            part in (NAME, other) for part, other in zip(parts, given, strict=True)
        )

    def is_inside(self, key: str) -> bool:
        """Return whether a given group, which may contain names of the user's, has this key."""
        parts = key.split(".")
        return len(parts) < self.key.count(".") + 1 and all(
            part in (NAME, other) for part, other in zip(self.key.split("."), parts, strict=False)
        )

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.field.is_required()

    @property
    def default(self) -> Any:
        """The value if nothing sets it; as text if it differs from call to call."""
        extra = self.field.json_schema_extra
        text = extra.get("shown") if isinstance(extra, dict) else None
        return text or self.field.get_default(call_default_factory=True)


@dataclass(frozen=True)
class Changes(Kind):
    """Changes to a class of settings: only the given keys, checked one by one, without defaults.

    Attributes:
        model: the class.
        prefix: key of the group, for messages.
        reserved: keys that are set elsewhere, and are therefore left out of help.
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
            field = field_of(self.model, str(name))
            if field is None or name == TARGET:
                raise ValueError(unknown_key(self.model, key))
            kind = kind_of(field) or Changes(models_of(field)[0], key)
            try:
                changed[str(name)] = kind.read(item)
            except ValueError as error:
                nested = isinstance(kind, Changes)
                raise ValueError(str(error) if nested else located(key, item, error)) from None
        return changed

    def _name(self) -> str:
        return f"settings, {self.prefix}.KEY=..."


@dataclass(frozen=True)
class ByName(Kind):
    """Groups of settings under names that the user gives: `key.NAME.KEY=...`; null removes one.

    Attributes:
        prefix: key of the field, for messages.
        base: class of the settings that every group has.
        models: its subclasses, one for each kind of group.
    """

    prefix: str
    base: type[Settings]
    models: tuple[type[Settings], ...]

    def _read(self, value: object) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError(located(self.prefix, value, self.refused()))
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", str(name)):
                raise ValueError(
                    f"{self.prefix}.{shown(name)}: a name has letters from a to z, digits, _ and - "
                    "only"
                )
        return {str(name): group for name, group in value.items() if not self.is_null(group)}

    def _name(self) -> str:
        return f"settings by name, {self.prefix}.{NAME}.KEY=..."

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))


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
        if kind is not None and not isinstance(kind, Changes | ByName):
            yield Leaf(key, kind, field, settings, own)
        key = f"{key}.{NAME}" if isinstance(kind, ByName) else key
        reserved: Collection[str] = kind.reserved if isinstance(kind, Changes) else ()
        for model in models_of(field):
            for leaf in leaves(model, f"{key}.", common=own, repeat=repeat):
                if leaf.key.removeprefix(f"{key}.") in reserved:
                    continue
                if repeat or leaf.key not in seen:
                    seen.add(leaf.key)
                    yield leaf
            if isinstance(kind, ByName):
                reserved = kind.base.model_fields  # listed once, not for each kind


def models_of(field: FieldInfo) -> list[type[Settings]]:
    """Return the classes of settings that a field can hold."""
    kind = kind_of(field)
    if isinstance(kind, ByName):
        return [kind.base, *kind.models]
    if kind is not None:
        return [kind.model] if isinstance(kind, Changes) else []
    return [a for a in _alternatives(field.annotation) if isinstance(a, type) and _is_settings(a)]


def kind_of(field: FieldInfo) -> Kind | None:
    """Return the kind of a field; None if it is a group with settings of its own."""
    return next((m for m in field.metadata if isinstance(m, Kind)), None)


def field_of(model: type[Settings] | None, name: str) -> FieldInfo | None:
    """Return the field of a class by its key; None if there is none."""
    if model is None:
        return None
    for own, field in model.model_fields.items():
        if own != "target" and name == (field.alias or own):
            return field
    return None


def is_optional(field: FieldInfo) -> bool:
    """Return whether a group may be null."""
    return type(None) in _alternatives(field.annotation)


def _alternatives(annotation: object) -> Iterator[object]:
    if get_origin(annotation) in (Union, UnionType):
        for inner in get_args(annotation):
            yield from _alternatives(inner)
    elif get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    else:
        yield annotation


def _is_settings(candidate: type) -> bool:
    return issubclass(candidate, Settings)


def unknown_key(settings: type[Settings], key: str, others: Iterable[str] = ()) -> str:
    """Return the message for a key that does not exist, with similar keys.

    Args:
        settings: the command's class.
        key: the key.
        others: groups of the command that are not settings, such as `experiment`.
    """
    if instead := settings.elsewhere.get(key.partition(".")[0]):
        return f"unknown key {key!r}: {instead}"
    single = [leaf.key for leaf in leaves(settings)]
    groups = {key.rpartition(".")[0] for key in single} - {""}
    known = list(dict.fromkeys([*single, *(() if "." in key else sorted(groups)), *others]))
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


def located(key: str, value: object, error: ValueError) -> str:
    """Return a kind's message, prefixed with the key and the value."""
    return f"{key}.{error}" if isinstance(error, ItemError) else f"{key}={shown(value)}: {error}"


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
