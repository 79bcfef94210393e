"""The language-model loss of texts, against a plain loop."""

import math

import pytest
import torch

from webtext_gpt.finetuning.module import mean_text_loss, text_losses
from webtext_gpt.model import GPT, GPTConfig

TEXTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3, 5]]
STARTS = [1, 1, 3]


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=8, block_size=8, vocab_size=10))
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.5)
    return model


def _arguments(model: GPT, texts: list[list[int]], starts: list[int]) -> tuple:
    width = max(map(len, texts))
    tokens = torch.tensor([text + [0] * (width - len(text)) for text in texts])
    lengths = torch.tensor([len(text) for text in texts])
    hidden = model.hidden_states(tokens)
    return model.lm_head, hidden, tokens, lengths, torch.tensor(starts)


def _by_hand(model: GPT, text: list[int], start: int) -> list[float]:
    """-ln p of every token of a text from `start` on, each from a pass of its own."""
    nats = []
    for position in range(start, len(text)):
        logits = model(torch.tensor([text[:position]]))[0, -1].double().tolist()
        total = sum(math.exp(value) for value in logits)
        nats.append(-math.log(math.exp(logits[text[position]]) / total))
    return nats


def test_each_texts_loss_depends_only_on_its_tokens(model: GPT) -> None:
    nats, counts = text_losses(*_arguments(model, TEXTS, STARTS))
    expected = [_by_hand(model, text, start) for text, start in zip(TEXTS, STARTS, strict=True)]
    assert counts.tolist() == [4, 1, 1]
    assert nats.tolist() == pytest.approx([sum(e) for e in expected], rel=1e-5)
    mean = sum(sum(e) / len(e) for e in expected) / 3
    assert float(mean_text_loss(*_arguments(model, TEXTS, STARTS))) == pytest.approx(mean, rel=1e-5)


def test_a_text_without_targets_has_no_loss(model: GPT) -> None:
    nats, counts = text_losses(*_arguments(model, [[3, 1], [4]], [1, 1]))
    assert (counts.tolist(), nats[1].item()) == ([1, 0], 0.0)
    assert math.isfinite(mean_text_loss(*_arguments(model, [[3, 1], [4]], [1, 1])))
