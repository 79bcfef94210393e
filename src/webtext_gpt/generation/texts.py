"""Continuations as text: where they end, and how they appear while they are made."""

from collections.abc import Callable, Sequence

from webtext_gpt.errors import UserError
from webtext_gpt.generation.beams import beam_search
from webtext_gpt.generation.decoding import check_prompts, generate
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
    """What the model writes after each prompt, without the prompt.

    A text ends before its end-of-text token, before the first of the strings in `stop`, or after
    `max_new_tokens`. An empty prompt begins a new document.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        prompts: any number, of any lengths.
        max_new_tokens: see `generate`.
        sampling: see `generate`.
        stop: strings that end a text.
        seed: of the first prompt; each later one takes the next. `None`: other texts each time.
        overflow: see `generate`.
        num_beams: above 1, the likeliest text that a beam search of this width finds, in place
            of sampling.
        show: called with each piece of a single prompt's text as soon as it is certain.

    Raises:
        UserError: a setting is out of range, or a prompt has characters that the model lacks.
    """
    for text in stop:
        if not isinstance(text, str) or not text:
            raise UserError(f"stop holds {text!r}, but needs texts of a character or more")
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
        texts = [_text(tokenizer, ids, stop) for ids in new]
        if show:
            show("".join(texts))
        return texts
    endings = [_Ending(tokenizer, stop, show) for _ in encoded]
    new = generate(
        model,
        encoded,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        seeds=None if seed is None else range(seed, seed + len(encoded)),
        finished=lambda row, token: endings[row].add(token),
        overflow=overflow,
    )
    texts = [_text(tokenizer, ids, stop) for ids in new]
    for ending, text in zip(endings, texts, strict=True):
        ending.show_rest(text)
    return texts


def encode_prompts(tokenizer: Tokenizer, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt; of an empty one, end-of-text.

    Raises:
        UserError: one has characters that the model lacks; it is named, counting from 1.
    """
    encoded = []
    for number, prompt in enumerate(prompts, start=1):
        try:
            encoded.append(tokenizer.encode(prompt) or [tokenizer.end_of_text])
        except UserError as error:
            raise UserError(f"prompt {number}: {error}") from error
    return encoded


def _text(tokenizer: Tokenizer, ids: list[int], stop: Sequence[str]) -> str:
    """The text of new tokens up to where it ends."""
    if tokenizer.end_of_text in ids:
        ids = ids[: ids.index(tokenizer.end_of_text)]
    text = tokenizer.decode(ids)
    return text[: min((text.index(s) for s in stop if s in text), default=len(text))]


class _Ending:
    """Watches one text grow: says when it ends, and shows what no stop string can take back."""

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
        """Take the next token; `True` when the text ends with it."""
        if token == self.end_of_text:
            return True
        seen = len(self.text)
        self.text += self.decode_next(token)
        recent = self.text[max(0, seen - self.longest + 1) :]  # a stop string may end in the new
        if any(s in recent for s in self.stop):
            return True
        self._show_until(len(self.text) - self.longest + 1)  # the rest may begin a stop string
        return False

    def show_rest(self, text: str) -> None:
        """Show what of the finished text is not shown yet."""
        self.text = text
        self._show_until(len(text))

    def _show_until(self, end: int) -> None:
        if self.show and end > self.shown:
            self.show(self.text[self.shown : end])
            self.shown = end
