"""Check the type, range and combination of settings given on the command line."""

import math
from collections.abc import Iterable

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


def beams(num_beams: int, num_samples: int = 1, drawing: Iterable[str] = ()) -> None:
    """Check settings that are given together with a beam search.

    Args:
        num_beams: above 1.
        num_samples: number of texts wanted, the best ones.
        drawing: names of the given settings that only choose tokens at random.

    Raises:
        UserError: some settings do not apply together; the message names them.
    """
    if names := ", ".join(sorted(drawing)):
        raise UserError(
            f"num_beams={num_beams} searches and draws nothing at random; leave {names} out, or "
            "set num_beams=1"
        )
    if num_samples > num_beams:
        raise UserError(
            f"num_samples={num_samples} is more than num_beams={num_beams}; a beam search returns "
            "at most as many texts as it keeps"
        )
