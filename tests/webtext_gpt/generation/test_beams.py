"""Beam search equals that of transformers, and finds the best text if it keeps all of them."""

from itertools import product
from typing import Any

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation import GREEDY, beam_search, generate
from webtext_gpt.generation.beams import beam_texts
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


@pytest.fixture(scope="module")
def twins() -> tuple[GPT, Any]:
    """Our model and transformers' with the same weights, far from uniform; 59 ends a text."""
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
    return ours, theirs


@pytest.mark.parametrize(
    ("num_beams", "repetition_penalty"),
    [(1, 1.0), (2, 1.0), (4, 1.0), (2, 1.5), (4, 1.5), (4, 0.8)],
)
@pytest.mark.parametrize("prompt", [[0], [1, 2, 3], [3, 3]])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_equals_transformers(
    twins: tuple[GPT, Any],
    num_beams: int,
    prompt: list[int],
    length_penalty: float,
    repetition_penalty: float,
) -> None:
    ours, theirs = twins
    expected = theirs.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        num_beams=num_beams,
        do_sample=False,
        max_new_tokens=15,
        length_penalty=length_penalty,
        repetition_penalty=repetition_penalty,
        early_stopping=False,
    )[0, len(prompt) :].tolist()
    found = beam_search(
        ours,
        prompt,
        num_beams=num_beams,
        max_new_tokens=15,
        end_of_text=59,
        length_penalty=length_penalty,
        repetition_penalty=repetition_penalty,
    )
    assert found == expected


@pytest.mark.parametrize("repetition_penalty", [1.0, 1.3])
@pytest.mark.parametrize("max_new_tokens", [1, 4, 15])
@pytest.mark.parametrize("prompt", [[0], [1, 2, 3], [3, 3], [7, 59, 7]])
def test_the_best_texts_equal_transformers(
    twins: tuple[GPT, Any], prompt: list[int], max_new_tokens: int, repetition_penalty: float
) -> None:
    ours, theirs = twins
    settings = {"max_new_tokens": max_new_tokens, "repetition_penalty": repetition_penalty}
    rows = theirs.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        num_beams=5,
        num_return_sequences=4,
        do_sample=False,
        **settings,
    )[:, len(prompt) :].tolist()
    expected = [row[: row.index(59) + 1] if 59 in row else row for row in rows]
    found = beam_texts(ours, prompt, num_texts=4, num_beams=5, end_of_text=59, **settings)
    assert found == expected
    assert len({tuple(text) for text in found}) == 4


@pytest.mark.parametrize("remainder", range(5))
def test_a_criterion_ends_a_beam_as_in_transformers(twins: tuple[GPT, Any], remainder: int) -> None:
    from transformers import StoppingCriteria

    class Stop(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
            return input_ids[:, -1] % 5 == remainder

    ours, theirs = twins
    rows = theirs.generate(
        torch.tensor([[7, 58]]),
        attention_mask=torch.ones(1, 2, dtype=torch.long),
        num_beams=3,
        num_return_sequences=3,
        do_sample=False,
        max_new_tokens=12,
        repetition_penalty=1.5,  # without it, this model repeats one token
        stopping_criteria=[Stop()],
    )[:, 2:].tolist()
    ends = [
        next(i + 1 for i, t in enumerate(row) if t % 5 == remainder or t == 59 or i == 11)
        for row in rows
    ]
    settings = {"num_texts": 3, "num_beams": 3, "max_new_tokens": 12, "end_of_text": 59}
    settings["repetition_penalty"] = 1.5
    found = beam_texts(ours, [7, 58], finished=lambda text: text[-1] % 5 == remainder, **settings)
    assert found == [row[:end] for row, end in zip(rows, ends, strict=True)]
    assert found != beam_texts(ours, [7, 58], **settings)  # the criterion matters


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
    wanted = {"max_new_tokens": 5, "end_of_text": 4}
    with pytest.raises(UserError, match="num_samples=3 is more than num_beams=2"):
        beam_texts(model, [0], num_texts=3, num_beams=2, **wanted)
    with pytest.raises(UserError, match="repetition_penalty=0"):
        beam_search(model, [0], num_beams=2, repetition_penalty=0, **wanted)
    with pytest.raises(UserError, match="num_samples=6: .*max_new_tokens=1 .*only 5 different"):
        beam_texts(model, [0], num_texts=6, num_beams=9, max_new_tokens=1, end_of_text=4)
