"""How the next token is chosen from the model's logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.settings import number, whole_number

COLDEST = 1e-5
"""Below this temperature the likeliest token is all that is left."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The settings of a choice, applied in this order.

    Attributes:
        repetition_penalty: divides the positive and multiplies the negative logits of tokens
            that the text already holds, prompt included (Keskar et al. 2019, section 4.1).
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: choose among the k likeliest tokens (Fan et al. 2018).
        top_p: choose among the fewest likeliest tokens that together have probability p
            (Holtzman et al. 2020).

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
            raise UserError(f"repetition_penalty={found} must be above 0; 1 is no penalty")
        if not number("temperature", self.temperature) >= 0:
            raise UserError(f"temperature={self.temperature} must be 0 (likeliest token) or above")
        if self.top_k is not None:
            whole_number("top_k", self.top_k, least=1)
        if self.top_p is not None and not 0 < number("top_p", self.top_p) <= 1:
            raise UserError(
                f"top_p={self.top_p} must lie above 0 and be at most 1, or null for no limit"
            )

    def choose(self, logits: Tensor, texts: Sequence[Sequence[int]], uniforms: Tensor) -> Tensor:
        """One token id a row, `(B,)`.

        Args:
            logits: `(B, vocab_size)`.
            texts: the token ids that each row holds so far.
            uniforms: `(B,)` random numbers in [0, 1): where in the cumulated probabilities, in
                the order of ids, the choice falls. A row's choice depends on its own alone.
        """
        logits = logits.float()
        if self.repetition_penalty != 1:
            logits = penalise(logits, texts, self.repetition_penalty)
        if self.temperature < COLDEST:
            return logits.argmax(dim=-1)
        kept = truncate(logits / self.temperature, self.top_k, self.top_p)
        cumulated = kept.double().softmax(dim=-1).cumsum(dim=-1)
        points = uniforms.to(cumulated) * cumulated[:, -1]  # the last sum is 1 but for rounding
        return torch.searchsorted(cumulated, points[:, None], right=True)[:, 0]


GREEDY = Sampling(temperature=0.0)
"""The likeliest token each time."""


def penalise(logits: Tensor, texts: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Logits `(B, vocab_size)`, made smaller for the tokens that each row's text holds."""
    held = torch.zeros_like(logits, dtype=torch.bool)
    for row, text in enumerate(texts):
        held[row, torch.tensor(list(set(text)), device=logits.device)] = True
    return torch.where(held, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def truncate(logits: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Logits with -inf for the tokens that top-k, then top-p exclude.

    Tokens as likely as the k-th stay, so that ties do not depend on the order of ids.
    """
    if top_k is not None and top_k < logits.size(-1):
        kth = logits.topk(top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, float("-inf"))
    if top_p is not None and top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1)
        before = probabilities.cumsum(dim=-1) - probabilities  # mass of the likelier tokens
        excluded = (before >= top_p).scatter(-1, order, before >= top_p)
        logits = logits.masked_fill(excluded, float("-inf"))
    return logits
