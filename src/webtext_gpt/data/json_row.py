"""Decode one row of JSON as Python's `json` does; ordinary rows several times as fast."""

import json
from typing import Any

import msgspec

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def decode_row(line: bytes) -> object:
    """Return the value of a line of JSON. If an object repeats a key, the last value counts.

    Also accepted, because programs write them: `NaN`, `Infinity`, half of a surrogate pair, and
    integers of any length (see `HugeInteger`).

    Raises:
        ValueError: the line is not JSON; a `UnicodeDecodeError` if it is not UTF-8.
        RecursionError: it is nested too deeply.
    """
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return json.loads(line.decode().removeprefix("\ufeff"), parse_int=_integer)


class HugeInteger(float):
    """Infinity, in place of an integer with more digits than Python converts (4,300)."""


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return HugeInteger(digits)


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded: it holds no half of a surrogate pair."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
