"""What a model expects next: the table of the likeliest tokens."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from webtext_gpt.generation.reader import Reader
from webtext_gpt.model import GPT
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import Tokenizer


@dataclass(frozen=True)
class Candidate:
    """A token that may come next."""

    token: int
    text: str
    probability: float


@torch.inference_mode()
def next_tokens(
    model: GPT, tokenizer: Tokenizer, prompt: str, *, n: int, steps: int = 1
) -> Iterator[list[Candidate]]:
    """The n likeliest next tokens, likeliest first, then those after the likeliest, and so on.

    Of a text longer than the model's context, its end is seen. An empty prompt begins a new
    document.

    Raises:
        UserError: n or steps is below 1, or the prompt has characters that the model lacks.
    """
    whole_number("next", n, least=1)
    whole_number("steps", steps, least=1)
    text = tokenizer.encode(prompt) or [tokenizer.end_of_text]
    reader = Reader(model, len(text) + steps)
    for _ in range(steps):
        probabilities = reader.next_logits([text])[0].float().softmax(dim=-1)
        top = probabilities.topk(min(n, probabilities.numel()))
        yield [
            Candidate(token, tokenizer.decode([token]), probability)
            for token, probability in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        text = [*text, int(top.indices[0])]
