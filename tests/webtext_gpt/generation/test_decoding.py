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


def test_a_full_context_slides_by_several_tokens(model: GPT) -> None:
    """The context of 8 loses 3 tokens when a ninth comes, so a text sees its last 6 to 8."""
    for prompt in PROMPTS:
        text = list(prompt)
        for _ in range(14):
            begins = next(start for start in range(0, len(text), 3) if len(text) - start <= 8)
            text.append(int(model(torch.tensor([text[begins:]]))[0, -1].argmax()))
        expected = text[len(prompt) :]
        for settings in ({}, {"use_cache": False}):
            new = generate(
                model, [prompt], max_new_tokens=14, sampling=GREEDY, slide_by=3, **settings
            )
            assert new == [expected]
    together = generate(model, PROMPTS, max_new_tokens=14, seeds=range(4), slide_by=3)
    for seed, prompt in enumerate(PROMPTS):
        alone = generate(model, [prompt], max_new_tokens=14, seeds=[seed], slide_by=3)
        assert alone == [together[seed]]
    with pytest.raises(UserError, match="slide_by=9 must be a whole number from 1 to 8"):
        generate(model, [[0]], max_new_tokens=1, slide_by=9)


@pytest.mark.parametrize("n", [4, 5])  # 5: all of the model's tokens
@pytest.mark.parametrize(
    "sampling", [GREEDY, Sampling(), Sampling(top_k=1), Sampling(top_p=0.5, temperature=1.3)]
)
def test_a_grammar_restricts_the_next_token_of_each_row(
    model: GPT, sampling: Sampling, n: int
) -> None:
    """The grammar: a token is followed by one of the other parity; 4 ends a text."""
    texts = [list(prompt) for prompt in PROMPTS]

    def allowed(row: int) -> torch.Tensor:
        return torch.arange(n) % 2 != texts[row][-1] % 2

    def finished(row: int, token: int) -> bool:
        texts[row].append(token)
        return token == 4

    settings = {"sampling": sampling, "seeds": range(4)}
    new = generate(
        model, PROMPTS, max_new_tokens=20, finished=finished, allowed=allowed, **settings
    )
    for prompt, tokens in zip(PROMPTS, new, strict=True):
        text = [*prompt, *tokens]
        after = text[len(prompt) - 1 :]
        assert all((a + b) % 2 for a, b in zip(after, tokens, strict=False))
        assert len(tokens) == 20 if 4 not in tokens else tokens.index(4) == len(tokens) - 1
        assert max(tokens) < n
        if sampling in (GREEDY, Sampling(top_k=1)):  # the best of what is allowed, at each place
            for place in range(len(prompt), len(text)):
                logits = model(torch.tensor([text[max(0, place - 8) : place]]))[0, -1]
                choices = [token for token in range(n) if (token + text[place - 1]) % 2]
                assert text[place] == choices[int(logits[choices].argmax())]
    if sampling == Sampling() and n == 5:
        assert len({len(tokens) for tokens in new}) > 2, "texts should end at different steps"


def test_an_unrestrictive_grammar_changes_nothing(model: GPT) -> None:
    settings = {"max_new_tokens": 12, "seeds": range(4), "sampling": Sampling(top_k=3)}
    everything = {"allowed": lambda row: torch.ones(5, dtype=torch.bool)}
    assert generate(model, PROMPTS, **settings, **everything) == generate(
        model, PROMPTS, **settings
    )
    with pytest.raises(UserError, match="draft=ngram does not go with a grammar"):
        generate(model, PROMPTS, max_new_tokens=1, draft="ngram", **everything)


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
