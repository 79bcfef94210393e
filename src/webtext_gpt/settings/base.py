"""Declaration of settings: a class of typed fields for a command or a group.

Each field states its type and range (its `Kind`), its default and its meaning once; help,
`docs/reference/configuration.md` and every check are made from them.
"""

from collections.abc import Collection, Mapping
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

TARGET = "_target_"
"""Key of a group's choice that names the function or class that the choice configures."""


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
        meaning: one line that explains the setting.
        common: whether `--help` shows it.
        alias: its key, if that is not a name in Python.
        shown: how help shows a default that differs from call to call.
    """
    given = {"default_factory": default} if callable(default) else {"default": default}
    extra: JsonDict = {"common": common, "shown": shown}
    return Field(**given, description=meaning, alias=alias, json_schema_extra=extra)


def keys(group: Any = ..., *, common: bool = True) -> Any:
    """Return a field that holds a group of settings.

    Args:
        group: their class, for all of its defaults; None if the group may be null; by default the
            group must be chosen.
        common: whether `--help` shows the settings that are common in the group.
    """
    given = {"default": group} if group in (None, ...) else {"default_factory": group}
    return Field(**given, json_schema_extra={"common": common})


class Settings(BaseModel):
    """Base class of settings: unknown keys are refused, and assignments are checked."""

    model_config = ConfigDict(
        extra="forbid", validate_assignment=True, populate_by_name=True, protected_namespaces=()
    )

    elsewhere: ClassVar[dict[str, str]] = {}
    """Keys that similar commands have and this one does not, with the reason."""

    @classmethod
    def replaced_groups(cls, values: Mapping[str, Any], given: Collection[str]) -> tuple[str, ...]:
        """Return the groups whose default choices other settings replace.

        Such a group holds only the keys that are given; one that may be null is null.

        Args:
            values: plain values, or texts, by name.
            given: the keys and groups that the call gives.
        """
        return ()

    @classmethod
    def implied_choices(
        cls, given: Mapping[str, str], chosen: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Return the choices of groups that other settings imply.

        Args:
            given: the keys that the call gives, and their texts.
            chosen: the choices that it gives.

        Raises:
            UserError: they exclude each other.
        """
        return {}

    def derived(self, given: Collection[str]) -> dict[str, Any]:
        """Return values of further keys that follow from these settings.

        Args:
            given: the keys that the call gives, which keep their values.

        Raises:
            UserError: no values can be derived from them.
        """
        return {}

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
