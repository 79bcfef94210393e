"""Prompts as token ids: the text that ends them, and the shortening of those that do not fit.

A model that was fine-tuned on prompts and completions expects every prompt to end with the text
that was between the two. Training, scoring and `generate.py` encode prompts by these functions, so
that the model sees the same tokens in all three.
"""

from collections.abc import Sequence
from typing import NamedTuple

from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import Tokenizer


class FittedPrompts(NamedTuple):
    """Prompts that leave room for an answer in the model's context."""

    tokens: list[list[int]]
    shortened: int
    """Number of prompts that lost tokens."""


def ended(prompt: str, between: str) -> str:
    """Return a prompt that ends with `between`; one that does already is not changed."""
    return prompt if prompt.endswith(between) else prompt + between


def encode_prompts(
    tokenizer: Tokenizer, prompts: Sequence[str], between: str = ""
) -> list[list[int]]:
    """Return the token ids of each prompt; an empty prompt becomes end-of-text.

    Args:
        tokenizer: the model's.
        prompts: texts to continue.
        between: text that every prompt has to end with.

    Raises:
        UserError: a prompt cannot be encoded; the message names it, counting from 1.
    """
    encoded = []
    for number, prompt in enumerate(prompts, start=1):
        try:
            encoded.append(tokenizer.encode(ended(prompt, between)) or [tokenizer.end_of_text])
        except UserError as error:
            raise UserError(f"prompt {number}: {error}") from error
    return encoded


def fit_prompts(
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    *,
    between: str,
    max_new_tokens: int,
    block_size: int,
) -> FittedPrompts:
    """Shorten the prompts that fill the context.

    A prompt that leaves room for at least one token is not changed. One that does not is cut to
    leave room for `max_new_tokens`, or half of the context if that is less.

    Args:
        tokenizer: the model's.
        prompts: token ids of each prompt.
        between: text at the end of the prompts, which is kept.
        max_new_tokens: maximum length of an answer.
        block_size: the model's context.
    """
    most = block_size - min(max(max_new_tokens, 1), max(block_size // 2, 1))
    fitted = [
        list(shortened(tokenizer, prompt, between, most)) if len(prompt) >= block_size else prompt
        for prompt in prompts
    ]
    return FittedPrompts(fitted, sum(len(prompt) >= block_size for prompt in prompts))


def shortened(
    tokenizer: Tokenizer, prompt: Sequence[int], between: str, most: int
) -> Sequence[int]:
    """Truncate a prompt to `most` tokens (at least 1), keeping `between` at its end."""
    if len(prompt) <= most:
        return prompt
    middle = tokenizer.encode(between)[:most]
    return [*prompt[: most - len(middle)], *middle]


def remarks(
    name: str, prompts: int, shortened: int, unended: int, *, max_new_tokens: int, block_size: int
) -> list[str]:
    """Return remarks on the prompts and answers that were cut; empty if none was.

    Args:
        name: name of the set of prompts, followed by a space; may be empty.
        prompts: number of prompts that were answered.
        shortened: number of them that lost tokens.
        unended: number of answers that reached their maximum length.
        max_new_tokens: maximum length of an answer.
        block_size: the model's context.
    """
    said = []
    if shortened:
        said.append(
            f"{shortened:,} of the {prompts:,} {name}prompts do not fit the context of "
            f"{block_size:,} tokens and were shortened before their end"
        )
    if unended:
        said.append(
            f"{unended:,} of the {prompts:,} {name}answers were stopped before end-of-text, by "
            f"max_new_tokens={max_new_tokens} or by the context of {block_size:,} tokens; give a "
            "larger max_new_tokens or shorter prompts; if answers never end, train longer"
        )
    return said
