"""Beam search for a batch of sources, on tensors: all beams of all sources take each step together.

A text is a candidate's tokens with the end-of-text that ends it. Its score is its log-probability
divided by GNMT's length penalty (Wu et al. 2016, section 7), as in Vaswani et al. 2017, section
6.1. Each source keeps its `num_beams` best ended texts. It is done once it has that many, and the
best growing text, at its present length, scores no better than the worst of them.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from webtext_gpt.model import KeyValueCache
from webtext_gpt.model.transformer import Transformer

NEVER = -torch.inf
"""Log-probability of tokens and texts that must not be chosen."""


def length_penalty_of(length: int, alpha: float) -> float:
    """Return ((5 + length) / 6)^alpha, GNMT's length penalty of a text of `length` tokens."""
    return float(((5 + length) / 6) ** alpha)


@torch.inference_mode()
def best_texts(
    model: Transformer,
    sources: Sequence[Sequence[int]],
    limits: Sequence[int],
    *,
    num_beams: int,
    length_penalty: float,
    end_of_text: int,
) -> list[list[int]]:
    """Return the best text found for each source, without the end-of-text that ends it.

    Args:
        model: in evaluation mode.
        sources: the encoder's input for each source, at least one.
        limits: maximum tokens of each text, end-of-text included; at most the model's context.
            The last of them can only be end-of-text.
        num_beams: texts kept for each source; 1 is greedy search.
        length_penalty: exponent of the length penalty; 0 compares plain log-probabilities.
        end_of_text: the id that begins and ends a text.
    """
    search = _Search(model, sources, limits, num_beams, length_penalty, end_of_text)
    while search.rows.numel():
        search.step()
    return search.best


class _Search:
    """State of the sources that are not done; N of them, of `num_beams` K growing texts each.

    Attributes:
        best: the result of each source that is done.
        rows: `(N,)` indices of the sources that are not done.
    """

    def __init__(
        self,
        model: Transformer,
        sources: Sequence[Sequence[int]],
        limits: Sequence[int],
        num_beams: int,
        alpha: float,
        end_of_text: int,
    ) -> None:
        self.model, self.K, self.alpha, self.end = model, num_beams, alpha, end_of_text
        device = model.wte.weight.device
        N, K = len(sources), num_beams
        self.best: list[list[int]] = [[] for _ in sources]
        self.rows = torch.arange(N, device=device)
        self.limits = torch.tensor(limits, device=device)
        padded = pad_sequence([torch.tensor(ids) for ids in sources], batch_first=True)
        lengths = torch.tensor([len(ids) for ids in sources], device=device)
        encoded = model.encode(padded.to(device), lengths)
        self.memory = encoded.rows(self.rows.repeat_interleave(K))
        self.cache = KeyValueCache(max(limits), torch.zeros(N * K, dtype=torch.long, device=device))
        self.texts = torch.empty(N, K, 0, dtype=torch.long, device=device)
        self.totals = torch.full((N, K), NEVER, device=device)  # log-probabilities of the texts
        self.totals[:, 0] = 0  # all K are the empty text, and only one of them may grow
        self.ended = self.texts
        self.scores = torch.full((N, K), NEVER, device=device)  # scores of the ended texts

    def step(self) -> None:
        """Add a token to every growing text, and drop the sources that are done."""
        K, n = self.K, self.texts.size(2) + 1
        penalty = length_penalty_of(n, self.alpha)
        top, parents, tokens = self._candidates(n)
        is_end = tokens == self.end
        texts = torch.cat((_select(self.texts, parents), tokens[..., None]), dim=2)  # (N, 2K, n)

        scores = top.masked_fill(~is_end, NEVER)[:, :K] / penalty  # only the K best may end
        self.scores, order = torch.cat((self.scores, scores), dim=1).topk(K)
        ended = F.pad(self.ended, (0, 1), value=self.end)
        self.ended = _select(torch.cat((ended, texts[:, :K]), dim=1), order)

        self.totals, order = top.masked_fill(is_end, NEVER).topk(K)
        self.texts = _select(texts, order)
        is_done = self.totals[:, 0] / penalty <= self.scores[:, -1]
        self._keep(~is_done, parents.gather(1, order))

    def _candidates(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the 2K most probable texts of each source with one token more, of length n.

        At most K of them end here, so that at least K can grow.

        Returns:
            Their log-probabilities, parents and last tokens, each `(N, 2K)`, the best first.
        """
        begin = torch.full_like(self.totals, self.end, dtype=torch.long)
        last = self.texts[:, :, -1] if n > 1 else begin
        hidden = self.model.hidden_states(last.reshape(-1, 1), self.memory, self.cache)
        logits = self.model.lm_head(hidden[:, -1]).float()
        extended = logits.log_softmax(dim=-1).view(*self.totals.shape, -1)  # (N, K, vocab_size)
        must_end = (self.limits == n).nonzero()[:, 0]
        if must_end.numel():
            of_end = extended[must_end, :, self.end]
            extended[must_end] = NEVER
            extended[must_end, :, self.end] = of_end
        extended += self.totals[..., None]
        V = extended.size(2)
        top, index = extended.flatten(1).topk(min(2 * self.K, self.K * V))
        return top, index // V, index % V

    def _keep(self, is_kept: Tensor, parents: Tensor) -> None:
        """Continue with some of the sources, whose texts extend those of `parents`, `(N, K)`."""
        n_kept = int(is_kept.sum())
        for row, text in zip(
            self.rows[~is_kept].tolist(), self.ended[~is_kept, 0].tolist(), strict=True
        ):
            self.best[row] = text[: text.index(self.end)]
        first = self.K * torch.arange(len(is_kept), device=is_kept.device)[:, None]
        is_all = n_kept == len(is_kept)
        if not is_all:  # otherwise nothing is copied
            beams = first + torch.arange(self.K, device=first.device)
            self.memory = self.memory.rows(beams[is_kept].flatten())
            self.rows, self.limits = self.rows[is_kept], self.limits[is_kept]
            self.texts, self.totals = self.texts[is_kept], self.totals[is_kept]
            self.ended, self.scores = self.ended[is_kept], self.scores[is_kept]
        order = (first + parents)[is_kept].flatten().tolist()
        if order and not (is_all and order == list(range(len(order)))):
            self.cache.keep(order)


def _select(texts: Tensor, index: Tensor) -> Tensor:
    """Return the texts `(N, J, n)` of `(N, K, n)` that `index`, `(N, J)`, names for each source."""
    return texts.gather(1, index[..., None].expand(-1, -1, texts.size(2)))
