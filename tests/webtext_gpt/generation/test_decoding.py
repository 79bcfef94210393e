"""Batches of prompts, a full context, and rows that end early."""

import copy

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation import GREEDY, Sampling, generate
from webtext_gpt.generation.layout import store_by_input
from webtext_gpt.model import GPT

PROMPTS = [[0], [1, 2, 3], [3, 2, 1, 0, 1, 2], [2, 2]]


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(top_p=0.8, temperature=1.3)])
@pytest.mark.parametrize("max_new_tokens", [2, 12])  # within the context of 8, and beyond it
def test_a_prompt_does_not_depend_on_its_batch(
    model: GPT, sampling: Sampling, max_new_tokens: int
) -> None:
    settings = {"max_new_tokens": max_new_tokens, "sampling": sampling}
    together = generate(model, PROMPTS, seeds=range(4), **settings)
    for seed, prompt in enumerate(PROMPTS):
        assert generate(model, [prompt], seeds=[seed], **settings) == [together[seed]]


def test_rows_that_end_do_not_change_the_others(model: GPT) -> None:
    whole = generate(model, PROMPTS, max_new_tokens=12, seeds=range(4))
    ended = generate(
        model, PROMPTS, max_new_tokens=12, seeds=range(4), finished=lambda row, token: token == 4
    )
    assert any(4 in tokens[:-1] for tokens in whole)
    for tokens, expected in zip(ended, whole, strict=True):
        end = expected.index(4) + 1 if 4 in expected else 12
        assert tokens == expected[:end]


def test_a_full_context_slides(model: GPT) -> None:
    text = [0]
    for _ in range(12):
        text.append(int(model(torch.tensor([text[-8:]]))[0, -1].argmax()))
    assert generate(model, [[0]], max_new_tokens=12, sampling=GREEDY) == [text[1:]]


def test_a_full_context_can_be_refused(model: GPT) -> None:
    generate(model, [[0] * 5], max_new_tokens=3, overflow="refuse")
    with pytest.raises(UserError, match="prompt 2 has 6 tokens, and with max_new_tokens=3"):
        generate(model, [[0], [0] * 6], max_new_tokens=3, overflow="refuse")


def test_a_prompt_longer_than_the_context_is_cut_to_its_end(model: GPT) -> None:
    long = [0, 1, 2, 3] * 5
    short = generate(model, [long[-8:]], max_new_tokens=3, sampling=GREEDY)
    assert generate(model, [long], max_new_tokens=3, sampling=GREEDY) == short


def test_weights_stored_by_input_give_the_same_texts(model: GPT) -> None:
    stored = copy.deepcopy(model)
    store_by_input(stored)
    for name, weight in model.state_dict().items():
        assert torch.equal(stored.state_dict()[name], weight)
    assert stored.blocks[0].mlp.c_fc.weight.t().is_contiguous()
    assert stored.lm_head.weight is stored.wte.weight
    for sampling in (GREEDY, Sampling()):
        settings = {"max_new_tokens": 12, "sampling": sampling, "seeds": range(4)}
        assert generate(stored, PROMPTS, **settings) == generate(model, PROMPTS, **settings)


def test_empty_input(model: GPT) -> None:
    assert generate(model, [], max_new_tokens=3) == []
    assert generate(model, [[0], [1]], max_new_tokens=0) == [[], []]
    with pytest.raises(UserError, match="prompt 2 has no tokens"):
        generate(model, [[0], []], max_new_tokens=3)
    with pytest.raises(UserError, match="max_new_tokens=-1"):
        generate(model, [[0]], max_new_tokens=-1)
    with pytest.raises(UserError, match="overflow='drop'"):
        generate(model, [[0]], max_new_tokens=1, overflow="drop")
