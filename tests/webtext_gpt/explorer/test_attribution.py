"""Integrated gradients: the tokens' attributions sum to the difference of logits."""

import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from webtext_gpt.checkpoint.load import LoadedModel, load
from webtext_gpt.errors import UserError
from webtext_gpt.explorer import integrated_gradients as gradients
from webtext_gpt.explorer.attribution import attributions, classify
from webtext_gpt.finetuning.model import add_head
from webtext_gpt.finetuning.predict import TextClassifier
from webtext_gpt.model import GPT, GPTClassifier, GPTConfig

LABELS = ("no", "yes", "maybe")
TEXT = "the small cat hears a dog and the old river"
ORIGINAL = {"positions": "sinusoidal", "norm": "post", "activation": "gelu"}
MODERN = {
    "positions": "rotary",
    "norm_type": "rms",
    "norm_gains": False,
    "qk_norm": True,
    "activation": "relu_squared",
    "biases": False,
    "tied_embeddings": False,
    "value_embeddings": True,
    "residual_scalars": True,
    "scale_embeddings": True,
    "logits_soft_cap": 15.0,
}

Make = Callable[..., LoadedModel]


@pytest.fixture(scope="module")
def make(small_checkpoint: Path) -> Make:
    """`make(labels, pairs, both_orders, **options)`: a classifier with random weights."""
    tokenizer = load(small_checkpoint).tokenizer

    def _make(
        labels: tuple[str, ...] = LABELS,
        pairs: bool = False,
        both_orders: bool = False,
        **options: Any,
    ) -> LoadedModel:
        torch.manual_seed(0)
        shape: dict[str, Any] = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 64}
        body = GPT(GPTConfig(**{**shape, **options}, vocab_size=tokenizer.vocab_size))
        model, theirs = add_head(
            body, tokenizer, labels, pairs=pairs, both_orders=both_orders, dropout=0.1
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        return LoadedModel(model.eval(), theirs)

    return _make


def _classifier(loaded: LoadedModel) -> GPTClassifier:
    assert isinstance(loaded.model, GPTClassifier)
    return loaded.model


def _without_text(loaded: LoadedModel, ids: list[list[int]], special: set[int]) -> torch.Tensor:
    """Return the logits of sequences whose text tokens have embeddings of zero."""
    model = copy.deepcopy(_classifier(loaded))
    body = model.body
    used = sorted({token for row in ids for token in row} - special)
    with torch.no_grad():
        for table in (body.wte, *body.value_embeddings.values()):
            table.weight[used] = 0
        tokens = torch.tensor(ids)
        logits: torch.Tensor = model(tokens[None] if len(ids) == 2 else tokens)[0]
        return logits


@pytest.mark.parametrize("options", [{}, ORIGINAL, MODERN], ids=["gpt-2", "original", "modern"])
def test_attributions_sum_to_the_difference_of_logits(make: Make, options: dict) -> None:
    loaded = make(**options)
    config = _classifier(loaded).config
    ids = [config.start_token_id, *loaded.tokenizer.encode(TEXT), config.extract_token_id]
    special = {config.start_token_id, config.extract_token_id}
    logits = TextClassifier(_classifier(loaded), loaded.tokenizer).logits([TEXT])[0]
    away = logits - _without_text(loaded, [ids], special)
    for number, label in enumerate(LABELS):
        found = attributions(loaded, TEXT, label=label)
        assert [token["id"] for token in found["tokens"]] == ids
        amounts = [token["attribution"] for token in found["tokens"]]
        assert amounts[0] == amounts[-1] == 0
        assert all(amounts[1:-1])
        assert found["sum"] == pytest.approx(sum(amounts))
        assert found["difference"] == pytest.approx(float(away[number]), abs=1e-4)
        scale = max(abs(found["difference"]), 0.01 * max(map(abs, amounts)))
        assert abs(found["sum"] - float(away[number])) <= 0.01 * scale + 1e-4


def test_attributions_equal_a_fine_midpoint_sum(make: Make) -> None:
    """Equation 3 of the paper, written with the model's own weights in float64."""
    loaded = make()
    model, tokenizer = copy.deepcopy(_classifier(loaded)).double(), loaded.tokenizer
    config = model.config
    ids = [config.start_token_id, *tokenizer.encode("a cat sees"), config.extract_token_id]
    x = model.body.wte(torch.tensor(ids)).detach()
    baseline = x.clone()
    baseline[1:-1] = 0
    steps, total = 150, torch.zeros_like(x)
    for step in range(steps):
        point = (baseline + (step + 0.5) / steps * (x - baseline)).requires_grad_()
        stream = point + model.body.wpe.weight[: len(ids)]
        for block in model.body.blocks:
            stream = block(stream[None])[0]
        logit = model.head.weight[1] @ model.body.ln_f(stream)[-1]
        total += torch.autograd.grad(logit, point)[0] / steps
    expected = (total * (x - baseline)).sum(dim=1)
    found = attributions(loaded, "a cat sees", label="yes")
    amounts = [token["attribution"] for token in found["tokens"]]
    assert amounts == pytest.approx(expected.tolist(), abs=0.01 * float(expected.abs().max()))


def test_a_linear_model_gets_each_tokens_own_share(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the logit is w . sum of embeddings, a token's attribution is w . its embedding."""
    loaded = make(labels=("score",))
    model = _classifier(loaded)
    monkeypatch.setattr(GPT, "hidden_states", lambda body, tokens: body.wte(tokens).cumsum(dim=1))
    found = attributions(loaded, "a cat")
    assert found["steps"] == gradients.FIRST + 1
    for token in found["tokens"][1:-1]:
        expected = (model.head.weight[0] @ model.body.wte.weight[token["id"]]).item()
        assert token["attribution"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("both_orders", [False, True])
def test_a_pairs_tokens_count_in_both_orders(make: Make, both_orders: bool) -> None:
    loaded = make(pairs=True, both_orders=both_orders)
    encode, config = loaded.tokenizer.encode, _classifier(loaded).config
    first, second = encode("the old dog"), encode("a cat")
    start, delimiter, extract = (
        [config.start_token_id],
        [config.delimiter_token_id],
        [config.extract_token_id],
    )
    there = [*start, *first, *delimiter, *second, *extract]
    back = [*start, *second, *delimiter, *first, *extract]
    ids = [there, back] if both_orders else [there]
    found = attributions(loaded, "the old dog", "a cat", "maybe")
    assert [token["id"] for token in found["tokens"]] == there
    assert found["tokens"][1 + len(first)]["attribution"] == 0
    rows = torch.tensor([ids] if both_orders else ids)
    with torch.no_grad():
        logits = _classifier(loaded)(rows)[0]
    away = logits - _without_text(loaded, ids, {*start, *delimiter, *extract})
    assert found["difference"] == pytest.approx(float(away[2]), abs=1e-4)
    assert found["sum"] == pytest.approx(float(away[2]), rel=0.01)


def test_both_orders_give_a_token_what_each_gives(make: Make) -> None:
    """The head is linear, so the attributions of the two orders add up, token by token."""
    both, alone = make(pairs=True, both_orders=True), make(pairs=True)
    found = attributions(both, "the old dog", "a cat", "yes")["tokens"]
    there = attributions(alone, "the old dog", "a cat", "yes")["tokens"]
    back = attributions(alone, "a cat", "the old dog", "yes")["tokens"]
    n = len(alone.tokenizer.encode("a cat"))
    delimiter = back[n + 1]
    reordered = [back[0], *back[n + 2 : -1], delimiter, *back[1 : n + 1], back[-1]]
    assert [token["id"] for token in reordered] == [token["id"] for token in found]
    expected = [a["attribution"] + b["attribution"] for a, b in zip(there, reordered, strict=True)]
    amounts = [token["attribution"] for token in found]
    assert amounts == pytest.approx(expected, abs=0.02 * max(map(abs, expected)))


def test_batches_change_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = make()
    whole = attributions(loaded, TEXT, label="no")
    monkeypatch.setattr(gradients, "BATCH_TOKENS", 1)
    one = attributions(loaded, TEXT, label="no")
    assert one["steps"] == whole["steps"]
    for a, b in zip(one["tokens"], whole["tokens"], strict=True):
        assert a["attribution"] == pytest.approx(b["attribution"], abs=1e-4)


def test_the_model_is_not_changed_while_gradients_are_taken(make: Make) -> None:
    """Other threads read the same model; their logits stay the same, and so do its modules."""
    loaded = make()
    model = _classifier(loaded)
    modules, parameters = list(model.named_modules()), list(model.parameters())
    expected = classify(loaded, TEXT)["classes"]
    seen: list[Any] = []
    other = threading.Thread(target=lambda: seen.extend(attributions(loaded, TEXT)["tokens"]))
    other.start()
    while other.is_alive():
        assert classify(loaded, TEXT)["classes"] == expected
    other.join()
    assert seen
    assert list(model.named_modules()) == modules
    assert all(parameter.grad is None for parameter in parameters)


def test_classes_are_those_of_prediction(make: Make) -> None:
    loaded = make()
    logits = TextClassifier(_classifier(loaded), loaded.tokenizer).logits([TEXT])[0].numpy()
    classes = classify(loaded, TEXT)["classes"]
    assert [one["label"] for one in classes] == list(LABELS)
    odds = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose([one["logit"] for one in classes], logits)
    np.testing.assert_allclose([one["probability"] for one in classes], odds / odds.sum(), 1e-5)
    assert attributions(loaded, TEXT)["label"] == LABELS[int(logits.argmax())]


def test_a_regression_has_one_class_without_probability(make: Make) -> None:
    loaded = make(labels=("score",))
    (one,) = classify(loaded, TEXT)["classes"]
    assert (one["label"], one["probability"]) == ("score", None)
    assert attributions(loaded, TEXT)["label"] == "score"


def test_empty_and_long_texts(make: Make) -> None:
    """A context of 64 holds 62 tokens of text."""
    loaded = make()
    empty = attributions(loaded, "")
    assert (empty["sum"], empty["difference"], len(empty["tokens"])) == (0, 0, 2)
    long = "cat river " * 40
    n = len(loaded.tokenizer.encode(long))
    found = attributions(loaded, long)
    assert (len(found["tokens"]), found["n_cut"]) == (64, n - 62)
    assert classify(loaded, long)["n_cut"] == n - 62
    assert classify(loaded, TEXT)["n_cut"] == 0


def test_points_and_weights_integrate_polynomials_exactly() -> None:
    """The integral of x^p from 0 to 1 is 1 / (p + 1)."""
    for n in (2, 8, 16):
        points, weights = gradients.clenshaw_curtis(n)
        for power in range(n + 1):
            assert weights @ points**power == pytest.approx(1 / (power + 1), abs=1e-14)
    coarse, fine = gradients.clenshaw_curtis(8)[0], gradients.clenshaw_curtis(16)[0]
    np.testing.assert_allclose(coarse, fine[::2], atol=1e-15)


@pytest.mark.parametrize("sharpness", [1, 30, 300])
def test_intervals_double_until_the_sum_meets_the_difference(sharpness: int) -> None:
    """A function that rises near 0 as tanh(s x), with a part of -2 x beside it."""
    calls: list[int] = []

    def along(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(len(points))
        rise = sharpness / np.cosh(np.minimum(sharpness * points, 300)) ** 2
        value = np.tanh(sharpness * points) - 2 * points
        return value, np.stack((rise, np.full_like(points, -2)), axis=1)

    parts, difference, n = gradients.integral(along)
    assert difference == pytest.approx(np.tanh(sharpness) - 2)
    assert parts.sum() == pytest.approx(difference, abs=0.01 * abs(difference))
    assert parts[1] == pytest.approx(-2)
    assert sum(calls) == n  # no point is computed twice


def test_an_integral_that_never_meets_the_difference_is_refused() -> None:
    def along(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.linspace(0, 1, len(points)), np.full((len(points), 1), 2.0)

    with pytest.raises(UserError, match="1025 steps"):
        gradients.integral(along)


def test_what_does_not_fit_the_classifier_is_refused(make: Make, small_checkpoint: Path) -> None:
    single, pairs = make(), make(pairs=True)
    for ask in (classify, attributions):
        with pytest.raises(UserError, match="single texts; leave second out"):
            ask(single, "a", "b")
        with pytest.raises(UserError, match="pairs of texts; give the other text as second"):
            ask(pairs, "a")
        with pytest.raises(UserError, match="not a classifier"):
            ask(load(small_checkpoint), "a")
    with pytest.raises(UserError, match="label='perhaps' must be one of no, yes, maybe"):
        attributions(single, "a", label="perhaps")
