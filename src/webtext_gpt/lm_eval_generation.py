"""Generation settings of lm-eval's tasks as arguments of `complete`."""

from collections.abc import Mapping
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from webtext_gpt.errors import UserError
from webtext_gpt.generation import Sampling
from webtext_gpt.generation.texts import CompletionSettings
from webtext_gpt.settings import checks, whole_number

GENERATION_LIMIT = 256
"""New tokens if the task does not set a limit; the harness's own default."""

UNUSED = {"top_k": (None, 0), "top_p": (None, 1), "temperature": (None, 0), "do_sample": (False,)}
"""Values of settings that mean greedy decoding."""


def generation_settings(given: Mapping[str, Any]) -> CompletionSettings:
    """Return the arguments of `complete` for the `generation_kwargs` of a task.

    The harness's own function reads them, so that aliases (`max_new_tokens`, `max_tokens`, ...)
    and missing values have the same meaning as for its other models.

    Raises:
        UserError: a setting is not supported, has a wrong value, or excludes another one.
    """
    try:
        left: dict[str, Any] = dict(normalize_gen_kwargs(dict(given), GENERATION_LIMIT))
    except (ValueError, TypeError) as error:
        raise UserError(f"generation settings {dict(given)}: {error}") from error
    stop, limit = left.pop("until"), left.pop("max_gen_toks")
    num_beams = left.pop("num_beams", 1)
    drawing = {name: left.pop(name, unused[0]) for name, unused in UNUSED.items()}
    penalty = left.pop("repetition_penalty", 1.0)
    if "max_length" in left:
        raise UserError(
            f"max_length={left['max_length']} of the task counts the prompt too; give the number "
            "of new tokens, max_gen_toks"
        )
    if left:
        raise UserError(f"generation settings {sorted(left)} of the task are not supported")
    if any(not isinstance(text, str) for text in stop):
        raise UserError(f"until={stop} of the task holds something that is not text")
    whole_number("max_gen_toks", limit, least=1)
    whole_number("num_beams", num_beams, least=1)
    if num_beams > 1:
        used = [name for name, value in drawing.items() if value not in UNUSED[name]]
        checks.beams(num_beams, drawing=used)
        sampling = Sampling(repetition_penalty=penalty)
    else:
        sampling = _sampling(penalty, **drawing)
    return {
        "stop": [text for text in stop if text],
        "sampling": sampling,
        "max_new_tokens": limit,
        "num_beams": num_beams,
    }


def _sampling(
    repetition_penalty: float,
    do_sample: bool,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
) -> Sampling:
    """Convert transformers' settings to ours, including `top_k=0` and greedy decoding."""
    if not do_sample:
        temperature = 0.0
    elif temperature is None:
        temperature = 1.0
    return Sampling(
        repetition_penalty=repetition_penalty,
        temperature=temperature,
        top_k=top_k or None,
        top_p=top_p,
    )
