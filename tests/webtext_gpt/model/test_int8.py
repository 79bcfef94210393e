"""Weights rounded to int8: the rounding, products of few and many vectors, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

pytest.importorskip("numba")

from webtext_gpt.checkpoint.load import save_model
from webtext_gpt.errors import UserError
from webtext_gpt.generation import GREEDY, generate
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.model.int8 import FEW, Int8Linear, round_weights
from webtext_gpt.settings import checks
from webtext_gpt.settings.evaluate import Evaluate
from webtext_gpt.settings.generate import Generate
from webtext_gpt.tokenizer import build_char_vocabulary
from webtext_gpt.training.precision import place_for_inference

LATER = {
    **{"positions": "rotary", "norm_type": "rms", "qk_norm": True, "residual_scalars": True},
    **{"value_embeddings": True, "logits_soft_cap": 2.0, "tied_embeddings": False},
}


def _model(**options) -> GPT:
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 24, "vocab_size": 50}
    model = GPT(GPTConfig(**shape, **options)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def test_each_row_is_rounded_to_127_levels_of_its_largest_weight() -> None:
    linear = nn.Linear(4, 3)
    linear.weight.data = torch.tensor(
        [[1.27, -0.01, 0.004, 0.006], [-254.0, 3.0, 2.0, 100.0], [0.0, 0.0, 0.0, 0.0]]
    )
    rounded = Int8Linear(linear)
    assert rounded.weight.tolist() == [[127, -1, 0, 1], [-127, 2, 1, 50], [0, 0, 0, 0]]
    torch.testing.assert_close(rounded.scale, torch.tensor([0.01, 2.0, 1.0]))


@pytest.mark.parametrize("vectors", [1, 2, FEW, FEW + 1])
@pytest.mark.parametrize("bias", [True, False])
def test_products_are_those_of_the_rounded_weights(vectors: int, bias: bool) -> None:
    torch.manual_seed(0)
    rounded = Int8Linear(nn.Linear(67, 37, bias=bias))  # no multiples of a vector or a block
    x = torch.randn(vectors, 67)
    weight = rounded.weight.double() * rounded.scale.double()[:, None]
    expected = F.linear(x.double(), weight, None if not bias else rounded.bias.double())
    torch.testing.assert_close(rounded(x), expected.float(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rounded(x[None]), rounded(x)[None])


@pytest.mark.parametrize("options", [{}, LATER], ids=["gpt2", "later"])
def test_a_model_with_rounded_weights(options: dict) -> None:
    model, reference = _model(**options), _model(**options)
    round_weights(model)
    for layer in reference.modules():  # the same rounding in fp32
        if isinstance(layer, nn.Linear):
            scale = layer.weight.detach().abs().amax(dim=1, keepdim=True) / 127
            layer.weight = nn.Parameter((layer.weight / scale).round() * scale)
    reference.wte.weight = model.wte.weight  # embeddings are not rounded
    tokens = torch.randint(50, (2, 20))
    torch.testing.assert_close(model(tokens), reference(tokens), atol=1e-4, rtol=1e-4)
    assert not any(isinstance(layer, nn.Linear) for layer in model.modules())
    prompts = [[1, 2, 3, 4], [5, 6]]
    texts = [
        generate(m, prompts, max_new_tokens=12, sampling=GREEDY, draft=draft)
        for m, draft in ((model, None), (model, "ngram"), (reference, None))
    ]
    assert texts[0] == texts[1] == texts[2]


def test_a_rounded_model_is_neither_trained_nor_saved(tmp_path) -> None:
    model = _model()
    round_weights(model)
    with pytest.raises(UserError, match="weights=int8 cannot be trained"):
        model.train()
    with pytest.raises(UserError, match="weights=int8 cannot be saved or exported"):
        save_model(model, build_char_vocabulary(["ab"]), tmp_path / "model.ckpt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"device": "cuda"}, "weights=int8 is for CPUs, not for device=cuda; set device=cpu"),
        ({"precision": "bf16"}, "weights=int8 is computed in fp32, and precision=bf16"),
    ],
)
def test_what_excludes_int8(other: dict, message: str) -> None:
    for command in (Generate, Evaluate):
        with pytest.raises((UserError, ValueError), match=message):
            command(checkpoint="runs/a", weights="int8", **other)
    with pytest.raises(UserError, match=message):
        checks.int8_weights("int8", **{"device": "cpu", "precision": "fp32", **other})


def test_a_command_places_a_rounded_model() -> None:
    model = _model()
    place_for_inference(model, "cpu", "fp32", "int8")
    assert isinstance(model.lm_head, Int8Linear)
