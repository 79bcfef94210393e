"""Check the type and range of settings given on the command line."""

import math

from webtext_gpt.errors import UserError


def whole_number(name: str, value: object, least: int) -> None:
    """Check that a setting is a whole number of at least `least`.

    Raises:
        UserError: it is not; the message names the setting.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name}={value} must be a whole number, {least} or above")


def number(name: str, value: object, least: float = -math.inf, below: float = math.inf) -> float:
    """Check that a setting is a finite number in [least, below), and return it as a float.

    Raises:
        UserError: it is not; the message names the setting.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{name}={value} must be a number")
    if not least <= value < below:
        limits = [f"{least:g} or above"] if least > -math.inf else []
        limits += [f"under {below:g}"] if below < math.inf else []
        raise UserError(f"{name}={value} must be {' and '.join(limits)}")
    return float(value)
