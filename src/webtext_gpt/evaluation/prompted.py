"""Completing a benchmark's prompts, and fitting prompts into the model's context."""

from collections.abc import Callable, Sequence

from webtext_gpt.data.rows import texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.generation import GREEDY, Sampling, complete
from webtext_gpt.progress import progress_bar
from webtext_gpt.tokenizer import Tokenizer

REPLACEMENT = "\ufffd"
"""Character to which an incomplete UTF-8 sequence is decoded."""


def answers(
    scorer: Scorer,
    name: str,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int,
    sampling: Sampling = GREEDY,
    stop: Sequence[str] = (),
) -> list[str]:
    """Return the model's completion of each prompt, in the prompts' order.

    Prompts are batched by length, longest first, so that batches contain little padding.

    Args:
        scorer: the model.
        name: label of the progress bar.
        prompts: texts to complete.
        max_new_tokens: maximum number of tokens to generate for each prompt.
        batch_size: number of prompts completed at once.
        sampling: how tokens are chosen.
        stop: strings that end a completion; they are not part of it.
    """
    order = sorted(range(len(prompts)), key=lambda n: -len(prompts[n]))
    texts = [""] * len(prompts)
    with progress_bar(name, total=len(prompts), unit="prompt") as bar:
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            batch = complete(
                scorer.model,
                scorer.tokenizer,
                [prompts[index] for index in indices],
                max_new_tokens=max_new_tokens,
                sampling=sampling,
                stop=stop,
                seed=start,
            )
            for index, text in zip(indices, batch, strict=True):
                texts[index] = text
            bar.update(len(indices))
    return texts


def reference_texts(place: str, column: str, value: object) -> list[str]:
    """Return a question's reference answers, given in a row as one text or as a list.

    Raises:
        UserError: there is none, or one is not text.
    """
    given = [value] if isinstance(value, str) else value
    if not given:
        raise UserError(f"{place}: {column!r} has a question without an answer")
    return texts_value({column: given}, column, place)


def room_for_prompt(scorer: Scorer, n_new: int) -> int:
    """Return the number of context tokens left for a prompt when `n_new` are generated.

    Raises:
        UserError: no tokens are left.
    """
    room = scorer.block_size - n_new
    if room < 1:
        raise UserError(
            f"generating {n_new} tokens leaves no room for a prompt in the model's context of "
            f"{scorer.block_size}; evaluate a model with a longer context"
        )
    return room


def fitted(
    scorer: Scorer, text: str, n_tokens: int, cut: Callable[[Tokenizer, str, int], str]
) -> str:
    """Return a text cut to `n_tokens` tokens by `cut_end` or `cut_beginning`.

    A text that is too long is counted in `scorer.cut_prompts`.
    """
    short = cut(scorer.tokenizer, text, n_tokens)
    scorer.cut_prompts += short != text
    return short


def cut_end(tokenizer: Tokenizer, text: str, n_tokens: int) -> str:
    """Return the first `n_tokens` tokens of a text, without a trailing partial character."""
    ids = tokenizer.encode(text)
    return text if len(ids) <= n_tokens else tokenizer.decode(ids[:n_tokens]).rstrip(REPLACEMENT)


def cut_beginning(tokenizer: Tokenizer, text: str, n_tokens: int) -> str:
    """Return the last `n_tokens` tokens of a text, without a leading partial character."""
    ids = tokenizer.encode(text)
    return text if len(ids) <= n_tokens else tokenizer.decode(ids[-n_tokens:]).lstrip(REPLACEMENT)
