"""A translation model's numbers, against torch and against a search by hand; its checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch

from webtext_gpt.checkpoint.load import load, only_translator
from webtext_gpt.errors import UserError
from webtext_gpt.explorer.export import export_page
from webtext_gpt.explorer.requests import REQUESTS, read_request
from webtext_gpt.explorer.translation import TranslationInspector
from webtext_gpt.explorer.workspace import Workspace

SOURCE, TARGET = "the old cat sees", "a small dog"


@pytest.fixture(scope="module")
def inspector(small_translator: Path) -> TranslationInspector:
    return TranslationInspector(load(small_translator))


def test_probabilities_of_a_given_translation(
    inspector: TranslationInspector, small_translator: Path
) -> None:
    """Each is the softmax of the logits after the tokens before it, one pass for each token."""
    loaded = load(small_translator)
    model, encode = only_translator(loaded, small_translator), loaded.tokenizer.encode
    end = loaded.tokenizer.end_of_text
    source, target = [*encode(SOURCE), end], [*encode(TARGET), end]
    expected = []
    for n, token in enumerate(target):
        with torch.no_grad():
            logits = model(
                torch.tensor([source]),
                torch.tensor([len(source)]),
                torch.tensor([[end, *target[:n]]]),
            )
        expected.append(float(logits[0, -1].double().softmax(0)[token]))

    found = inspector.translate(f" {SOURCE}\n", target=f"{TARGET} ", length_penalty=0.5)
    assert found["translation"] == TARGET
    assert [token["id"] for token in found["source"]] == source
    assert [token["id"] for token in found["target"]] == target
    assert [t["probability"] for t in found["target"]] == pytest.approx(expected, rel=1e-4)
    total = np.log(expected).sum()
    assert found["log_probability"] == pytest.approx(total, rel=1e-4)
    # GNMT's penalty of n tokens is ((5 + n) / 6)^alpha
    assert found["score"] == pytest.approx(total / ((5 + len(target)) / 6) ** 0.5, rel=1e-4)


def test_more_beams_find_a_translation_of_no_lower_score(inspector: TranslationInspector) -> None:
    """The model copies what it has learnt; each search's text is the one that is scored."""
    one, many = (inspector.translate(SOURCE, num_beams=n) for n in (1, 8))
    again = inspector.translate(SOURCE, target=many["translation"])
    assert many["translation"]
    assert again == many
    assert many["score"] >= one["score"]


def test_weights_of_a_head_and_their_mean(
    inspector: TranslationInspector, small_translator: Path
) -> None:
    """From the queries and keys of the second decoder block, in NumPy."""
    loaded = load(small_translator)
    model, encode = only_translator(loaded, small_translator), loaded.tokenizer.encode
    end = loaded.tokenizer.end_of_text
    seen: list[tuple[torch.Tensor, ...]] = []
    model.decoder[1].cross.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    source, target = [*encode(SOURCE), end], [end, *encode(TARGET)]
    with torch.no_grad():
        model(torch.tensor([source]), torch.tensor([len(source)]), torch.tensor([target]))
        [(x, k, _, _)] = seen
        q = model.decoder[1].cross.c_query(x)[0].numpy().astype(np.float64)
    keys = k[0].numpy().astype(np.float64)  # (2 heads, S, 16)
    powers = np.exp([q[:, 16 * h : 16 * (h + 1)] @ keys[h].T / 4 for h in (0, 1)])
    expected = powers / powers.sum(-1, keepdims=True)

    found = inspector.alignment(SOURCE, TARGET, layer=1, head=1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected[1], atol=1e-5)
    mean = inspector.alignment(SOURCE, TARGET, layer=1)
    np.testing.assert_allclose(mean, expected.mean(0), atol=1e-5)


def test_an_empty_text_is_its_end(inspector: TranslationInspector) -> None:
    found = inspector.translate(" ")
    assert found["translation"] == ""
    assert len(found["source"]) == len(found["target"]) == 1
    assert inspector.alignment("", "", layer=0).tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "cat " * 30}, "the source has .* 24; shorten it"),
        ({"text": "cat", "target": "cat " * 30}, "the target has .* shorten it"),
        ({"text": "cat", "num_beams": 21}, "num_beams=21 .*20"),
        ({"text": "cat", "length_penalty": -1.0}, "length_penalty"),
    ],
)
def test_what_cannot_be_translated(
    inspector: TranslationInspector, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        inspector.translate(**arguments)


@pytest.mark.parametrize("arguments", [{"layer": 2}, {"layer": 0, "head": 2}])
def test_there_are_two_layers_of_two_heads(
    inspector: TranslationInspector, arguments: dict[str, int]
) -> None:
    with pytest.raises(UserError, match=list(arguments)[-1]):
        inspector.alignment(SOURCE, TARGET, **arguments)


def test_the_workspace_describes_a_translator(small_translator: Path) -> None:
    workspace = Workspace(str(small_translator))
    found = workspace.describe()
    assert (found["kind"], found["labels"]) == ("translation_model", None)
    assert found["views"] == ["translate", "alignment"]
    assert (found["config"]["n_encoder_layer"], found["config"]["n_decoder_layer"]) == (1, 2)
    workspace.compute("translate", None, {"text": found["example"]})  # it fits in the context
    with pytest.raises(UserError, match="tokens cannot be asked of a translation model, only tr"):
        workspace.compute("tokens", None, {"text": SOURCE})
    body = b'{"text": "the old cat sees", "target": "a small dog", "layer": 0, "head": null}'
    asked = read_request(body, REQUESTS["alignment"])
    weights = workspace.compute("alignment", asked.checkpoint, asked.arguments())
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


def test_a_translator_is_compared_with_translators_alone(
    small_translator: Path, small_checkpoint: Path
) -> None:
    workspace = Workspace(str(small_translator), str(small_translator))
    assert [kept.id for kept in workspace.checkpoints()] == ["model", "compare-model"]
    with pytest.raises(UserError, match="is a translation model and compare=.* is a language mod"):
        Workspace(str(small_translator), str(small_checkpoint))


def test_a_translator_is_not_exported(small_translator: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with pytest.raises(
        UserError, match=r"page\.html: mine is a translation model, .* leave export"
    ):
        export_page(load(small_translator), "mine", page)
    assert not page.exists()
