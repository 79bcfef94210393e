"""Continuations as text: where they end, what is shown, and next-token candidates."""

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation import GREEDY, Sampling, beam_search, complete, next_tokens
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, train_bpe


def test_a_seed_fixes_the_text(model: GPT, tokenizer: Tokenizer) -> None:
    def sample(seed: int) -> list[str]:
        return complete(model, tokenizer, ["ab"] * 3, max_new_tokens=20, seed=seed)

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    assert sample(1)[1:] == sample(2)[:2]  # each text has its own seed


def test_text_ends_where_the_document_does(model: GPT, tokenizer: Tokenizer) -> None:
    texts = complete(model, tokenizer, [""] * 30, max_new_tokens=20, seed=0)
    assert not any("<|endoftext|>" in text for text in texts)
    assert min(map(len, texts)) < 20


def test_text_ends_before_a_stop_string(model: GPT, tokenizer: Tokenizer) -> None:
    settings = {"max_new_tokens": 40, "seed": 0}
    whole = complete(model, tokenizer, [""] * 30, **settings)
    ended = complete(model, tokenizer, [""] * 30, stop=["ca", "dd"], **settings)
    ends = [min(t.find("ca") % 99, t.find("dd") % 99) for t in whole]  # -1 (not found) becomes 98
    assert ended == [text[:end] for text, end in zip(whole, ends, strict=True)]
    assert sum(end < 98 for end in ends) > 5
    with pytest.raises(UserError, match="stop holds ''"):
        complete(model, tokenizer, ["a"], stop=["b", ""])


@pytest.mark.parametrize("stop", [[], ["ca", "ddd"]])
def test_pieces_shown_add_up_to_the_text(model: GPT, tokenizer: Tokenizer, stop: list[str]) -> None:
    for seed in range(20):
        pieces: list[str] = []
        [text] = complete(
            model, tokenizer, ["a"], max_new_tokens=30, seed=seed, stop=stop, show=pieces.append
        )
        assert "".join(pieces) == text
        assert len(pieces) > 1 or len(text) < 3


def test_characters_of_several_tokens_are_shown_at_once() -> None:
    tokenizer = train_bpe(["plain"], 257)  # only bytes
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=64, vocab_size=257)).eval()
    emoji = tokenizer.encode("é☃😀")
    emit = iter([*emoji, tokenizer.end_of_text])
    model.lm_head = _Fixed(emit, 257)
    pieces: list[str] = []
    complete(model, tokenizer, ["x"], max_new_tokens=50, sampling=GREEDY, show=pieces.append)
    assert [piece for piece in pieces if piece] == ["é", "☃", "😀"]


class _Fixed(torch.nn.Module):
    """An output layer that prefers the given tokens, one after another."""

    def __init__(self, tokens, vocab_size: int) -> None:
        super().__init__()
        self.tokens, self.vocab_size = tokens, vocab_size

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(hidden.size(0), self.vocab_size)
        logits[:, next(self.tokens)] = 1
        return logits


def test_candidates_are_the_models_probabilities(model: GPT, tokenizer: Tokenizer) -> None:
    first, second = next_tokens(model, tokenizer, "ab", n=3, steps=2)
    expected = model(torch.tensor([[0, 1]]))[0, -1].softmax(-1)
    assert [c.probability for c in first] == pytest.approx(expected.topk(3).values.tolist())
    assert [c.token for c in first] == expected.topk(3).indices.tolist()
    assert [c.text for c in first] == [tokenizer.decode([c.token]) for c in first]
    after = model(torch.tensor([[0, 1, first[0].token]]))[0, -1].softmax(-1)
    assert [c.probability for c in second] == pytest.approx(after.topk(3).values.tolist(), rel=1e-4)
    [everything] = next_tokens(
        model, tokenizer, "", n=10
    )  # from end-of-text; the vocabulary has five
    assert sum(c.probability for c in everything) == pytest.approx(1)
    for settings, message in (({"n": 0}, "next=0"), ({"n": 1, "steps": 0}, "steps=0")):
        with pytest.raises(UserError, match=message):
            next(next_tokens(model, tokenizer, "a", **settings))


def test_beams_obey_the_context(model: GPT, tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="does not fit"):
        complete(model, tokenizer, ["abcdabc"], max_new_tokens=5, num_beams=2, overflow="refuse")


def test_samples_of_each_prompt_follow_one_another(model: GPT, tokenizer: Tokenizer) -> None:
    settings = {"max_new_tokens": 6, "seed": 3}
    expected = complete(model, tokenizer, ["a", "a", "bc", "bc"], **settings)
    assert complete(model, tokenizer, ["a", "bc"], num_samples=2, **settings) == expected


def test_the_best_beams_of_each_prompt(model: GPT, tokenizer: Tokenizer) -> None:
    settings = {"max_new_tokens": 4, "num_beams": 4}
    best = complete(model, tokenizer, ["a", "bc"], **settings)
    three = complete(model, tokenizer, ["a", "bc"], num_samples=3, **settings)
    assert [three[0], three[3]] == best
    assert len(set(three[:3])) == len(set(three[3:])) == 3
    ids = beam_search(model, [0], end_of_text=4, **settings)
    assert best[0] == tokenizer.decode([token for token in ids if token != 4])


def test_beams_apply_the_repetition_penalty(model: GPT, tokenizer: Tokenizer) -> None:
    def repeats(penalty: float) -> int:
        sampling = Sampling(repetition_penalty=penalty)
        texts = complete(
            model, tokenizer, ["a", "b", "cd"], sampling=sampling, max_new_tokens=5, num_beams=3
        )
        return sum(len(text) - len(set(text)) for text in texts)

    assert repeats(5.0) < repeats(1.0)


def test_beams_end_at_stop_strings(model: GPT, tokenizer: Tokenizer) -> None:
    """Texts that differ only after a stop string are kept once."""
    for stop in ("a", "b", "cd"):
        texts = complete(
            model, tokenizer, ["ab"], num_beams=5, num_samples=5, max_new_tokens=5, stop=[stop]
        )
        assert not any(stop in text for text in texts)
    ended = complete(
        model, tokenizer, ["ab"], num_beams=5, num_samples=5, max_new_tokens=5, stop=list("abc")
    )
    assert len(set(ended)) < 5  # "a" and "b" end different beams that are empty before them


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling": Sampling(temperature=0.5)}, "num_beams=2 searches.*leave temperature out"),
        ({"sampling": Sampling(top_k=3)}, "leave top_k out"),
        ({"sampling": Sampling(top_p=0.5), "seed": 0}, "leave seed, top_p out"),
        ({"seed": 0}, "leave seed out"),
        ({"num_samples": 3}, "num_samples=3 is more than num_beams=2"),
        ({"num_samples": 0}, "num_samples=0"),
    ],
)
def test_settings_of_random_draws_are_refused_with_beams(
    model: GPT, tokenizer: Tokenizer, settings: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        complete(model, tokenizer, ["a"], num_beams=2, max_new_tokens=3, **settings)
