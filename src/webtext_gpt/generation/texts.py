"""Text continuations, with their end conditions, and next-token candidates."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation.beams import beam_search
from webtext_gpt.generation.decoding import CachedDecoder, check_prompts, generate
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.model import GPT
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import Tokenizer


def complete(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 128,
    sampling: Sampling | None = None,
    stop: Sequence[str] = (),
    seed: int | None = None,
    overflow: str = "slide",
    num_beams: int = 1,
    show: Callable[[str], None] | None = None,
) -> list[str]:
    """Return the text that the model writes after each prompt, without the prompt.

    A text ends before its end-of-text token, before the first occurrence of a string in `stop`,
    or after `max_new_tokens`. An empty prompt begins a new document.

    Args:
        model: in evaluation mode.
        tokenizer: the model's tokenizer.
        prompts: any number of prompts, of any length.
        max_new_tokens: see `generate`.
        sampling: see `generate`.
        stop: strings that end a text.
        seed: random seed of the first prompt; each later prompt uses the next one. None draws
            new random numbers in every call.
        overflow: see `generate`.
        num_beams: above 1, use beam search of this width instead of sampling.
        show: called with each piece of a single prompt's text as soon as it is final.

    Raises:
        UserError: a setting is out of range, or the tokenizer cannot encode a prompt.
    """
    for text in stop:
        if not isinstance(text, str) or not text:
            raise UserError(f"stop holds {text!r}, but needs non-empty strings")
    whole_number("num_beams", num_beams, least=1)
    encoded = encode_prompts(tokenizer, prompts)
    check_prompts(encoded, max_new_tokens, overflow, model.config.block_size)
    if num_beams > 1:
        new = [
            beam_search(
                model,
                ids,
                num_beams=num_beams,
                max_new_tokens=max_new_tokens,
                end_of_text=tokenizer.end_of_text,
            )
            for ids in encoded
        ]
        texts = [_decode(tokenizer, ids, stop) for ids in new]
        if show:
            show("".join(texts))
        return texts
    watchers = [_EndWatcher(tokenizer, stop, show) for _ in encoded]
    new = generate(
        model,
        encoded,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        seeds=None if seed is None else range(seed, seed + len(encoded)),
        finished=lambda row, token: watchers[row].add(token),
        overflow=overflow,
    )
    texts = [_decode(tokenizer, ids, stop) for ids in new]
    for watcher, text in zip(watchers, texts, strict=True):
        watcher.show_rest(text)
    return texts


@dataclass(frozen=True)
class Candidate:
    """A possible next token."""

    token: int
    text: str
    probability: float


@torch.inference_mode()
def next_tokens(
    model: GPT, tokenizer: Tokenizer, prompt: str, *, n: int, steps: int = 1
) -> Iterator[list[Candidate]]:
    """Yield the n most probable next tokens at each step, most probable first.

    Each step appends the most probable token to the text. If the text is longer than the model's
    context, only its end is used. An empty prompt begins a new document.

    Raises:
        UserError: n or steps is below 1, or the tokenizer cannot encode the prompt.
    """
    whole_number("next", n, least=1)
    whole_number("steps", steps, least=1)
    text = tokenizer.encode(prompt) or [tokenizer.end_of_text]
    decoder = CachedDecoder(model, len(text) + steps)
    for _ in range(steps):
        probabilities = decoder.next_logits([text])[0].float().softmax(dim=-1)  # (vocab_size,)
        top = probabilities.topk(min(n, probabilities.numel()))
        yield [
            Candidate(token, tokenizer.decode([token]), probability)
            for token, probability in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        text = [*text, int(top.indices[0])]


def encode_prompts(tokenizer: Tokenizer, prompts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each prompt; an empty prompt becomes end-of-text.

    Raises:
        UserError: a prompt cannot be encoded; the message names it, counting from 1.
    """
    encoded = []
    for number, prompt in enumerate(prompts, start=1):
        try:
            encoded.append(tokenizer.encode(prompt) or [tokenizer.end_of_text])
        except UserError as error:
            raise UserError(f"prompt {number}: {error}") from error
    return encoded


def _decode(tokenizer: Tokenizer, ids: list[int], stop: Sequence[str]) -> str:
    """Return the text of new tokens, cut at end-of-text or the first stop string."""
    if tokenizer.end_of_text in ids:
        ids = ids[: ids.index(tokenizer.end_of_text)]
    text = tokenizer.decode(ids)
    return text[: min((text.index(s) for s in stop if s in text), default=len(text))]


class _EndWatcher:
    """Detect the end of one growing text, and show the part that a stop string cannot remove."""

    def __init__(
        self, tokenizer: Tokenizer, stop: Sequence[str], show: Callable[[str], None] | None
    ) -> None:
        self.end_of_text = tokenizer.end_of_text
        self.decode_next = tokenizer.incremental_decoder()
        self.stop = stop
        self.show = show
        self.longest = max(map(len, stop), default=1)
        self.text = ""
        self.shown = 0

    def add(self, token: int) -> bool:
        """Append a token; return True if it ends the text."""
        if token == self.end_of_text:
            return True
        seen = len(self.text)
        self.text += self.decode_next(token)
        recent = self.text[max(0, seen - self.longest + 1) :]  # a stop string may span tokens
        if any(s in recent for s in self.stop):
            return True
        self._show_until(len(self.text) - self.longest + 1)  # the rest may begin a stop string
        return False

    def show_rest(self, text: str) -> None:
        """Show the part of the finished text that has not been shown."""
        self.text = text
        self._show_until(len(text))

    def _show_until(self, end: int) -> None:
        if self.show and end > self.shown:
            self.show(self.text[self.shown : end])
            self.shown = end
