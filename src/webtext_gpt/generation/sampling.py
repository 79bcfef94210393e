"""Choose the next token from the model's logits: temperature, top-k, top-p, repetition penalty."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.settings import number, whole_number

MIN_TEMPERATURE = 1e-5
"""Below this temperature, take the most probable token: the others have no probability left."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling settings, applied in this order.

    Attributes:
        repetition_penalty: divides the positive and multiplies the negative logits of tokens
            that occur in the text, prompt included (Keskar et al. 2019, section 4.1).
        temperature: divides the logits; 0 takes the most probable token.
        top_k: sample from the k most probable tokens (Fan et al. 2018); None means all.
        top_p: sample from the smallest set of most probable tokens whose probabilities sum to at
            least p (Holtzman et al. 2020); None means all.

    Raises:
        UserError: a setting is out of range; the message names it.
    """

    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not number("repetition_penalty", self.repetition_penalty) > 0:
            found = self.repetition_penalty
            raise UserError(f"repetition_penalty={found} must be above 0; 1 means no penalty")
        if not number("temperature", self.temperature) >= 0:
            raise UserError(
                f"temperature={self.temperature} must be 0 or above; 0 takes the most probable "
                "token"
            )
        if self.top_k is not None:
            whole_number("top_k", self.top_k, least=1)
        if self.top_p is not None and not 0 < number("top_p", self.top_p) <= 1:
            raise UserError(
                f"top_p={self.top_p} must be above 0 and at most 1, or null for no limit"
            )

    def choose(self, logits: Tensor, texts: Sequence[Sequence[int]], uniforms: Tensor) -> Tensor:
        """Return one token id per row, `(B,)`.

        Args:
            logits: `(B, vocab_size)`.
            texts: token ids of each row so far.
            uniforms: `(B,)` random numbers in [0, 1), mapped to tokens through the cumulative
                probabilities in order of id. A row's choice depends only on its own number.
        """
        logits = logits.float()
        if self.repetition_penalty != 1:
            logits = penalize(logits, texts, self.repetition_penalty)
        if self.temperature < MIN_TEMPERATURE:
            return logits.argmax(dim=-1)
        cumulative = self.probabilities(logits).cumsum(dim=-1)  # (B, vocab_size)
        points = uniforms.to(cumulative) * cumulative[:, -1]  # the last sum is 1 up to rounding
        return torch.searchsorted(cumulative, points[:, None], right=True)[:, 0]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return fp64 probabilities after temperature, top-k and top-p; 0 for excluded tokens.

        Args:
            logits: `(B, vocab_size)` in fp32, with any repetition penalty applied.
        """
        if self.temperature < MIN_TEMPERATURE:
            likeliest = logits.argmax(dim=-1, keepdim=True)
            return torch.zeros_like(logits, dtype=torch.float64).scatter(-1, likeliest, 1.0)
        kept = truncate(logits / self.temperature, self.top_k, self.top_p)
        return kept.double().softmax(dim=-1)


GREEDY = Sampling(temperature=0.0)
"""Take the most probable token at every step."""


def penalize(logits: Tensor, texts: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Return logits `(B, vocab_size)`, lowered for the tokens that occur in each row's text."""
    occurs = torch.zeros_like(logits, dtype=torch.bool)
    for row, text in enumerate(texts):
        occurs[row, torch.tensor(list(set(text)), device=logits.device)] = True
    lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(occurs, lowered, logits)


def truncate(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Return the logits with -inf for tokens excluded by top-k, then by top-p.

    Tokens as probable as the k-th are kept, so ties do not depend on the order of ids.
    """
    if top_k is not None and top_k < logits.size(-1):
        kth = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities  # mass of more probable tokens
        excluded = (before >= top_p).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(excluded, float("-inf"))
    return logits
