"""Translation equals a plain search: one text at a time, no cache, double precision."""

import math

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation.translate import EXTRA_TOKENS, translate
from webtext_gpt.generation.translation_beams import best_texts
from webtext_gpt.model.transformer import Transformer, TransformerConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary

END = 12
SOURCES = [[3, 1, 4, 1, 5, END], [9, 2, END], [6, 5, 3, 5, 8, 9, 7, 9, END], [END]]
LIMITS = [9, 7, 12, 5]


@pytest.fixture(scope="module")
def model() -> Transformer:
    """Trained for a second to repeat a source whose letters are dropped or doubled at random.

    So the end is uncertain, beams differ, and the length penalty matters.
    """
    torch.manual_seed(0)
    shape = {"n_encoder_layer": 1, "n_decoder_layer": 2, "n_head": 2, "n_embd": 16}
    model = Transformer(TransformerConfig(**shape, vocab_size=13, block_size=80, dropout=0.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        source = torch.randint(END, (32, 6))
        source[:, -1] = END
        times = torch.tensor([0, 1, 1, 2])[torch.randint(4, (32, 5))]
        rows = [row[:-1].repeat_interleave(n) for row, n in zip(source, times, strict=True)]
        target = torch.nn.utils.rnn.pad_sequence(
            [torch.cat((torch.tensor([END]), row, torch.tensor([END]))) for row in rows],
            batch_first=True,
            padding_value=END,
        )
        logits = model(source, torch.full((32,), 6), target[:, :-1])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The letters a to l, and the end, which is 12."""
    return build_char_vocabulary(["abcdefghijkl"])


@torch.no_grad()
def _log_probabilities(model: Transformer, source: list[int], text: list[int]) -> torch.Tensor:
    """Return `(len(text) + 1, vocab_size)`, by the model's full forward pass."""
    logits = model(
        torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([[END, *text]])
    )
    return logits[0].double().log_softmax(-1)


def _plain_search(
    model: Transformer, source: list[int], limit: int, beams: int, alpha: float
) -> list[int]:
    growing: list[tuple[float, list[int]]] = [(0.0, [])]
    ended: list[tuple[float, list[int]]] = []
    for n in range(1, limit + 1):
        penalty = ((5 + n) / 6) ** alpha
        candidates = []
        for total, text in growing:
            following = _log_probabilities(model, source, text)[-1].tolist()
            tokens = [END] if n == limit else range(13)
            candidates += [(total + following[token], [*text, token]) for token in tokens]
        candidates.sort(key=lambda c: -c[0])
        ended += [(t / penalty, text[:-1]) for t, text in candidates[:beams] if text[-1] == END]
        ended = sorted(ended, key=lambda c: -c[0])[:beams]
        growing = [c for c in candidates[: 2 * beams] if c[1][-1] != END][:beams]
        if not growing or (len(ended) == beams and growing[0][0] / penalty <= ended[-1][0]):
            break
    return ended[0][1]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("beams", [1, 2, 5])
def test_equals_a_plain_search(model: Transformer, beams: int, alpha: float) -> None:
    settings = {"num_beams": beams, "length_penalty": alpha, "end_of_text": END}
    found = best_texts(model, SOURCES, LIMITS, **settings)
    expected = [
        _plain_search(model, *pair, beams, alpha) for pair in zip(SOURCES, LIMITS, strict=True)
    ]
    assert found == expected
    assert len({len(text) for text in found}) > 1


def test_one_beam_takes_the_most_probable_token_until_the_end(model: Transformer) -> None:
    (found,) = best_texts(
        model, SOURCES[:1], [40], num_beams=1, length_penalty=0.6, end_of_text=END
    )
    likeliest = _log_probabilities(model, SOURCES[0], found).argmax(-1).tolist()
    assert likeliest == [*found, END]


@pytest.mark.parametrize("beams", [1, 4])
def test_a_sentence_alone_equals_it_in_a_batch(
    model: Transformer, tokenizer: Tokenizer, beams: int
) -> None:
    texts = ["abc", "l", "kjihgfedcba", "ccc", "abcabcabc"]
    together = translate(model, tokenizer, texts, num_beams=beams)
    assert together == [translate(model, tokenizer, [t], num_beams=beams)[0] for t in texts]
    assert together == translate(model, tokenizer, texts, num_beams=beams, batch_tokens=20)
    assert len(set(together)) > 2


def test_a_longer_text_scores_better_with_a_higher_penalty(model: Transformer) -> None:
    lengths = [
        [len(t) for t in best_texts(
            model, SOURCES, [30] * 4, num_beams=8, length_penalty=alpha, end_of_text=END
        )]
        for alpha in (0.0, 3.0)
    ]  # fmt: skip
    assert sum(lengths[0]) < sum(lengths[1])


def test_no_translation_is_longer_than_its_source_allows(tokenizer: Tokenizer) -> None:
    shape = {"n_encoder_layer": 1, "n_decoder_layer": 1, "n_head": 1, "n_embd": 16}
    config = TransformerConfig(
        **shape, vocab_size=13, block_size=100, norm="pre", tied_embeddings=False
    )
    never_ends = Transformer(config).eval()
    with torch.no_grad():  # its last state is the bias of the last normalization
        never_ends.ln_decoder.weight.zero_()
        never_ends.ln_decoder.bias.fill_(1)
        never_ends.lm_head.weight.zero_()
        never_ends.lm_head.weight[END] = -9
    settings = {"num_beams": 1, "batch_tokens": 10}
    found = translate(never_ends, tokenizer, ["abc", "a" * 20], **settings)
    assert [len(text) for text in found] == [4 + EXTRA_TOKENS - 1, 21 + EXTRA_TOKENS - 1]
    (double,) = translate(never_ends, tokenizer, ["a" * 20], **settings, max_ratio=2.0)
    assert len(double) == 2 * 21 + EXTRA_TOKENS - 1
    (most,) = translate(never_ends, tokenizer, ["a" * 20], **settings, max_ratio=math.pi * 99)
    assert len(most) == 100 - 1


def test_blank_texts_have_empty_translations(model: Transformer, tokenizer: Tokenizer) -> None:
    found = translate(model, tokenizer, ["", "abc", "  "])
    assert (found[0], found[2]) == ("", "")
    assert found[1] == translate(model, tokenizer, [" abc\n"])[0]
    assert translate(model, tokenizer, []) == []


def test_every_text_is_reported_once(model: Transformer, tokenizer: Tokenizer) -> None:
    counts: list[int] = []
    translate(model, tokenizer, ["abc"] * 7, batch_tokens=50, num_beams=4, advance=counts.append)
    assert counts == [3, 3, 1]  # 12 tokens of sources, 4 each with the end


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 0}, "num_beams"),
        ({"length_penalty": -1.0}, "length_penalty"),
        ({"max_ratio": -1.0}, "max_ratio"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"texts": ["a", "b" * 80]}, r"text 2 has 80 tokens.*context of 80; divide it"),
        ({"texts": ["a", "z"]}, "text 2: character 0, 'z', is not one of"),
    ],
)
def test_bad_values_are_refused_by_name(
    model: Transformer, tokenizer: Tokenizer, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        translate(model, tokenizer, **{"texts": ["a"], **settings})
