"""A small model with a byte vocabulary, its scorer, and the plainest loop to check it by."""

from collections.abc import Callable

import pytest
import torch

from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, train_bpe


@pytest.fixture(scope="package")
def tokenizer() -> Tokenizer:
    """A few merges over the bytes."""
    return train_bpe(["the cat sat on the mat , and the dog saw the cat . " * 20], 280)


@pytest.fixture(scope="package")
def model(tokenizer: Tokenizer) -> GPT:
    """Random weights, far from uniform; a context of 64."""
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 64}
    model = GPT(GPTConfig(**shape, vocab_size=tokenizer.vocab_size)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def scorer(model: GPT, tokenizer: Tokenizer) -> Scorer:
    """In batches of a few windows."""
    return Scorer(model, tokenizer, batch_tokens=200, stride=20)


@pytest.fixture
def log_probability(model: GPT, tokenizer: Tokenizer) -> Callable[[str, str], float]:
    """Of a text after a context, or after end-of-text: one token at a time."""

    @torch.inference_mode()
    def of(context: str, text: str) -> float:
        before = tokenizer.encode(context) or [tokenizer.end_of_text]
        ids = [*([] if context else before), *tokenizer.encode(context + text)]
        total = 0.0
        for place in range(len(before), len(ids)):
            seen = ids[max(0, place - model.config.block_size) : place]
            logits = model(torch.tensor([seen]))[0, -1].double()
            total += float(logits.log_softmax(-1)[ids[place]])
        return total

    return of
