"""Token after token from a model, for a batch of prompts."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.generation.reader import Reader
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.model import GPT
from webtext_gpt.settings import whole_number

OVERFLOWS = ("slide", "refuse")


def generate(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    seeds: Sequence[int] | None = None,
    finished: Callable[[int, int], bool] = lambda row, token: False,
    overflow: str = "slide",
    use_cache: bool = True,
) -> list[list[int]]:
    """Continue every prompt.

    A prompt's continuation does not depend on what else is in the batch.

    Args:
        model: in evaluation mode.
        prompts: token ids, at least one a prompt; the lengths may differ.
        max_new_tokens: tokens to add to each.
        sampling: how tokens are chosen; `None` samples from the model's own probabilities.
        seeds: of the random numbers of each prompt; `None` draws others each time.
        finished: called with a prompt's number and its newest token; `True` ends it there.
        overflow: where the text outgrows the context, `slide` lets the model see its last
            `block_size` tokens, which costs a whole forward pass a token, since every position
            changes; `refuse` raises before anything is generated.
        use_cache: keep keys and values; the tokens are the same without, and slower.

    Returns:
        The new tokens of each prompt, the one that ended it included.

    Raises:
        UserError: a setting is out of range, a prompt is empty, or does not fit and must not
            slide.
    """
    sampling = sampling or Sampling()
    block_size = model.config.block_size
    check_prompts(prompts, max_new_tokens, overflow, block_size)
    uniforms = _uniforms(seeds, len(prompts), max_new_tokens)
    texts = [list(prompt) for prompt in prompts]
    overflows = [len(prompt) + max_new_tokens > block_size for prompt in prompts]
    for does_overflow in (False, True):  # apart, or one long text would slow all others down
        rows = [row for row in range(len(prompts)) if overflows[row] == does_overflow]
        _continue(model, texts, rows, sampling, uniforms, finished, use_cache)
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]


@torch.inference_mode()
def _continue(
    model: GPT,
    texts: list[list[int]],
    rows: list[int],
    sampling: Sampling,
    uniforms: Tensor,
    finished: Callable[[int, int], bool],
    use_cache: bool,
) -> None:
    """Add tokens to the texts of these rows, until each is finished or has them all."""
    n_steps = uniforms.size(1)
    reader = Reader(model, max((len(texts[row]) for row in rows), default=0) + n_steps, use_cache)
    for step in range(n_steps if rows else 0):
        going = [texts[row] for row in rows]
        logits = reader.next_logits(going)
        chosen = sampling.choose(logits, going, uniforms[rows, step]).tolist()
        staying = []
        for place, (row, token) in enumerate(zip(rows, chosen, strict=True)):
            texts[row].append(token)
            if not finished(row, token):
                staying.append(place)
        if not staying:
            break
        if len(staying) < len(rows):
            reader.keep(staying)
            rows = [rows[place] for place in staying]


def check_prompts(
    prompts: Sequence[Sequence[int]], max_new_tokens: int, overflow: str, block_size: int
) -> None:
    """Refuse prompts that cannot be continued as asked.

    Raises:
        UserError: names the first such prompt, counting from 1, or the setting.
    """
    whole_number("max_new_tokens", max_new_tokens, least=0)
    if overflow not in OVERFLOWS:
        raise UserError(f"overflow={overflow!r} is not one of {', '.join(OVERFLOWS)}")
    for number, prompt in enumerate(prompts, start=1):
        if not prompt:
            raise UserError(f"prompt {number} holds no token; begin it with end-of-text")
        if overflow == "refuse" and len(prompt) + max_new_tokens > block_size:
            raise UserError(
                f"prompt {number} has {len(prompt)} tokens, and with max_new_tokens="
                f"{max_new_tokens} does not fit in the model's context of {block_size}; shorten "
                "it, ask for fewer tokens, or set overflow=slide"
            )


def _uniforms(seeds: Sequence[int] | None, n_rows: int, n_steps: int) -> Tensor:
    """`(n_rows, n_steps)` random numbers in [0, 1), each row from its own seed."""
    generator = torch.Generator()
    if seeds is None:
        generator.seed()
        return torch.rand(n_rows, n_steps, dtype=torch.float64, generator=generator)
    drawn = torch.empty(n_rows, n_steps, dtype=torch.float64)
    for row, seed in zip(drawn, seeds, strict=True):
        row.uniform_(generator=generator.manual_seed(seed))
    return drawn
