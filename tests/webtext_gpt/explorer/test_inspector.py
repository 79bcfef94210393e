"""The explorer's numbers: against a GPT in NumPy, `generate.py next=10`, and by hand."""

import itertools
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from tests.webtext_gpt.explorer.numpy_gpt import NumpyGPT, Pass
from webtext_gpt.checkpoint.load import LoadedModel, load
from webtext_gpt.errors import UserError
from webtext_gpt.explorer.inspector import Inspector
from webtext_gpt.generation import next_tokens
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.tokenizer import build_char_vocabulary, train_bpe

SMALL: dict[str, Any] = {
    "n_layer": 3, "n_head": 2, "n_embd": 16, "block_size": 12, "vocab_size": 20, "init_std": 0.2
}  # fmt: skip
VASWANI: dict[str, Any] = {
    "norm": "post", "activation": "relu", "positions": "sinusoidal", "scale_embeddings": True
}  # fmt: skip
LATER: dict[str, Any] = {
    "positions": "rotary", "biases": False, "norm_type": "rms", "norm_gains": False,
    "qk_norm": True, "activation": "relu_squared", "residual_scalars": True,
    "value_embeddings": True, "tied_embeddings": False, "logits_soft_cap": 3.0,
}  # fmt: skip
OPTIONS = [{}, {"activation": "gelu"}, VASWANI, {"norm": "post"}, LATER, {**LATER, "norm": "post"}]
OPTIONS += [{name: value} for name, value in LATER.items()]

LETTERS = "abcdefghijklmnopqrs"
TEXT = "sampledash"  # ten tokens


def _model(**options: Any) -> GPT:
    """A model whose every weight is drawn, since zeros and ones would hide a fault."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(**{**SMALL, **options})).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean="ln_" in name, std=0.3)
    return model


def _inspector(**options: Any) -> Inspector:
    return Inspector(LoadedModel(_model(**options), build_char_vocabulary([LETTERS])))


def _ids(text: str) -> list[int]:
    return [LETTERS.index(letter) for letter in text]


@pytest.fixture(scope="module", params=OPTIONS, ids=lambda option: ",".join(option) or "gpt2")
def pair(request: pytest.FixtureRequest) -> tuple[Inspector, NumpyGPT, Pass]:
    """An inspector, its model in NumPy, and that one's forward pass of `TEXT`."""
    inspector = _inspector(**request.param)
    reference = NumpyGPT(inspector.model)
    return inspector, reference, reference.forward(_ids(TEXT))


Pair = tuple[Inspector, NumpyGPT, Pass]


def test_a_heads_weights_are_the_softmax_of_the_scores(pair: Pair) -> None:
    inspector, _, expected = pair
    for layer, head in itertools.product(range(3), range(2)):
        weights = inspector.attention(TEXT, layer, head)
        assert (weights.dtype, weights.shape) == (np.float32, (55,))
        rows = np.split(weights, np.cumsum(range(1, 10)))
        for row, theirs in zip(rows, expected.layers[layer].weights[head], strict=True):
            np.testing.assert_allclose(row, theirs[: len(row)], rtol=0, atol=3e-6)
    mean = expected.layers[1].weights.mean(axis=0)[np.tril_indices(10)]
    np.testing.assert_allclose(inspector.attention(TEXT, 1), mean, rtol=0, atol=3e-6)


def test_the_row_of_a_position_in_every_head(pair: Pair) -> None:
    inspector, _, expected = pair
    rows = inspector.heads(TEXT, 6)
    theirs = np.stack([layer.weights[:, 6, :7] for layer in expected.layers])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, theirs, rtol=0, atol=3e-6)


def test_the_numbers_of_a_head(pair: Pair) -> None:
    inspector, _, expected = pair
    layer, head, at = expected.layers[2], 1, 7  # with a value embedding, where there are any
    found = inspector.head(TEXT, layer=2, head=head, position=at, n=3)
    query, keys, values = layer.queries[head, at], layer.keys[head, :8], layer.values[head, :8]
    assert found["scale"] == pytest.approx(1 / math.sqrt(8))
    _close(found["query"], query)
    _close(found["scores"], keys @ query / math.sqrt(8))
    _close(found["weights"], layer.weights[head, at, :8])
    _close(found["output"], layer.weights[head, at, :8] @ values)
    order = np.argsort(-layer.weights[head, at, :8])[:3].tolist()
    assert [one["position"] for one in found["top"]] == order
    for one in found["top"]:
        _close(one["key"], keys[one["position"]])
        _close(one["value"], values[one["position"]])
        _close(one["score"], keys[one["position"]] @ query / math.sqrt(8))
        _close(one["weight"], layer.weights[head, at, one["position"]])


def test_the_logit_lens(pair: Pair) -> None:
    inspector, reference, expected = pair
    found = inspector.lens(TEXT, position=5, n=4)
    streams = [expected.embedding, *(layer.stream for layer in expected.layers)]
    names = ["embedding", "block 1", "block 2", "block 3"]
    for layer, name, stream in zip(found["layers"], names, streams, strict=True):
        probabilities = softmax(reference.to_logits(stream[5]))
        assert layer["name"] == name
        _close(layer["norm"], np.linalg.norm(stream[5]))
        assert [token["id"] for token in layer["tokens"]] == _likeliest(probabilities, 4)
        _close([token["probability"] for token in layer["tokens"]], np.sort(probabilities)[:-5:-1])
        _close(layer["next_probability"], probabilities[_ids("d")[0]])
    assert found["next"] == {"id": 3, "text": "d", "bytes": [100]}
    _close(layer["next_probability"], softmax(expected.logits[5])[3])
    end = inspector.lens(TEXT, position=9)
    assert end["next"] is end["layers"][0]["next_probability"] is None


def test_the_most_active_units_and_what_they_promote(pair: Pair) -> None:
    inspector, reference, expected = pair
    last_norm = "ln_f" if reference.pre else "blocks.2.ln_2"
    found = inspector.units(TEXT, position=4, n=5)
    for number, (layer, theirs) in enumerate(zip(found["layers"], expected.layers, strict=True)):
        assert [one["unit"] for one in layer["units"]] == _likeliest(theirs.units[4], 5)
        for one in layer["units"]:
            _close(one["activation"], theirs.units[4, one["unit"]])
            column = reference.weights[f"blocks.{number}.mlp.c_proj.weight"][:, one["unit"]]
            if reference.config.norm_type == "layer":
                column = column - column.mean()
            column = column * reference.weights.get(f"{last_norm}.weight", 1)
            raised = reference.weights["lm_head.weight"] @ column
            assert [token["id"] for token in one["promotes"]] == _likeliest(raised, 3)


def test_the_surprise_of_each_token(pair: Pair) -> None:
    inspector, _, expected = pair
    found = inspector.tokens(TEXT)
    ids = _ids(TEXT)
    bits = -log_softmax(expected.logits, axis=-1)[np.arange(9), ids[1:]] / math.log(2)
    assert [token["id"] for token in found["tokens"]] == ids
    assert found["tokens"][0]["surprise"] is None
    _close([token["surprise"] for token in found["tokens"][1:]], bits)
    _close(found["bits"], bits.sum())
    assert (found["bytes"], found["n_cut"]) == (9, 0)
    _close(found["bits_per_byte"], bits.sum() / 9)


def test_the_likeliest_next_tokens(pair: Pair) -> None:
    inspector, _, expected = pair
    probabilities = softmax(expected.logits[-1])
    found = inspector.next(TEXT)
    assert (found["n_tokens"], found["n_cut"]) == (10, 0)
    assert [token["id"] for token in found["tokens"]] == _likeliest(probabilities, 10)
    assert [token["rank"] for token in found["tokens"]] == list(range(1, 11))
    _close([token["probability"] for token in found["tokens"]], np.sort(probabilities)[:-11:-1])
    mine = next(next_tokens(inspector.model, inspector.tokenizer, TEXT, n=10))
    assert [token["id"] for token in found["tokens"]] == [one.token for one in mine]
    _close([token["probability"] for token in found["tokens"]], [one.probability for one in mine])


def test_a_tree_of_continuations(pair: Pair) -> None:
    """Ten tokens leave room for two more in the context of 12."""
    inspector, reference, _ = pair

    def check(children: list[dict[str, Any]], ids: list[int], joint: float, depth: int) -> None:
        if depth == 0:
            assert children == []
            return
        probabilities = softmax(reference.forward(ids).logits[-1])
        assert [child["id"] for child in children] == _likeliest(probabilities, 2)
        for child in children:
            _close(child["probability"], probabilities[child["id"]])
            _close(child["joint"], joint * child["probability"])
            check(child["children"], [*ids, child["id"]], child["joint"], depth - 1)

    check(inspector.tree(TEXT, width=2, depth=3)["children"], _ids(TEXT), 1.0, 3)


def _close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def _likeliest(values: np.ndarray, n: int) -> list[int]:
    return np.argsort(-values, kind="stable")[:n].tolist()


def test_the_ten_tokens_of_generate(small_checkpoint: Path, call: Callable[..., Any]) -> None:
    """Compared as printed, with two decimals of a per cent, and to 1e-5 in `test_the_likeliest`."""
    inspector = Inspector(load(small_checkpoint))
    for text in ("the cat sees", "", "a " * 90):
        done = call(
            "generate.py", f"checkpoint={small_checkpoint}", f"prompt={text}", "next=10",
            "device=cpu",
        )  # fmt: skip
        lines = [line.split() for line in done.stdout.splitlines()[1:]]
        found = inspector.next(text)["tokens"]
        assert [line[-1] for line in lines] == [str(token["id"]) for token in found]
        assert [line[0] for line in lines] == [f"{token['probability']:.2%}" for token in found]


def test_next_words_after_temperature_and_truncation() -> None:
    """By hand: of 0.5, 0.2, 0.15, 0.1, 0.05 the squares of the first two are 25 : 4."""
    inspector = _inspector(vocab_size=5)
    inspector.tokenizer = build_char_vocabulary(["abcd"])
    probabilities = torch.tensor([0.05, 0.5, 0.1, 0.2, 0.15])
    inspector.model.lm_head = _Constant(probabilities.log())
    found = inspector.next("ab", n=4, temperature=0.5, top_k=2)
    assert [token["text"] for token in found["tokens"]] == ["b", "d", "<|endoftext|>", "c"]
    _close([token["probability"] for token in found["tokens"]], [25 / 29, 4 / 29, 0, 0])
    found = inspector.next("ab", top_p=0.84)
    _close([token["probability"] for token in found["tokens"]], [50 / 85, 20 / 85, 15 / 85, 0, 0])
    found = inspector.next("ab", temperature=0)
    _close([token["probability"] for token in found["tokens"]], [1, 0, 0, 0, 0])


class _Constant(torch.nn.Module):
    """An output layer that gives the same logits everywhere."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(*hidden.shape[:-1], -1)


def test_a_text_longer_than_the_context_counts_from_its_end() -> None:
    inspector = _inspector()
    text = "abcdefgh" + TEXT
    end = text[-12:]
    assert inspector.next(text) == {**inspector.next(end), "n_cut": 6}
    assert inspector.tokens(text) == {**inspector.tokens(end), "n_cut": 6}
    for method, arguments in (
        ("attention", {"layer": 1, "head": 0}), ("heads", {"position": 11}),
        ("head", {"layer": 1, "head": 0, "position": 11}), ("lens", {"position": 11}),
        ("units", {"position": 11}), ("tree", {}),
    ):  # fmt: skip
        found = getattr(inspector, method)(text, **arguments)
        np.testing.assert_equal(found, getattr(inspector, method)(end, **arguments))


def test_a_tree_at_the_end_of_the_context_leaves_out_the_texts_beginning() -> None:
    """Twelve tokens fill the context: the levels below the first follow the last eleven."""
    inspector = _inspector()
    text = "ab" + TEXT
    reference = NumpyGPT(inspector.model)
    children = inspector.tree(text, width=2, depth=2)["children"]
    first = softmax(reference.forward(_ids(text)).logits[-1])
    assert [child["id"] for child in children] == _likeliest(first, 2)
    for child in children:
        after = softmax(reference.forward([*_ids(text[1:]), child["id"]]).logits[-1])
        assert [one["id"] for one in child["children"]] == _likeliest(after, 2)
        _close([one["probability"] for one in child["children"]], np.sort(after)[:-3:-1])


def test_an_empty_text_begins_a_document() -> None:
    found = _inspector().tokens("")
    end = {"id": 19, "text": "<|endoftext|>", "bytes": [], "surprise": None}
    assert found == {
        "tokens": [end], "bits": 0.0, "bytes": 0, "bits_per_byte": None, "n_cut": 0
    }  # fmt: skip


def test_characters_of_several_tokens() -> None:
    """Two UTF-8 bytes, two tokens: neither is a character."""
    tokenizer = train_bpe(["plain"], 257)
    inspector = Inspector(LoadedModel(_model(vocab_size=257), tokenizer))
    tokens = inspector.tokens("aé")["tokens"]
    assert [token["text"] for token in tokens] == ["a", "\ufffd", "\ufffd"]
    assert [token["bytes"] for token in tokens] == [[97], [0xC3], [0xA9]]
    assert inspector.tokens("aé")["bytes"] == 2


def test_positions_are_those_that_the_model_adds_or_rotates_by() -> None:
    learned = _inspector()
    np.testing.assert_array_equal(
        learned.positions(), learned.model.state_dict()["wpe.weight"].numpy()
    )
    sinusoidal = _inspector(positions="sinusoidal").positions()
    rotary = _inspector(positions="rotary").positions()
    assert (sinusoidal.shape, rotary.shape) == ((12, 16), (12, 8))
    for table, width in ((sinusoidal, 16), (rotary, 8)):
        assert table.dtype == np.float32
        for p, i in itertools.product(range(12), range(width // 2)):
            angle = p / 10_000 ** (2 * i / width)
            assert table[p, 2 * i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[p, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_neighbours_by_cosine() -> None:
    inspector = _inspector()
    rows = inspector.model.wte.weight.detach().double().numpy()
    cosines = rows @ rows[7] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[7])
    found = inspector.neighbours(7, n=5)
    assert found["token"]["text"] == "h"
    assert [one["id"] for one in found["neighbours"]] == _likeliest(cosines, 6)[1:]
    _close([one["similarity"] for one in found["neighbours"]], np.sort(cosines)[-2:-7:-1])
    assert len(inspector.neighbours(7, n=1000)["neighbours"]) == 19


def _classifier(**special: Any) -> Inspector:
    config = ClassifierConfig(labels=("no", "yes"), pad_token_id=19, **special)
    model = GPTClassifier(_model(vocab_size=23), config).eval()
    tokenizer = build_char_vocabulary([LETTERS]).with_tokens(["<s>", "<d>", "<e>"])
    return Inspector(LoadedModel(model, tokenizer))


def test_a_classifier_is_shown_on_the_sequence_that_it_reads() -> None:
    inspector = _classifier(start_token_id=20, extract_token_id=22)
    found = inspector.tokens("cab")
    assert [token["text"] for token in found["tokens"]] == ["<s>", "c", "a", "b", "<e>"]
    expected = NumpyGPT(inspector.model).forward([20, 2, 0, 1, 22])
    weights = expected.layers[2].weights[1][np.tril_indices(5)]
    np.testing.assert_allclose(inspector.attention("cab", 2, 1), weights, atol=3e-6)
    long = inspector.tokens("abcdefghijklm")
    assert [token["text"] for token in long["tokens"]] == ["<s>", *"abcdefghij", "<e>"]
    assert long["n_cut"] == 3
    assert "next" not in inspector.views
    for method in (inspector.next, inspector.tree):
        with pytest.raises(UserError, match="this model is a classifier"):
            method("cab")


def test_a_classifier_of_pairs_is_shown_with_an_empty_second_text() -> None:
    inspector = _classifier(
        start_token_id=20, delimiter_token_id=21, extract_token_id=22, both_orders=True
    )
    tokens = inspector.tokens("cab")["tokens"]
    assert [token["text"] for token in tokens] == ["<s>", "c", "a", "b", "<d>", "<e>"]


def test_a_classifier_without_special_tokens_reads_an_empty_text_as_padding() -> None:
    inspector = _classifier()
    assert [token["id"] for token in inspector.tokens("")["tokens"]] == [19]


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("next", {"text": "é"}, "text: character 0, 'é', is not one of the 19 characters"),
        ("next", {"text": 5}, "text must be text, not int"),
        ("next", {"text": "a", "n": 0}, "n=0 must be a whole number from 1 to 1,000"),
        ("next", {"text": "a", "n": True}, "n=True must be"),
        ("next", {"text": "a", "temperature": -1}, "temperature=-1 must be 0 or above"),
        ("next", {"text": "a", "top_p": 2}, "top_p=2 must be above 0 and at most 1"),
        ("next", {"text": "a", "top_k": 1.5}, "top_k=1.5 must be a whole number"),
        ("tree", {"text": "a", "width": 14}, "width=14 and depth=3 need 210 forward"),
        ("tree", {"text": "a", "width": 1, "depth": 11}, "depth=11 must be .* from 1 to 10"),
        ("attention", {"text": "a", "layer": 3}, "layer=3 must be a whole number from 0 to 2"),
        ("attention", {"text": "a", "layer": 0, "head": -1}, "head=-1 must be .* from 0 to 1"),
        ("heads", {"text": "ab", "position": 2}, "position=2 must be .* from 0 to 1"),
        ("head", {"text": "ab", "layer": 0, "head": 2, "position": 0}, "head=2 must be"),
        ("head", {"text": "ab", "layer": 0, "head": None, "position": 0}, "head=None must be"),
        ("lens", {"text": "ab", "position": 1.0}, "position=1.0 must be"),
        ("units", {"text": "ab", "position": 0, "n": "8"}, "n=8 must be"),
        ("neighbours", {"id": 20}, "id=20 must be a whole number from 0 to 19"),
    ],
)
def test_arguments_out_of_range_are_named(
    method: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        getattr(_inspector(), method)(**arguments)


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UserError, match="^text: character 1 is half of a surrogate pair"):
        _inspector().tokens("a\ud800")


def test_threads_take_turns_and_get_the_numbers_of_their_texts() -> None:
    inspector = _inspector()
    texts = [LETTERS[n : n + 9] for n in range(10)]
    alone = [(_inspector().tokens(text), _inspector().next(text)) for text in texts]
    inside, most = [], []

    def enter(*_: Any) -> None:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)

    inspector.model.blocks[0].register_forward_pre_hook(enter)
    inspector.model.blocks[-1].register_forward_hook(lambda *_: inside.pop() and None)
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda text: (inspector.tokens(text), inspector.next(text)), texts)
        assert list(found) == alone
    assert max(most) == 1
