"""Drafts from n-grams: what is drafted, and that texts stay the same."""

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation import GREEDY, Sampling, generate
from webtext_gpt.generation.drafts import NGramDraft
from webtext_gpt.generation.texts import continuations
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.settings.generate import Generate

OPTIONS = [
    {},
    {"norm": "post", "positions": "sinusoidal"},
    {
        **{"positions": "rotary", "norm_type": "rms", "qk_norm": True, "residual_scalars": True},
        **{"value_embeddings": True, "logits_soft_cap": 5.0, "tied_embeddings": False},
    },
]


def _proposed(text: list[int], most: int = 5) -> list[int]:
    draft = NGramDraft()
    draft.add(text)
    return draft.propose(most)


def test_the_draft_follows_the_latest_occurrence_of_the_longest_n_gram() -> None:
    assert _proposed([1, 2, 3, 4, 9, 2, 3, 7, 1, 2, 3]) == [4, 9, 2, 3, 7]  # after 1 2 3
    assert _proposed([1, 2, 3, 4, 2, 3, 5, 2, 3], most=2) == [5, 2]  # after the later 2 3
    assert _proposed([6, 7, 6]) == [7, 6]  # it ends where the text ends
    assert _proposed([8, 8]) == [8]
    assert _proposed([1, 2, 3]) == []
    assert _proposed([5]) == []


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(top_k=3, repetition_penalty=1.3)], ids=str)
def test_texts_are_the_same_with_a_draft(options: dict, sampling: Sampling) -> None:
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 24, "vocab_size": 7}
    model = GPT(GPTConfig(**shape, **options)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    passes = _passes(model)
    prompts = [[1, 2, 3, 1, 2, 3], [4], [0] * 30]  # within the context, beyond it, all beyond it
    settings = {"max_new_tokens": 22, "sampling": sampling, "seeds": [1, 2, 3]}
    plain = [
        generate(model, [p], **{**settings, "seeds": [s]})[0]
        for s, p in zip((1, 2, 3), prompts, strict=True)
    ]
    without = len(passes)
    passes.clear()
    assert generate(model, prompts, draft="ngram", **settings) == plain
    assert len(passes) < without  # some drafts were right


def test_a_text_ends_inside_a_draft(model: GPT) -> None:
    whole = generate(model, [[0, 1]], max_new_tokens=6, sampling=GREEDY)[0]
    for n in range(1, 7):
        seen: list[int] = []

        def finished(row: int, token: int, seen: list[int] = seen, n: int = n) -> bool:
            seen.append(token)
            return len(seen) == n

        settings = {"max_new_tokens": 6, "sampling": GREEDY, "finished": finished}
        assert generate(model, [[0, 1]], draft="ngram", **settings) == [whole[:n]]
        assert seen == whole[:n]


def test_what_excludes_drafts(model: GPT, tokenizer) -> None:
    with pytest.raises(UserError, match="draft='bigram' is not one of ngram"):
        generate(model, [[0]], max_new_tokens=1, draft="bigram")
    with pytest.raises(UserError, match="draft=ngram needs the cache, and use_cache=False"):
        generate(model, [[0]], max_new_tokens=1, draft="ngram", use_cache=False)
    for other, message in (
        ({"num_beams": 2}, "draft=ngram continues one text .* num_beams=2"),
        ({"next": 5}, "next= ranks single tokens; leave draft=ngram out"),
    ):
        with pytest.raises((UserError, ValueError), match=message):
            Generate(checkpoint="runs/a", draft="ngram", **other)
    with pytest.raises(UserError, match="draft=ngram continues one text .* num_beams=2"):
        continuations(model, tokenizer, [[0]], num_beams=2, draft="ngram")


def _passes(model: GPT) -> list[int]:
    """Return a list that grows by the number of tokens of each forward pass."""
    passes: list[int] = []
    hidden_states = model.hidden_states

    def counted(tokens, *args):
        passes.append(tokens.size(1))
        return hidden_states(tokens, *args)

    model.hidden_states = counted
    return passes
