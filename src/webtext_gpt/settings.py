"""Settings that come from a command line: of the right kind, and in range."""

import math

from webtext_gpt.errors import UserError


def whole_number(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number of at least `least`.

    Raises:
        UserError: names the setting.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{name}={value} must be a whole number, {least} or above")


def number(name: str, value: object, least: float = -math.inf, below: float = math.inf) -> float:
    """The value as a float.

    Raises:
        UserError: it is no finite number of at least `least` and under `below`; names the setting.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{name}={value} must be a number")
    if not least <= value < below:
        limits = [f"{least:g} or above"] if least > -math.inf else []
        limits += [f"under {below:g}"] if below < math.inf else []
        raise UserError(f"{name}={value} must be {' and '.join(limits)}")
    return float(value)
