"""The model: parameter counts, options, initial loss, and causality."""

import math
from pathlib import Path

import pytest
import torch
import yaml

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig, cross_entropy
from webtext_gpt.model.gpt import attention, sinusoidal_positions

CONF = Path(__file__).parents[3] / "conf" / "model"
SMALL = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12, "vocab_size": 50}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("small", 124_439_808),
        ("medium", 354_823_168),
        ("large", 774_030_080),
        ("xl", 1_557_611_200),
        ("gpt1", 116_534_784),
    ],
)
def test_parameter_counts(name: str, parameters: int) -> None:
    arguments = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert arguments.pop("_target_") == "webtext_gpt.model.GPTConfig"
    with torch.device("meta"):
        assert GPT(GPTConfig(**arguments)).num_parameters == parameters


@pytest.mark.parametrize("size", ["tiny", pytest.param("small", marks=pytest.mark.slow)])
def test_initial_loss_is_that_of_a_uniform_guess(size: str) -> None:
    arguments = yaml.safe_load((CONF / f"{size}.yaml").read_text())
    arguments.pop("_target_")
    torch.manual_seed(0)
    model = GPT(GPTConfig(**arguments))
    tokens = torch.randint(model.config.vocab_size, (2, 129))
    with torch.inference_mode():
        loss = cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])
    assert float(loss) == pytest.approx(math.log(50_257), rel=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"norm": "post"},
        {"activation": "gelu"},
        {"activation": "relu", "positions": "sinusoidal", "norm": "post", "scale_embeddings": True},
        {"tied_embeddings": False},
        {"embd_dropout": 0.1, "attn_dropout": 0.1, "resid_dropout": 0.1},
    ],
)
def test_no_position_sees_later_ones(options: dict) -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SMALL, **options)).eval()
    tokens = torch.randint(50, (1, 12))
    changed = tokens.clone()
    changed[0, 7] = (changed[0, 7] + 1) % 50
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


def test_initial_weights_have_the_papers_spread() -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=8, n_head=4, n_embd=256, block_size=64, vocab_size=1000))
    assert model.wte.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[3].attn.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.02)
    for projection in (model.blocks[0].attn.c_proj, model.blocks[7].mlp.c_proj):
        # two residual layers per block: 0.02 / sqrt(16)
        assert projection.weight.std().item() == pytest.approx(0.005, rel=0.02)
        assert not projection.bias.any()


def test_embeddings_are_tied() -> None:
    model = GPT(GPTConfig(**SMALL))
    assert model.lm_head.weight is model.wte.weight
    untied = GPT(GPTConfig(**SMALL, tied_embeddings=False))
    assert untied.num_parameters == model.num_parameters + 50 * 16


def test_dropout_acts_only_in_training() -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SMALL, resid_dropout=0.5))
    tokens = torch.randint(50, (1, 12))
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_sinusoids_follow_the_paper() -> None:
    table = sinusoidal_positions(100, 8)
    for position, i in ((0, 0), (3, 1), (99, 3)):
        angle = position / 10_000 ** (2 * i / 8)
        assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
        assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_flops_of_gpt2_small_by_hand() -> None:
    # 12 blocks of 12 x 768^2 weights, the output layer, attention over 1,024 positions
    by_hand = 6 * (12 * 12 * 768**2 + 50_257 * 768) + 12 * 12 * 768 * 1024
    assert GPTConfig().flops_per_token == by_hand


def test_input_longer_than_the_context_is_refused() -> None:
    with pytest.raises(ValueError, match="13 tokens do not fit in the model's context of 12"):
        GPT(GPTConfig(**SMALL))(torch.zeros(1, 13, dtype=torch.long))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_head": 5}, "n_embd=768 does not divide into model.n_head=5"),
        ({"n_layer": 0}, "model.n_layer is 0"),
        ({"norm": "middle"}, "model.norm is 'middle', not one of pre, post"),
        ({"attn_dropout": 1.0}, "model.attn_dropout is 1.0"),
        ({"n_embd": 15, "n_head": 1, "positions": "sinusoidal"}, "even model.n_embd, not 15"),
    ],
)
def test_impossible_shapes_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        GPTConfig(**arguments)


@pytest.mark.parametrize("masked", [False, True])
def test_bf16_attention_is_trained_in_fp32_on_a_cpu(masked: bool) -> None:
    """torch differentiates bf16 attention on CPUs many times as slowly; see `attention`."""
    torch.manual_seed(0)
    halves = [torch.randn(2, 3, 5, 8).bfloat16() for _ in range(3)]
    wide = [half.double().requires_grad_() for half in halves]
    trained = [half.clone().requires_grad_() for half in halves]
    mask = torch.tensor([[[[True, True, False, True, False]]]]) if masked else None
    scores = wide[0] @ wide[1].transpose(2, 3) / math.sqrt(8)
    hidden = ~mask if mask is not None else torch.ones(5, 5, dtype=torch.bool).triu(1)
    expected = scores.masked_fill(hidden, -math.inf).softmax(dim=-1) @ wide[2]
    expected.sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        found = attention(*trained, mask, is_causal=not masked)
    found.sum().backward()
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.float().bfloat16())  # rounded once, at the end
    for ours, exact in zip(trained, wide, strict=True):
        torch.testing.assert_close(ours.grad.double(), exact.grad, atol=0.02, rtol=0.02)
