"""A model and a character vocabulary of five tokens."""

import pytest
import torch

from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary


@pytest.fixture(scope="module")
def model() -> GPT:
    """A model with random weights, far from uniform predictions, and a context of 8."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, vocab_size=5)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The characters a, b, c, d, and `<|endoftext|>`, which is 4."""
    return build_char_vocabulary(["abcd"])
