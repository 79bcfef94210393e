"""Log-probabilities of text under a model, computed in batches."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, KeyValueCache
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import Tokenizer

ProgressCallback = Callable[[int], object]
"""Called with the number of windows scored since the last call."""

LOGIT_ROWS = 512
"""Number of positions whose logits are computed at once: 100 MB in fp32 for GPT-2's vocabulary."""


@dataclass(frozen=True)
class Window:
    """A sequence of token ids; each of the last `scored` is predicted from all before it."""

    tokens: Sequence[int] | NDArray[np.int64]
    scored: int


@dataclass(frozen=True)
class Score:
    """The model's predictions for a window's scored tokens.

    Attributes:
        log_probabilities: `(scored,)` natural logarithms, fp64 on the CPU.
        likeliest: `(scored,)` ids with the highest probability, on the CPU.
        likeliest_allowed: `(scored,)` ids with the highest probability that are not banned.
    """

    log_probabilities: Tensor
    likeliest: Tensor
    likeliest_allowed: Tensor


class Scorer:
    """Computes log-probabilities of text under a model.

    Args:
        model: a language model, or a translation model, which only translates; in evaluation mode.
        tokenizer: the model's tokenizer.
        batch_tokens: maximum number of tokens per forward pass, padding included.
        stride: tokens by which the sliding window moves. None means half the model's context.

    Attributes:
        cut_prompts: number of texts so far that were cut because the model's context is too short
            for them. The choices after one context count once.

    Raises:
        UserError: `batch_tokens` or `stride` is out of range.
    """

    def __init__(
        self,
        model: GPT | Transformer,
        tokenizer: Tokenizer,
        batch_tokens: int = 8192,
        stride: int | None = None,
    ) -> None:
        self._model = model
        self.tokenizer = tokenizer
        self.block_size = model.config.block_size
        self.cut_prompts = 0
        self.stride = max(1, self.block_size // 2) if stride is None else stride
        whole_number("stride", self.stride, least=1)
        whole_number("batch_tokens", batch_tokens, least=1)
        if self.stride > self.block_size:
            raise UserError(
                f"stride={stride} is greater than the model's context of {self.block_size}; the "
                "windows would skip tokens"
            )
        self.batch_tokens = batch_tokens

    @property
    def model(self) -> GPT:
        """The language model.

        Raises:
            UserError: it is a translation model.
        """
        if isinstance(self._model, Transformer):
            raise UserError("this task needs a language model, not a translation model")
        return self._model

    @property
    def translator(self) -> Transformer:
        """The translation model.

        Raises:
            UserError: it is a language model.
        """
        if not isinstance(self._model, Transformer):
            raise UserError("this task needs a translation model, not a language model")
        return self._model

    def continuation(self, context: str, text: str) -> Window:
        """Return the window that scores `text` after `context`.

        A context that is too long loses its beginning. A text without context is the beginning of
        a document, so it follows the end-of-text token.

        Raises:
            UserError: the text is empty, or longer than the model's context.
        """
        tokens, scored = self._encode(context, text)
        self.cut_prompts += len(tokens) > self.block_size + 1
        return Window(tokens[-(self.block_size + 1) :], scored)

    def _encode(self, context: str, text: str) -> tuple[list[int], int]:
        """Return the tokens of context and text, and the number of tokens to score."""
        tokens = self.tokenizer.encode(context + text)
        before = len(self.tokenizer.encode(context)) if context else 0
        if not before:
            tokens, before = [self.tokenizer.end_of_text, *tokens], 1
        scored = len(tokens) - before
        if not 0 < scored <= self.block_size:
            raise UserError(
                f"a text of {scored} tokens cannot be scored; it must have between 1 token and "
                f"the model's context of {self.block_size}: {text[:60]!r}"
            )
        return tokens, scored

    def sliding_windows(self, text: str, *, with_end: bool = False) -> list[Window]:
        """Return windows that score each token of a document exactly once.

        The first window begins with the end-of-text token and predicts `block_size` tokens. Each
        further window moves by the stride and predicts only the new tokens, each from at least
        `block_size - stride + 1` tokens before it. The last window ends with the text.

        Args:
            text: the document.
            with_end: score the end-of-text token after the document, too.
        """
        end_of_text = self.tokenizer.end_of_text
        ending = [end_of_text] if with_end else []
        tokens = np.array([end_of_text, *self.tokenizer.encode(text), *ending])
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
        progress: ProgressCallback = lambda n: None,
    ) -> list[Score]:
        """Return the score of each window, in the windows' order.

        Args:
            windows: windows of at most `block_size + 1` tokens.
            banned: mask over token ids that excludes ids from `likeliest_allowed`. Ids beyond
                its end, which exist if the vocabulary is padded, are excluded too.
            progress: called after each batch with its number of windows.
        """
        scores = dict(self._iter_scores(windows, banned, progress))
        return [scores[index] for index in range(len(windows))]

    def total(
        self, windows: Sequence[Window], progress: ProgressCallback = lambda n: None
    ) -> tuple[float, int]:
        """Return the log-probability of all scored tokens, in nats, and their number."""
        scores = self._iter_scores(windows, None, progress)
        log_probability = math.fsum(float(s.log_probabilities.sum()) for _, s in scores)
        return log_probability, sum(window.scored for window in windows)

    def documents(
        self,
        windows: Sequence[Sequence[Window]],
        progress: ProgressCallback = lambda n: None,
    ) -> list[float]:
        """Return the log-probability of each document, in nats.

        Args:
            windows: the windows of each document, from `sliding_windows`.
            progress: see `score`.
        """
        scores = iter(self.score([w for own in windows for w in own], progress=progress))
        return [
            math.fsum(float(next(scores).log_probabilities.sum()) for _ in own) for own in windows
        ]

    def _iter_scores(
        self, windows: Sequence[Window], banned: Tensor | None, progress: ProgressCallback
    ) -> Iterator[tuple[int, Score]]:
        """Yield each window's index and score, in the order of computation."""
        for indices in self._batches(windows):
            batch = [windows[index] for index in indices]
            yield from zip(indices, self._score_batch(batch, banned), strict=True)
            progress(len(indices))

    @torch.inference_mode()
    def choices(self, context: str, texts: Sequence[str]) -> list[Tensor]:
        """Return log-probabilities of the tokens in which texts after one context differ.

        The prefix that all texts share passes through the model once. Its log-probability is
        the same for all of them, so it is left out.

        Returns:
            For each text, a tensor of log-probabilities from the first differing token on.

        Raises:
            UserError: a text is empty, or longer than the model's context.
        """
        rows = [self._encode(context, text)[0] for text in texts]
        cut = max(0, max(map(len, rows)) - self.block_size - 1)
        self.cut_prompts += cut > 0
        rows = [row[cut:] for row in rows]  # the same cut, so that all texts see the same context
        shared = 0
        while all(len(row) > shared + 1 for row in rows) and len({r[shared] for r in rows}) == 1:
            shared += 1
        return self.after_prefix(rows, shared)

    @torch.inference_mode()
    def after_prefix(self, rows: Sequence[Sequence[int]], shared: int) -> list[Tensor]:
        """Return log-probabilities of each row's tokens after a prefix of all rows.

        The prefix passes through the model once.

        Args:
            rows: token ids, at most `block_size + 1` of them.
            shared: length of the prefix, at least 1.
        """
        device = self.model.wte.weight.device
        cache = KeyValueCache(max(map(len, rows)), torch.zeros(1, dtype=torch.long, device=device))
        if shared > 1:
            prefix = torch.tensor([rows[0][: shared - 1]], device=device)
            self.model.hidden_states(prefix, cache)
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
        """Yield the windows' indices in batches, sorted by length to reduce padding."""
        order = sorted(range(len(windows)), key=lambda index: -len(windows[index].tokens))
        start = 0
        while start < len(order):
            n_rows = max(1, self.batch_tokens // len(windows[order[start]].tokens))
            yield order[start : start + n_rows]
            start += n_rows

    @torch.inference_mode()
    def _score_batch(self, windows: list[Window], banned: Tensor | None) -> list[Score]:
        device = self.model.wte.weight.device
        tokens = _padded([window.tokens for window in windows]).to(device)
        hidden = self.model.hidden_states(tokens[:, :-1])  # padding is on the right
        ends = [len(window.tokens) - 1 for window in windows]
        spans = [(end - window.scored, end) for end, window in zip(ends, windows, strict=True)]
        states = torch.cat([hidden[row, a:b] for row, (a, b) in enumerate(spans)])
        targets = torch.cat([tokens[row, a + 1 : b + 1] for row, (a, b) in enumerate(spans)])
        if banned is not None:
            padding = self.model.config.vocab_size - len(banned)
            banned = F.pad(banned.to(device), (0, padding), value=True)
        parts = []  # the logits of all positions at once would need too much memory
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


def _padded(rows: Sequence[Sequence[int] | NDArray[np.int64]]) -> Tensor:
    """Return `(len(rows), longest)` token ids, with zeros after the shorter rows."""
    tensors = [torch.from_numpy(np.asarray(row, dtype=np.int64)) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)


def perplexity(log_probability: float, n: int) -> float:
    """Return exp(-ln p / n), or infinity if it overflows."""
    try:
        return math.exp(-log_probability / n)
    except OverflowError:
        return math.inf
