"""Check the type, range and combination of settings given on the command line."""

import math
from collections.abc import Iterable

from webtext_gpt.errors import UserError


def whole_number(name: str, value: object, least: int, most: int | None = None) -> None:
    """Check that a setting is a whole number of at least `least`, and at most `most`.

    Raises:
        UserError: it is not; the message names the setting.
    """
    highest = math.inf if most is None else most
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= highest:
        return
    limits = f", {least} or above" if most is None else f" from {least} to {most:,}"
    raise UserError(f"{name}={value} must be a whole number{limits}")


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


def beams(
    num_beams: int,
    num_samples: int = 1,
    drawing: Iterable[str] = (),
    draft: str | None = None,
) -> None:
    """Check settings that are given together with a beam search.

    Args:
        num_beams: above 1.
        num_samples: number of texts asked for, the best ones.
        drawing: names of the given settings that apply only to sampling.
        draft: the method of drafting tokens, if any.

    Raises:
        UserError: some settings do not apply together; the message names them.
    """
    if names := ", ".join(sorted(drawing)):
        raise UserError(
            f"num_beams={num_beams} searches and draws nothing at random; leave {names} out, or "
            "set num_beams=1"
        )
    if draft is not None:
        raise UserError(
            f"draft={draft} continues one text at a time, and num_beams={num_beams} searches among "
            "several; give one of them"
        )
    if num_samples > num_beams:
        raise UserError(
            f"num_samples={num_samples} is more than num_beams={num_beams}; a beam search returns "
            "at most as many texts as it keeps"
        )


def int8_weights(weights: str, device: str, precision: str) -> None:
    """Check settings that are given together with weights in int8.

    Raises:
        UserError: the weights are int8, and the device is not a CPU or the precision not fp32.
    """
    if weights != "int8":
        return
    if device not in ("auto", "cpu"):
        raise UserError(
            f"weights=int8 is for CPUs, not for device={device}; set device=cpu or weights=float"
        )
    if precision == "bf16":
        raise UserError(
            f"weights=int8 is computed in fp32, and precision={precision}; set precision=fp32 or "
            "weights=float"
        )
