"""Token-by-token generation for a batch of prompts, with a key-value cache."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.generation import drafts
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.model import GPT, KeyValueCache
from webtext_gpt.settings import whole_number

OVERFLOWS = ("slide", "refuse", "shorten")
DRAFTS = ("ngram",)


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
    draft: str | None = None,
    allowed: Callable[[int], Tensor] | None = None,
    slide_by: int = 1,
) -> list[list[int]]:
    """Continue every prompt.

    The continuation of a prompt does not depend on the rest of the batch.

    Args:
        model: in evaluation mode.
        prompts: token ids, at least one per prompt; lengths may differ.
        max_new_tokens: tokens to add to each prompt.
        sampling: how to choose tokens; None samples from the unmodified probabilities.
        seeds: random seed of each prompt; None draws new random numbers in every call.
        finished: called with a prompt's index and its newest token; True ends that prompt.
        overflow: handling of texts that outgrow the context. `slide` shows the model the last
            `block_size` tokens; every position then changes, so each token costs a full forward
            pass, unless `slide_by` is above 1. `refuse` raises before anything is generated.
            `shorten` ends the text where it fills the context.
        use_cache: keep keys and values. Without the cache, the same tokens take longer.
        draft: `ngram` drafts tokens from repetitions in the text, see `generation.drafts`: the
            tokens are the same, and the prompts are continued one after another.
        allowed: called with a prompt's index, after `finished` was called with its newest token;
            returns booleans `(n,)`, True for each token that may come next, at least for one.
            The same n in every call; tokens from n on are excluded. None allows every token.
        slide_by: tokens that a full context loses at its beginning. A larger number makes long
            texts faster: one full forward pass in `slide_by` tokens, the others use the cache.

    Returns:
        The new tokens of each prompt, including the one that ended it.

    Raises:
        UserError: a setting is out of range or excludes another, a prompt is empty, or a prompt
            does not fit and `overflow` is not `slide`.
    """
    if draft is not None and draft not in DRAFTS:
        raise UserError(f"draft={draft!r} is not one of {', '.join(DRAFTS)}")
    if draft is not None and not use_cache:
        raise UserError(f"draft={draft} needs the cache, and use_cache=False; give one of them")
    if draft is not None and allowed is not None:
        raise UserError(f"draft={draft} does not go with a grammar of the tokens; leave it out")
    sampling = sampling or Sampling()
    block_size = model.config.block_size
    whole_number("slide_by", slide_by, least=1, most=block_size)
    check_prompts(prompts, max_new_tokens, overflow, block_size)
    uniforms = _uniforms(seeds, len(prompts), max_new_tokens)
    texts = [list(prompt) for prompt in prompts]
    ends = [
        len(prompt) + answer_limit(len(prompt), max_new_tokens, overflow, block_size)
        for prompt in prompts
    ]

    def proceed(rows: list[int], uniforms: Tensor) -> None:
        max_length = max((ends[row] for row in rows), default=0)
        decoder = CachedDecoder(model, max_length, use_cache, slide_by)
        _continue(decoder, texts, ends, rows, sampling, uniforms, finished, allowed)

    if draft == "ngram":
        for row, text in enumerate(texts):
            is_ended = _continue_drafted(model, texts, ends, row, sampling, uniforms, finished)
            if not is_ended and len(text) < ends[row]:  # the context is full, and slides
                rest = uniforms[:, len(text) - len(prompts[row]) :]
                proceed([row], rest)
        return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
    for does_overflow in (False, True):  # separately, so that a long text does not slow the others
        rows = [row for row in range(len(prompts)) if (ends[row] > block_size) == does_overflow]
        proceed(rows, uniforms)
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]


@torch.inference_mode()
def _continue(
    decoder: "CachedDecoder",
    texts: list[list[int]],
    ends: Sequence[int],
    rows: list[int],
    sampling: Sampling,
    uniforms: Tensor,
    finished: Callable[[int, int], bool],
    allowed: Callable[[int], Tensor] | None,
) -> None:
    """Append tokens to the texts of these rows until each is finished or has the length `ends`."""
    n_steps = max((ends[row] - len(texts[row]) for row in rows), default=0)
    for step in range(n_steps):
        growing = [texts[row] for row in rows]
        logits = decoder.next_logits(growing)  # (len(rows), vocab_size)
        if allowed is not None:
            logits = _only(torch.stack([allowed(row) for row in rows]), logits)
        chosen = sampling.choose(logits, growing, uniforms[rows, step]).tolist()
        unfinished = []
        for index, (row, token) in enumerate(zip(rows, chosen, strict=True)):
            texts[row].append(token)
            if not finished(row, token) and len(texts[row]) < ends[row]:
                unfinished.append(index)
        if not unfinished:
            break
        if len(unfinished) < len(rows):
            decoder.keep(unfinished)
            rows = [rows[index] for index in unfinished]


def _only(allowed: Tensor, logits: Tensor) -> Tensor:
    """Return the logits `(B, vocab_size)` with -inf for tokens that are not allowed, `(B, n)`."""
    padding = logits.size(-1) - allowed.size(-1)
    kept = F.pad(allowed.to(logits.device), (0, padding), value=False)
    return logits.masked_fill(~kept, float("-inf"))


@torch.inference_mode()
def _continue_drafted(
    model: GPT,
    texts: list[list[int]],
    ends: Sequence[int],
    row: int,
    sampling: Sampling,
    uniforms: Tensor,
    finished: Callable[[int, int], bool],
) -> bool:
    """Append tokens to one text while it fits in the context, and return whether it is finished."""
    text, n_prompt = texts[row], len(texts[row])
    end = min(ends[row], model.config.block_size)
    device = model.wte.weight.device
    cache = KeyValueCache(end, torch.zeros(1, dtype=torch.long, device=device))
    known = drafts.NGramDraft()
    known.add(text)
    while len(text) < end:
        drafted = known.propose(min(drafts.MOST, end - len(text) - 1))
        tokens = torch.tensor([text[cache.seen :] + drafted], device=device)
        hidden = model.hidden_states(tokens, cache)[0]
        logits = model.lm_head(hidden[-len(drafted) - 1 :])  # (drafted + 1, vocab_size)
        possible = [text + drafted[:n] for n in range(len(drafted) + 1)]
        first = len(text) - n_prompt
        numbers = uniforms[row, first : first + len(possible)]
        chosen = sampling.choose(logits, possible, numbers).tolist()
        matches = [token == guess for token, guess in zip(chosen, drafted, strict=False)]
        n_right = matches.index(False) if False in matches else len(matches)
        cache.forget(len(drafted) - n_right)
        for token in chosen[: n_right + 1]:
            text.append(token)
            if finished(row, token):
                return True
        known.add(text[-n_right - 1 :])
    return False


class CachedDecoder:
    """Next-token logits of a batch of growing texts, with a key-value cache.

    A text that outgrows the model's context loses the smallest multiple of `slide_by` tokens at
    its beginning that makes it fit. All positions then shift and are recomputed, with `slide_by=1`
    at every token. The number of tokens that a text loses depends only on its own length.

    Args:
        model: in evaluation mode.
        max_length: length in tokens that the longest text will reach.
        use_cache: keep keys and values; without them, the logits are the same.
        slide_by: see `generate`.
    """

    def __init__(
        self, model: GPT, max_length: int, use_cache: bool = True, slide_by: int = 1
    ) -> None:
        self.model = model
        self.block_size = model.config.block_size
        self.max_length = min(max_length, self.block_size)
        self.use_cache = use_cache
        self.slide_by = slide_by
        self._cache: KeyValueCache | None = None

    def next_logits(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Return the logits `(B, vocab_size)` of the token after each text.

        Args:
            texts: token ids; after the first call, the same texts with one more token each.
        """
        device = self.model.wte.weight.device
        cache = self._cache
        if cache is None or cache.seen == cache.length or not self.use_cache:
            windows = [list(text[self._lost(len(text)) :]) for text in texts]
            longest = max(map(len, windows))
            padding = [longest - len(window) for window in windows]
            rows = [[0] * pad + window for pad, window in zip(padding, windows, strict=True)]
            cache = KeyValueCache(self.max_length, torch.tensor(padding, device=device))
            self._cache = cache
        else:
            rows = [[text[-1]] for text in texts]
        hidden = self.model.hidden_states(torch.tensor(rows, device=device), cache)
        logits: Tensor = self.model.lm_head(hidden[:, -1])
        return logits

    def _lost(self, length: int) -> int:
        """Return how many tokens a text of this length loses at its beginning."""
        beyond = max(0, length - self.block_size)
        return -(-beyond // self.slide_by) * self.slide_by

    def keep(self, rows: Sequence[int]) -> None:
        """Select texts by index, in the given order; a text may occur more than once."""
        if self._cache is not None:
            self._cache.keep(rows)


def answer_limit(prompt: int, max_new_tokens: int, overflow: str, block_size: int) -> int:
    """Return the maximum number of new tokens after a prompt of `prompt` tokens."""
    if overflow == "shorten":
        return max(0, min(max_new_tokens, block_size - prompt))
    return max_new_tokens


def check_prompts(
    prompts: Sequence[Sequence[int]], max_new_tokens: int, overflow: str, block_size: int
) -> None:
    """Refuse prompts that cannot be continued with these settings.

    Raises:
        UserError: a prompt or a setting is invalid; the message names it, counting prompts from 1.
    """
    whole_number("max_new_tokens", max_new_tokens, least=0)
    if overflow not in OVERFLOWS:
        raise UserError(f"overflow={overflow!r} is not one of {', '.join(OVERFLOWS)}")
    for number, prompt in enumerate(prompts, start=1):
        if not prompt:
            raise UserError(f"prompt {number} has no tokens; begin it with end-of-text")
        if overflow == "refuse" and len(prompt) + max_new_tokens > block_size:
            raise UserError(
                f"prompt {number} has {len(prompt)} tokens, and with max_new_tokens="
                f"{max_new_tokens} does not fit in the model's context of {block_size}; shorten "
                "it, ask for fewer tokens, or set overflow=slide"
            )
        if overflow == "shorten" and len(prompt) >= block_size:
            raise UserError(
                f"prompt {number} has {len(prompt)} tokens, which leaves no room in the model's "
                f"context of {block_size}"
            )


def _uniforms(seeds: Sequence[int] | None, n_rows: int, n_steps: int) -> Tensor:
    """Return `(n_rows, n_steps)` random numbers in [0, 1), each row drawn from its own seed."""
    generator = torch.Generator()
    if seeds is None:
        generator.seed()
        return torch.rand(n_rows, n_steps, dtype=torch.float64, generator=generator)
    drawn = torch.empty(n_rows, n_steps, dtype=torch.float64)
    for row, seed in zip(drawn, seeds, strict=True):
        row.uniform_(generator=generator.manual_seed(seed))
    return drawn
