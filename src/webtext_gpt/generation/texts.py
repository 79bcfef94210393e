"""Text continuations, with their end conditions, and next-token candidates."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypedDict, Unpack

import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation.beams import beam_texts
from webtext_gpt.generation.decoding import (
    CachedDecoder,
    answer_limit,
    check_prompts,
    generate,
)
from webtext_gpt.generation.prompts import encode_prompts
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.model import GPT
from webtext_gpt.settings import checks, whole_number
from webtext_gpt.tokenizer import Tokenizer


class CompletionSettings(TypedDict, total=False):
    """Arguments of `continuations` that are the same for every prompt."""

    max_new_tokens: int
    sampling: Sampling
    stop: Sequence[str]
    overflow: str
    num_beams: int
    num_samples: int
    draft: str | None


class CallSettings(CompletionSettings, total=False):
    """Arguments of one call of `continuations`."""

    seed: int | None
    show: Callable[[str], None] | None


class Continuation(NamedTuple):
    """The text that a model wrote after a prompt."""

    text: str
    is_ended: bool
    """Whether end-of-text or a stop string ended it, not its maximum length."""


def complete(
    model: GPT, tokenizer: Tokenizer, prompts: Sequence[str], **settings: Unpack[CallSettings]
) -> list[str]:
    """Return the text that the model writes after each prompt, without the prompt.

    An empty prompt begins a new document. For the settings see `continuations`; with `num_samples`
    above 1, the texts of the first prompt come first.

    Raises:
        UserError: a setting is out of range, or the tokenizer cannot encode a prompt.
    """
    encoded = encode_prompts(tokenizer, prompts)
    return [written.text for written in continuations(model, tokenizer, encoded, **settings)]


def continuations(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int = 128,
    sampling: Sampling | None = None,
    stop: Sequence[str] = (),
    seed: int | None = None,
    overflow: str = "slide",
    num_beams: int = 1,
    num_samples: int = 1,
    draft: str | None = None,
    show: Callable[[str], None] | None = None,
) -> list[Continuation]:
    """Return the text that the model writes after each prompt.

    A text ends before its end-of-text token, before the first occurrence of a string in `stop`,
    or after `max_new_tokens`.

    Args:
        model: in evaluation mode.
        tokenizer: the model's tokenizer.
        prompts: token ids of any number of prompts, of any length.
        max_new_tokens: see `generate`.
        sampling: see `generate`. Beam search applies only its repetition penalty.
        stop: strings that end a text.
        seed: random seed of the first text; each later text uses the next one. None draws
            new random numbers in every call.
        overflow: see `generate`.
        num_beams: above 1, use beam search of this width instead of sampling.
        num_samples: texts of each prompt, one after another; of beam search, the best ones.
        draft: see `generate`; not together with beam search.
        show: called with each piece of a single text as soon as it is final.

    Raises:
        UserError: a setting is out of range or does not apply to beam search, or a prompt is empty
            or does not fit.
    """
    for text in stop:
        if not isinstance(text, str) or not text:
            raise UserError(f"stop holds {text!r}, but needs non-empty strings")
    whole_number("num_beams", num_beams, least=1)
    whole_number("num_samples", num_samples, least=1)
    sampling = sampling or Sampling()
    if num_beams > 1:
        checks.beams(num_beams, num_samples, _drawing(sampling, seed), draft)
    block_size = model.config.block_size
    check_prompts(prompts, max_new_tokens, overflow, block_size)
    if num_beams > 1:
        new = [
            text
            for ids in prompts
            for text in beam_texts(
                model,
                ids,
                num_texts=num_samples,
                num_beams=num_beams,
                max_new_tokens=answer_limit(len(ids), max_new_tokens, overflow, block_size),
                end_of_text=tokenizer.end_of_text,
                repetition_penalty=sampling.repetition_penalty,
                finished=lambda text: bool(stop) and _decode(tokenizer, text, stop).is_ended,
            )
        ]
        written = [_decode(tokenizer, ids, stop) for ids in new]
        if show:
            show("".join(text for text, _ in written))
        return written
    prompts = [ids for ids in prompts for _ in range(num_samples)]
    watchers = [_EndWatcher(tokenizer, stop, show) for _ in prompts]
    new = generate(
        model,
        prompts,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        seeds=None if seed is None else range(seed, seed + len(prompts)),
        finished=lambda row, token: watchers[row].add(token),
        overflow=overflow,
        draft=draft,
    )
    written = [_decode(tokenizer, ids, stop) for ids in new]
    for watcher, (text, _) in zip(watchers, written, strict=True):
        watcher.show_rest(text)
    return written


def _drawing(sampling: Sampling, seed: int | None) -> list[str]:
    """Return the names of the given settings that apply only to sampling."""
    given = {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p}
    names = [name for name, value in given.items() if value != getattr(Sampling(), name)]
    return [*names, "seed"] if seed is not None else names


@dataclass(frozen=True)
class Candidate:
    """A possible next token."""

    token: int
    text: str
    probability: float


@torch.inference_mode()
def next_tokens(
    model: GPT, tokenizer: Tokenizer, prompt: str | Sequence[int], *, n: int, steps: int = 1
) -> Iterator[list[Candidate]]:
    """Yield the n most probable next tokens at each step, most probable first.

    Each step appends the most probable token to the text. If the text is longer than the model's
    context, only its end is used. An empty prompt begins a new document.

    Raises:
        UserError: n or steps is below 1, or the tokenizer cannot encode the prompt.
    """
    whole_number("next", n, least=1)
    whole_number("steps", steps, least=1)
    text = encode_prompts(tokenizer, [prompt])[0] if isinstance(prompt, str) else list(prompt)
    decoder = CachedDecoder(model, len(text) + steps)
    for _ in range(steps):
        probabilities = decoder.next_logits([text])[0].float().softmax(dim=-1)  # (vocab_size,)
        top = probabilities.topk(min(n, probabilities.numel()))
        yield [
            Candidate(token, tokenizer.decode([token]), probability)
            for token, probability in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        text = [*text, int(top.indices[0])]


def _decode(tokenizer: Tokenizer, ids: list[int], stop: Sequence[str]) -> Continuation:
    """Return the text of new tokens, cut at end-of-text or the first stop string."""
    is_ended = tokenizer.end_of_text in ids
    if is_ended:
        ids = ids[: ids.index(tokenizer.end_of_text)]
    text = tokenizer.decode(ids)
    stops = [text.index(s) for s in stop if s in text]
    return Continuation(text[: min(stops, default=len(text))], is_ended or bool(stops))


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
