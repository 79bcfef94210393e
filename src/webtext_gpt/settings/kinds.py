"""Kinds of settings: the values that are allowed, how to read and how to describe them.

A value arrives as the text of a `key=value` argument or as a YAML value; `Kind.read` takes both and
returns one Python type. A field names its kind in its annotation:

    seed: Annotated[int, Whole(0)]
    limit: Annotated[int | None, Whole(1, unit="examples", null="all")]
"""

import difflib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from webtext_gpt.remote.addresses import is_address

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


NULL = ("null", "none", "~")


@dataclass(frozen=True, kw_only=True)
class Kind(ABC):
    """Values that a setting may have.

    Attributes:
        null: the meaning of `null`; None if null is refused.
    """

    null: str | None = None

    def read(self, value: object) -> Any:
        """Return the typed value.

        Raises:
            ValueError: the value is not of this kind; the message says what is expected.
        """
        if self.null is not None and self.is_null(value):
            return None
        return self._read(value)

    def is_null(self, value: object) -> bool:
        """Return whether a value stands for null."""
        return value is None or (isinstance(value, str) and value.strip().lower() in NULL)

    @abstractmethod
    def _read(self, value: object) -> Any:
        """Return the typed value of anything but null."""

    def name(self) -> str:
        """Return a description of the values, without null: `a whole number, 1 or above`."""
        return self._name()

    @abstractmethod
    def _name(self) -> str:
        """Return the kind's `name`."""

    def describe(self) -> str:
        """Return a description of the values, with null and its meaning."""
        return self.name() + (f", or null ({self.null})" if self.null is not None else "")

    def refused(self, hint: str = "") -> ValueError:
        """Return the error for a value that is not of this kind."""
        return ValueError(f"expected {self.describe()}{f'; {hint}' if hint else ''}")

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)


@dataclass(frozen=True)
class Switch(Kind):
    """True or false; yes, on and 1 are true, and no, off and 0 false."""

    def _read(self, value: object) -> bool:
        text = str(value).strip().lower()
        if not isinstance(value, bool | int | str) or text not in TRUE + FALSE:
            raise self.refused()
        return text in TRUE

    def _name(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number in [least, most]. `1_000` and `1e6` are read; `2**16` is refused by name."""

    least: int | None = None
    most: int | None = None
    unit: str = ""

    def _read(self, value: object) -> int:
        number = _whole(value)
        if number is None:
            raise self.refused(_computed(value))
        if not (self.least is None or number >= self.least) or not (
            self.most is None or number <= self.most
        ):
            raise self.refused()
        return number

    def _name(self) -> str:
        unit = f" of {self.unit}" if self.unit else ""
        return f"a whole number{unit}" + _range(self.least, self.most)


@dataclass(frozen=True)
class Count(Whole):
    """A whole number that may be large: `10M`, `1.5M` and `300k` are read too."""

    def _read(self, value: object) -> int:
        scales = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
        text = str(value).strip()
        scale = scales.get(text[-1:].lower())
        if scale is None:
            return super()._read(value)
        try:
            scaled = float(text[:-1]) * scale
        except ValueError:
            raise self.refused() from None
        return super()._read(round(scaled) if math.isfinite(scaled) else text)

    def _name(self) -> str:
        return f"{super()._name()}, such as 300k or 10M"


@dataclass(frozen=True)
class Number(Kind):
    """A finite number; `least` and `most` belong to the range, `above` and `below` do not."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    unit: str = ""

    def _read(self, value: object) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise self.refused(_computed(value)) from None
        inside = (
            (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )
        if not math.isfinite(number) or not inside:
            raise self.refused()
        return number

    def _name(self) -> str:
        unit = f" of {self.unit}" if self.unit else ""
        above = [f"above {self.above:g}"] if self.above is not None else []
        below = [f"below {self.below:g}"] if self.below is not None else []
        bounds = [*above, _range(self.least, self.most).removeprefix(", "), *below]
        listed = " and ".join(filter(None, bounds))
        return f"a number{unit}" + (f", {listed}" if listed else "")


@dataclass(frozen=True)
class OneOf(Kind):
    """One of several words.

    Attributes:
        choices: the words.
        instead: for words that people try, advice on what to give instead.
        unlisted: further accepted words, too many to list in messages.
    """

    choices: tuple[str, ...]
    instead: Mapping[str, str] | None = None
    unlisted: tuple[str, ...] = ()

    def _read(self, value: object) -> str:
        text = str(value).lower() if isinstance(value, bool) else str(value).strip()
        words = self.choices + self.unlisted
        if text not in words or isinstance(value, list | dict):
            near = difflib.get_close_matches(text, words, n=2, cutoff=0.6)
            similar = f"did you mean {' or '.join(near)}?" if near else ""
            raise self.refused((self.instead or {}).get(text, similar))
        return text

    def _name(self) -> str:
        *most, last = self.choices
        return f"{', '.join(most)} or {last}" if most else last


@dataclass(frozen=True)
class Text(Kind):
    """Text, taken as it is given.

    Attributes:
        what: description of the text, for messages.
        empty: whether it may be empty.
        pattern: regular expression that the whole text has to match.
    """

    what: str = "text"
    empty: bool = False
    pattern: str = ""

    def _read(self, value: object) -> str:
        if isinstance(value, bool | list | dict) or value is None:
            raise self.refused("in YAML, put it in quotes" if isinstance(value, bool) else "")
        text = str(value)
        if not text and not self.empty:
            raise self.refused("it is empty")
        if not isinstance(self, PathText) and not _is_unicode(text):
            raise self.refused("it is not valid UTF-8")
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise self.refused()
        return text

    def is_null(self, value: object) -> bool:
        """Return whether a value stands for null; only the word `null` does in text."""
        return value is None or value == "null"

    def _name(self) -> str:
        return self.what


@dataclass(frozen=True)
class PathText(Text):
    """A path or glob pattern, taken as it is given.

    Attributes:
        remote: whether it may be an address in an object store, such as s3://BUCKET/FOLDER.
    """

    what: str = "a path"
    remote: bool = False

    def _read(self, value: object) -> str:
        text = super()._read(value)
        if "\0" in text:
            raise self.refused("it holds a NUL character")
        if not self.remote and is_address(text):
            raise self.refused(
                "an address is read or written only where data is; copy the file or folder with "
                "the store's own tool, and name the copy"
            )
        return text


def _whole(value: object) -> int | None:
    """Return an int for 5, "5", "1_000", 1e6 and "1e6"; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value) if isinstance(value, str) else _integral(float(value), value)
    except (ValueError, OverflowError):
        pass
    try:
        return _integral(float(value), None)
    except (ValueError, OverflowError):
        return None


def _integral(number: float, exact: int | float | None) -> int | None:
    if isinstance(exact, int):
        return exact
    return int(number) if math.isfinite(number) and number.is_integer() else None


def _computed(value: object) -> str:
    """Return a hint for text that is not evaluated: `2**16`, `1/3`, `10%` and `1,000`."""
    text = str(value).strip()
    if re.fullmatch(r"\d{1,3}(,\d{3})+", text):
        return f"give {text.replace(',', '_')}"
    if re.fullmatch(r"\d+(\.\d+)?\s*%", text):
        return f"give the fraction, {float(text[:-1]) / 100:g}"
    match = re.fullmatch(r"(\d{1,9})\s*(\*\*|\^|\*|x|/)\s*(\d{1,9})", text)
    if not match:
        return ""
    left, sign, right = int(match[1]), match[2], int(match[3])
    if sign in ("**", "^"):
        return f"give the result, {left**right}" if right <= 64 and left <= 1024 else ""
    if sign == "/":
        return f"give the result, {left / right:.6g}" if right else ""
    return f"give the result, {left * right}"


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f", {least:,} to {most:,}"
    if least is not None:
        return f", {least:,} or above"
    return f", {most:,} or below" if most is not None else ""


def _is_unicode(text: str) -> bool:
    """Return whether a text can be written; bytes of the command line that are not UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
