"""Beam search equals that of transformers, and finds the best text if it keeps all of them."""

from itertools import product

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation import GREEDY, beam_search, generate
from webtext_gpt.model import GPT


def _log_probability(model: GPT, prompt: list[int], text: list[int]) -> float:
    logits = model(torch.tensor([[*prompt, *text]]))[0, len(prompt) - 1 : -1].double()
    return logits.log_softmax(-1).gather(1, torch.tensor(text)[:, None]).sum().item()


def test_enough_beams_find_the_best_text(model: GPT) -> None:
    texts = {
        text[: text.index(4) + 1] if 4 in text else text for text in product(range(5), repeat=3)
    }
    best = max(texts, key=lambda t: _log_probability(model, [0, 3], list(t)) / len(t))
    found = beam_search(model, [0, 3], num_beams=100, max_new_tokens=3, end_of_text=4)
    assert found == list(best)


@pytest.mark.parametrize("num_beams", [1, 2, 4])
@pytest.mark.parametrize("prompt", [[0], [1, 2, 3], [3, 3]])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_equals_transformers(num_beams: int, prompt: list[int], length_penalty: float) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    from webtext_gpt.model import GPTConfig

    torch.manual_seed(1)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "vocab_size": 60}
    theirs = GPT2LMHeadModel(
        GPT2Config(**shape, n_positions=64, bos_token_id=59, eos_token_id=59, pad_token_id=59)
    ).eval()
    ours = GPT(GPTConfig(**shape, block_size=64)).eval()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.nn.init.normal_(other, std=0.3)
        is_matrix = mine.dim() == 2 and not name.startswith(("wte", "wpe"))
        mine.data.copy_(other.data.T if is_matrix else other.data)
    expected = theirs.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        num_beams=num_beams,
        do_sample=False,
        max_new_tokens=15,
        length_penalty=length_penalty,
        early_stopping=False,
    )[0, len(prompt) :].tolist()
    found = beam_search(
        ours,
        prompt,
        num_beams=num_beams,
        max_new_tokens=15,
        end_of_text=59,
        length_penalty=length_penalty,
    )
    assert found == expected


def test_one_beam_is_greedy(model: GPT) -> None:
    [greedy] = generate(
        model, [[0]], max_new_tokens=5, sampling=GREEDY, finished=lambda row, token: token == 4
    )
    assert beam_search(model, [0], num_beams=1, max_new_tokens=5, end_of_text=4) == greedy


def test_bad_arguments_are_refused(model: GPT) -> None:
    with pytest.raises(UserError, match="num_beams=0"):
        beam_search(model, [0], num_beams=0, max_new_tokens=5, end_of_text=4)
    with pytest.raises(UserError, match="no tokens"):
        beam_search(model, [], num_beams=2, max_new_tokens=5, end_of_text=4)
