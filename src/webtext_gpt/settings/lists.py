"""Kinds of settings that hold several values: lists, values by name, and one of several kinds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webtext_gpt.settings.kinds import Kind, PathText, Text

QUOTES = "'\""


class ItemError(ValueError):
    """A value of a setting by name is wrong; the message begins with its name."""


@dataclass(frozen=True)
class Listed(Kind):
    """Several values of one kind: `[a,b]`, or a single one without brackets.

    An item may be quoted, so that it can hold commas, brackets and spaces at its ends. A path that
    exists is one item, whatever its name holds.

    Attributes:
        item: kind of the items.
        length: required number of items; None allows any number.
        empty: whether the list may be empty.
        bare: whether a single value may be given without brackets.
    """

    item: Kind
    length: int | None = None
    empty: bool = False
    bare: bool = True

    def _read(self, value: object) -> list[Any]:
        items = self._items(value)
        if not (items or self.empty):
            raise self.refused("give at least one")
        if self.length not in (None, len(items)):
            raise self.refused()
        try:
            return [self.item.read(item) for item in items]
        except ValueError as error:
            raise self.refused(self._hint(error)) from None

    def _items(self, value: object) -> list[object]:
        if isinstance(value, list | tuple):
            return list(value)
        if not self.bare and not (isinstance(value, str) and value.startswith("[")):
            raise self.refused()
        if not isinstance(value, str):
            return [value]
        if self.bare and isinstance(self.item, PathText) and _exists(value):
            return [value]
        in_brackets = value.startswith("[") and value.endswith("]")
        if isinstance(self.item, Text) and not in_brackets:
            return [value]
        try:
            return list(split_items(value[1:-1] if in_brackets else value))
        except ValueError as error:
            raise self.refused(str(error)) from None

    def is_null(self, value: object) -> bool:
        """Return whether a value stands for null: as for the items, so that texts stay texts."""
        return self.item.is_null(value)

    @staticmethod
    def _hint(error: ValueError) -> str:
        _, _, hint = str(error).partition("; ")
        return hint

    def _name(self) -> str:
        what = self.item.name()
        if isinstance(self.item, PathText):
            return "a path or a list of them, [a,b]"
        count = f"{self.length} values" if self.length else "values"
        return f"a list [a,b] of {count}, each {what}"


@dataclass(frozen=True)
class Named(Kind):
    """Values by name: `key.NAME=value`, or `{a: 1, b: 2}`.

    Attributes:
        item: kind of the values.
        names: the allowed names; empty if the user may choose them freely.
    """

    item: Kind
    names: tuple[str, ...] = ()

    def _read(self, value: object) -> dict[str, Any]:
        if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
            try:
                pairs = [item.partition(":") for item in split_items(value[1:-1], pairs=True)]
            except ValueError as error:
                raise self.refused(str(error)) from None
            if not all(colon for _, colon, _ in pairs):
                raise self.refused()
            value = {unquoted(k.strip()): unquoted(v.strip()) for k, _, v in pairs}
        if not isinstance(value, Mapping):
            raise self.refused()
        read = {}
        for name, item in value.items():
            if self.names and name not in self.names:
                raise self.refused()
            try:
                read[str(name)] = self.item.read(item)
            except ValueError as error:
                raise ItemError(f"{name}={item}: {error}") from None
        return read

    def _name(self) -> str:
        names = "|".join(self.names) if self.names else "NAME"
        return f"values by name, KEY.{names}=..., each {self.item.describe()}"


@dataclass(frozen=True)
class Either(Kind):
    """A value of one of several kinds; the first that takes it reads it."""

    kinds: tuple[Kind, ...]

    def _read(self, value: object) -> Any:
        hints = []
        for kind in self.kinds:
            try:
                return kind.read(value)
            except ValueError as error:
                hints.append(str(error).partition("; ")[2])
        raise self.refused(next(filter(None, hints), ""))

    def _name(self) -> str:
        return ", or ".join(kind.name() for kind in self.kinds)


def split_items(text: str, *, pairs: bool = False) -> list[str]:
    r"""Split at the commas outside quotes and brackets; remove the quotes of quoted items.

    Inside quotes, `\"` gives the quote, and `\\` before a quote a backslash; elsewhere a backslash
    is a character like any other.

    Args:
        text: the items.
        pairs: they are pairs, `a: "b"`, whose quotes are kept, and may also stand after a colon.

    Raises:
        ValueError: a quote or bracket is not closed.
    """
    items, item, quote, depth = [], "", "", 0
    characters = iter(text)
    for c in characters:
        if quote:
            item += c
            if c == "\\":
                item += next(characters, "")
            quote = "" if c == quote else quote
        elif c in QUOTES and (not item.strip() or (pairs and item.rstrip().endswith(":"))):
            quote, item = c, item + c
        elif c == "," and not depth:
            items.append(item)
            item = ""
        else:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(c, 0)
            item += c
    if quote or depth:
        mark = "a quote" if quote else "a bracket"
        raise ValueError(f"{mark} is not closed; an item that holds one is put in quotes")
    if item.strip() or items:
        items.append(item)
    return [item.strip() if pairs else unquoted(item.strip()) for item in items]


def unquoted(text: str) -> str:
    """Return the text inside quotes; a text without quotes is returned unchanged."""
    if len(text) < 2 or text[0] not in QUOTES or text[-1] != text[0]:
        return text
    before_quote = rf"(\\+)({text[0]}|\Z)"
    return re.sub(before_quote, lambda m: "\\" * (len(m[1]) // 2) + m[2], text[1:-1])


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or a NUL character
        return False


def unescaped(text: str) -> str:
    r"""Return the text of a setting with the escapes `\n`, `\t` and `\\` replaced."""
    escapes = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda match: escapes[match[1]], text)
