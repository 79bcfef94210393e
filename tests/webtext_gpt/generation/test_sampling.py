"""Sampling: which tokens each setting keeps, and the choice among them."""

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation import Sampling, generate
from webtext_gpt.generation.sampling import penalize, truncate
from webtext_gpt.model import GPT

LOGITS = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log()


def _kept(top_k: int | None, top_p: float | None) -> list[int]:
    order = torch.tensor([3, 0, 4, 1, 2])  # probability does not follow the order of ids
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
        (2, 0.75, [0, 1]),  # top-k leaves 0.71 and 0.29; both are needed
        (2, 0.7, [0]),
    ],
)
def test_tokens_kept(top_k: int | None, top_p: float | None, kept: list[int]) -> None:
    assert _kept(top_k, top_p) == kept


@pytest.mark.parametrize(
    ("uniform", "token"),
    [(0.0, 0), (0.499, 0), (0.501, 1), (0.699, 1), (0.701, 2), (0.949, 3), (0.951, 4), (1.0, 4)],
)
def test_a_uniform_number_selects_a_token(uniform: float, token: int) -> None:
    numbers = torch.tensor([min(uniform, 1 - 2**-53)], dtype=torch.float64)
    assert Sampling().choose(LOGITS[None], [[]], numbers).tolist() == [token]


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0.5, 0.2, 0.15, 0.1, 0.05]),
        (Sampling(temperature=0.5, top_k=2), [25 / 29, 4 / 29, 0, 0, 0]),  # squares
        (Sampling(top_p=0.84), [50 / 85, 20 / 85, 15 / 85, 0, 0]),
        (Sampling(temperature=0), [1, 0, 0, 0, 0]),
    ],
)
def test_probabilities_after_every_setting(sampling: Sampling, expected: list[float]) -> None:
    assert sampling.probabilities(LOGITS[None])[0].tolist() == pytest.approx(expected, abs=1e-7)


def test_excluded_tokens_are_never_chosen() -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    numbers = torch.linspace(0, 1 - 2**-53, 1001, dtype=torch.float64)
    sampling = Sampling(top_k=2)
    chosen = sampling.choose(LOGITS[order].expand(1001, 5), [[]] * 1001, numbers)
    assert set(order[chosen].tolist()) == {0, 1}


def test_samples_follow_the_models_probabilities(model: GPT) -> None:
    prompt = [0, 1]
    expected = (model(torch.tensor([prompt]))[0, -1] / 0.5).softmax(-1)
    drawn = generate(
        model,
        [prompt] * 20_000,
        max_new_tokens=1,
        sampling=Sampling(temperature=0.5),
        seeds=range(20_000),
    )
    shares = torch.tensor(drawn).flatten().bincount(minlength=5) / 20_000
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)  # four standard deviations


def test_a_temperature_near_zero_takes_the_most_probable_token() -> None:
    numbers = torch.tensor([0.99], dtype=torch.float64)
    assert Sampling(temperature=1e-40).choose(LOGITS[None], [[]], numbers).tolist() == [0]


def test_repetition_penalty_equals_transformers() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    torch.manual_seed(0)
    logits = torch.randn(2, 50)
    texts = [[3, 3, 7, 49], [0, 11, 12, 13]]
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor(texts), logits.clone())
    assert torch.equal(penalize(logits, texts, 1.3), theirs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature=-0.1"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"top_k": 0}, "top_k=0"),
        ({"top_k": 1.5}, "top_k=1.5"),
        ({"temperature": "hot"}, "temperature=hot"),
        ({"top_p": "x"}, "top_p=x"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.1}, "top_p=1.1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty=0.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sampling(**settings)
