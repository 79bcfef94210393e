"""Sampling: what each setting leaves to choose from, and that a seed fixes the text."""

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation import generate, sample_texts, truncate
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary

LOGITS = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log()


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, vocab_size=5)).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_char_vocabulary(["abcd"])  # <|endoftext|> is 4


def _kept(top_k: int | None, top_p: float | None) -> list[int]:
    order = torch.tensor([3, 0, 4, 1, 2])  # likelihood does not follow the ids
    kept = truncate(LOGITS[order][None], top_k, top_p)[0].isfinite()
    return sorted(order[kept].tolist())


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (None, None, [0, 1, 2, 3, 4]),
        (2, None, [0, 1]),
        (9, None, [0, 1, 2, 3, 4]),
        (None, 0.49, [0]),
        (None, 0.51, [0, 1]),  # 0.5 is not enough, 0.7 is
        (None, 0.84, [0, 1, 2]),
        (None, 0.86, [0, 1, 2, 3]),
        (2, 0.75, [0, 1]),  # of the two that top-k leaves, 0.71 and 0.29, both are needed
        (2, 0.7, [0]),
    ],
)
def test_what_may_be_sampled(top_k: int | None, top_p: float | None, kept: list[int]) -> None:
    assert _kept(top_k, top_p) == kept


def test_samples_follow_the_models_probabilities(model: GPT) -> None:
    prompt = torch.tensor([[0, 1]])
    expected = (model(prompt)[0, -1] / 0.5).softmax(-1)
    drawn = generate(
        model,
        prompt.repeat(20_000, 1),
        max_new_tokens=1,
        temperature=0.5,
        generator=torch.Generator().manual_seed(0),
    )[:, -1]
    shares = drawn.bincount(minlength=5) / 20_000
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)  # four standard deviations


def test_temperature_zero_takes_the_likeliest(model: GPT) -> None:
    tokens = torch.tensor([[0]])
    for _ in range(12):  # beyond the context of 8, which then slides
        likeliest = model(tokens[:, -8:])[:, -1].argmax(-1, keepdim=True)
        tokens = torch.cat((tokens, likeliest), dim=1)
    generated = generate(model, torch.tensor([[0]]), max_new_tokens=12, temperature=0)
    assert torch.equal(generated, tokens)


def test_a_seed_fixes_the_text(model: GPT, tokenizer: Tokenizer) -> None:
    def sample(seed: int) -> list[str]:
        return sample_texts(model, tokenizer, "ab", num_samples=3, max_new_tokens=20, seed=seed)

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    assert all(text.startswith("ab") for text in sample(1))


def test_text_ends_where_the_document_does(model: GPT, tokenizer: Tokenizer) -> None:
    texts = sample_texts(model, tokenizer, num_samples=30, max_new_tokens=20, seed=0)
    assert not any("<|endoftext|>" in text for text in texts)
    assert min(map(len, texts)) < 20  # at one in five, most end early


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.1}, "top_p=1.1"),
    ],
)
def test_settings_out_of_range_are_refused(model: GPT, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generate(model, torch.tensor([[0]]), max_new_tokens=1, **settings)
