"""Log-probabilities that a model gives to text, in batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, KeyValueCache
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import Tokenizer

LOGIT_ROWS = 512
"""Positions whose logits are held at once: at GPT-2's vocabulary 100 MB in fp32."""


@dataclass(frozen=True)
class Window:
    """Tokens of which the last `scored` are predicted, each from all before it."""

    tokens: Sequence[int] | np.ndarray
    scored: int


@dataclass(frozen=True)
class Score:
    """What the model says of a window's scored tokens; everything `(scored,)`, on the CPU."""

    log_probabilities: Tensor
    """Natural logarithms, fp64."""
    likeliest: Tensor
    """The id that the model finds likeliest at each place."""
    likeliest_allowed: Tensor
    """The same among the ids that are not banned."""


class Scorer:
    """A model that scores windows of text.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        batch_tokens: tokens, padding included, that pass through the model at once.
        stride: tokens by which a sliding window moves; `None` is half the model's context.

    Raises:
        UserError: a setting is out of range.
    """

    def __init__(
        self, model: GPT, tokenizer: Tokenizer, batch_tokens: int = 8192, stride: int | None = None
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.block_size = model.config.block_size
        self.stride = max(1, self.block_size // 2) if stride is None else stride
        whole_number("stride", self.stride, least=1)
        whole_number("batch_tokens", batch_tokens, least=1)
        if self.stride > self.block_size:
            raise UserError(
                f"stride={stride} is above the model's context of {self.block_size}; no token "
                "would be seen from there"
            )
        self.batch_tokens = batch_tokens

    def continuation(self, context: str, text: str) -> Window:
        """The window that scores `text` after `context`, of which the end stays if it is long.

        Raises:
            UserError: the text alone is longer than the model's context.
        """
        whole, scored = self._encoded(context, text)
        return Window(whole[-(self.block_size + 1) :], scored)

    def _encoded(self, context: str, text: str) -> tuple[list[int], int]:
        whole = self.tokenizer.encode(context + text)
        before = len(self.tokenizer.encode(context)) if context else 0
        if not before:  # a text with nothing before it begins a document
            whole, before = [self.tokenizer.end_of_text, *whole], 1
        scored = len(whole) - before
        if not 0 < scored <= self.block_size:
            raise UserError(
                f"a text of {scored} tokens is not between 1 and the model's context of "
                f"{self.block_size}: {text[:60]!r}"
            )
        return whole, scored

    def sliding_windows(self, text: str) -> list[Window]:
        """Windows that score every token of a document once, each from a long context.

        The first predicts `block_size` tokens, from end-of-text on; each further one moves on
        by the stride and predicts what is new; the last one ends with the text.
        """
        tokens = np.array([self.tokenizer.end_of_text, *self.tokenizer.encode(text)])
        total = len(tokens) - 1
        windows = []
        done = 0
        while done < total:
            end = min(done + (self.stride if done else self.block_size), total)
            windows.append(Window(tokens[max(0, end - self.block_size) : end + 1], end - done))
            done = end
        return windows

    def score(
        self,
        windows: Sequence[Window],
        banned: Tensor | None = None,
        progress: Callable[[int], object] = lambda n: None,
    ) -> list[Score]:
        """Scores in the order of the windows.

        Args:
            windows: each of at most `block_size + 1` tokens.
            banned: true for the ids that `likeliest_allowed` passes over; ids beyond its end,
                which a padded vocabulary has, are passed over too.
            progress: called with the number of windows that were just scored.
        """
        scores = dict(self._scored(windows, banned, progress))
        return [scores[place] for place in range(len(windows))]

    def total(
        self, windows: Sequence[Window], progress: Callable[[int], object] = lambda n: None
    ) -> tuple[float, int]:
        """The log-probability of all scored tokens, in nats, and their number."""
        scores = self._scored(windows, None, progress)
        log_probability = math.fsum(float(s.log_probabilities.sum()) for _, s in scores)
        return log_probability, sum(window.scored for window in windows)

    def _scored(
        self,
        windows: Sequence[Window],
        banned: Tensor | None,
        progress: Callable[[int], object],
    ) -> Iterator[tuple[int, Score]]:
        """Each window's place and score, in the order in which they are computed."""
        for places in self._batches(windows):
            batch = [windows[place] for place in places]
            yield from zip(places, self._score_batch(batch, banned), strict=True)
            progress(len(places))

    @torch.inference_mode()
    def choices(self, context: str, texts: Sequence[str]) -> list[Tensor]:
        """Log-probabilities of the tokens in which texts after one context differ.

        What all have in common at the beginning passes through the model once.

        Returns:
            For each text, those of its tokens from the first on that another text has otherwise.

        Raises:
            UserError: a text alone is longer than the model's context.
        """
        rows = [self._encoded(context, text)[0] for text in texts]
        cut = max(0, max(map(len, rows)) - self.block_size - 1)
        rows = [row[cut:] for row in rows]  # all at one place, so that they stay comparable
        shared = 0
        while all(len(row) > shared + 1 for row in rows) and len({r[shared] for r in rows}) == 1:
            shared += 1
        device = self.model.wte.weight.device
        cache = KeyValueCache(max(map(len, rows)), torch.zeros(1, dtype=torch.long, device=device))
        if shared > 1:
            self.model.hidden_states(torch.tensor([rows[0][: shared - 1]], device=device), cache)
        cache.keep([0] * len(rows))
        rest = _padded([row[shared - 1 :] for row in rows]).to(device)
        hidden = self.model.hidden_states(rest[:, :-1], cache)
        scores = []
        for state, row in zip(hidden, rows, strict=True):
            targets = torch.tensor(row[shared:], device=device)
            logits = self.model.lm_head(state[: len(targets)]).float()
            chosen = logits.log_softmax(dim=-1).gather(1, targets[:, None])[:, 0]
            scores.append(chosen.double().cpu())
        return scores

    def _batches(self, windows: Sequence[Window]) -> Iterator[list[int]]:
        """Places of windows of about one length, longest first, so that little is padding."""
        order = sorted(range(len(windows)), key=lambda place: -len(windows[place].tokens))
        start = 0
        while start < len(order):
            n_rows = max(1, self.batch_tokens // len(windows[order[start]].tokens))
            yield order[start : start + n_rows]
            start += n_rows

    @torch.inference_mode()
    def _score_batch(self, windows: list[Window], banned: Tensor | None) -> list[Score]:
        device = self.model.wte.weight.device
        tokens = _padded([window.tokens for window in windows]).to(device)
        hidden = self.model.hidden_states(tokens[:, :-1])  # padding comes after all that counts
        ends = [len(window.tokens) - 1 for window in windows]
        spans = [(end - window.scored, end) for end, window in zip(ends, windows, strict=True)]
        states = torch.cat([hidden[row, a:b] for row, (a, b) in enumerate(spans)])
        targets = torch.cat([tokens[row, a + 1 : b + 1] for row, (a, b) in enumerate(spans)])
        if banned is not None:
            padding = self.model.config.vocab_size - len(banned)
            banned = F.pad(banned.to(device), (0, padding), value=True)
        parts = []
        for state, target in zip(states.split(LOGIT_ROWS), targets.split(LOGIT_ROWS), strict=True):
            logits = self.model.lm_head(state).float()
            at_target = logits.gather(1, target[:, None])[:, 0]
            log_probability = (at_target - logits.logsumexp(dim=-1)).double()
            likeliest = logits.argmax(dim=-1)
            allowed = likeliest
            if banned is not None:
                allowed = logits.masked_fill(banned, float("-inf")).argmax(dim=-1)
            parts.append((log_probability.cpu(), likeliest.cpu(), allowed.cpu()))
        columns = [torch.cat(column) for column in zip(*parts, strict=True)]
        sizes = [window.scored for window in windows]
        split = (column.split(sizes) for column in columns)
        return [Score(*values) for values in zip(*split, strict=True)]


def _padded(rows: Sequence[Sequence[int] | np.ndarray]) -> Tensor:
    """`(len(rows), longest)` token ids, zeros after the shorter rows."""
    tensors = [torch.from_numpy(np.asarray(row, dtype=np.int64)) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)


def perplexity(log_probability: float, n: int) -> float:
    """exp(-ln p / n); infinite where no number can hold it."""
    try:
        return math.exp(-log_probability / n)
    except OverflowError:
        return math.inf
