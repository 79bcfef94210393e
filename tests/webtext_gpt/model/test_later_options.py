"""Options later than the GPT papers, each against its formula or another implementation."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, Documents, GPTConfig, KeyValueCache
from webtext_gpt.model.gpt import rotate, sinusoidal_positions
from webtext_gpt.weights.gpt2 import GPT2

SMALL: dict[str, Any] = {
    "n_layer": 3, "n_head": 2, "n_embd": 16, "block_size": 12, "vocab_size": 50, "init_std": 0.2
}  # fmt: skip
ALL: dict[str, Any] = {
    "positions": "rotary",
    "biases": False,
    "norm_type": "rms",
    "norm_gains": False,
    "qk_norm": True,
    "activation": "relu_squared",
    "residual_scalars": True,
    "value_embeddings": True,
    "tied_embeddings": False,
    "logits_soft_cap": 15.0,
}


def _model(**options: Any) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(**{**SMALL, **options})).eval()
    for name, parameter in model.named_parameters():  # zeros and ones would hide a fault
        if name.startswith(("value_embeddings", "residual_scalars")):
            torch.nn.init.normal_(parameter, mean=0.5, std=0.5)
    return model


def _tokens(*shape: int) -> torch.Tensor:
    return torch.randint(50, shape, generator=torch.Generator().manual_seed(1))


def test_rotation_equals_that_of_transformers() -> None:
    x = torch.randn(2, 3, 7, 8)
    frequency = 10_000.0 ** (-torch.arange(0, 8, 2) / 8)
    angles = torch.arange(7)[:, None] * frequency  # (T, head_dim / 2)
    twice = torch.cat((angles, angles), dim=-1)[None]
    expected, _ = apply_rotary_pos_emb(x, x, twice.cos(), twice.sin())
    torch.testing.assert_close(rotate(x, sinusoidal_positions(7, 8)), expected)


def test_rotated_queries_and_keys_know_their_distance_only() -> None:
    table = sinusoidal_positions(12, 8)
    q, k = torch.randn(2, 1, 1, 1, 8)

    def score(at: int, distance: int) -> float:
        rotated = rotate(q, table[at + distance, None]), rotate(k, table[at, None])
        return float((rotated[0] * rotated[1]).sum())

    assert score(0, 3) == pytest.approx(score(7, 3), abs=1e-5)
    assert score(0, 3) != pytest.approx(score(0, 4), abs=1e-3)


@pytest.mark.parametrize("option", [{name: value} for name, value in ALL.items()] + [ALL])
def test_no_position_sees_later_ones_and_a_cache_changes_nothing(option: dict[str, Any]) -> None:
    """The second row is shorter, and so padded on the left."""
    model, tokens = _model(**option), _tokens(1, 9)
    with torch.inference_mode():
        whole = model(tokens)[0]
        torch.testing.assert_close(model(tokens[:, :5])[0], whole[:5])
        short = model(tokens[:, :6])[0]
        padded = torch.cat((tokens, F.pad(tokens[:, :6], (3, 0))))
        cache = KeyValueCache(9, torch.tensor([0, 3]))
        parts = [model(padded[:, a:b], cache) for a, b in ((0, 4), (4, 8), (8, 9))]
    cached = torch.cat(parts, dim=1)
    torch.testing.assert_close(cached[0], whole, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(cached[1, 3:], short, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("option", [{name: value} for name, value in ALL.items()] + [ALL])
def test_masked_documents_are_read_each_by_itself(option: dict[str, Any]) -> None:
    """Three documents in a row, each of which begins with token 49."""
    model, tokens = _model(**option), _tokens(1, 10) % 49
    tokens[0, [0, 3, 4]] = 49
    with torch.inference_mode():
        together = model(tokens, documents=Documents(tokens, 49))
        apart = [model(tokens[:, begin:end]) for begin, end in ((0, 3), (3, 4), (4, 10))]
    torch.testing.assert_close(together, torch.cat(apart, dim=1), atol=2e-5, rtol=1e-4)


def test_without_training_the_added_parts_do_nothing() -> None:
    """Zero projections leave the embeddings; scalars 1 and 0 and zero values change nothing."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SMALL, zero_init_projections=True, norm_type="rms", positions="rotary"))
    tokens = _tokens(2, 7)
    x = model.wte.weight[tokens]
    x = x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(model(tokens), x @ model.wte.weight.T)
    torch.manual_seed(0)
    plain = GPT(GPTConfig(**SMALL))
    torch.manual_seed(0)
    more = GPT(GPTConfig(**SMALL, residual_scalars=True, value_embeddings=True))
    more.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(more(tokens), plain(tokens))


def test_value_embeddings_are_in_every_second_block_from_the_last() -> None:
    assert list(_model(value_embeddings=True).value_embeddings) == ["0", "2"]
    assert list(_model(value_embeddings=True, n_layer=4).value_embeddings) == ["1", "3"]


@pytest.mark.parametrize("norm_type", ["layer", "rms"])
def test_a_model_without_biases_is_one_with_zero_biases(norm_type: str) -> None:
    plain = _model(biases=False, norm_type=norm_type)
    assert not [name for name, _ in plain.named_parameters() if name.endswith("bias")]
    biased = _model(norm_type=norm_type)
    missing, unexpected = biased.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert len(missing) == 12 + (7 if norm_type == "layer" else 0)  # new ones, which are zero
    torch.testing.assert_close(plain(_tokens(2, 7)), biased(_tokens(2, 7)))


def test_a_soft_cap_bounds_logits() -> None:
    plain, capped = _model(init_std=2.0), _model(init_std=2.0, logits_soft_cap=3.0)
    tokens = _tokens(2, 7)
    logits = plain(tokens)
    assert logits.abs().max() > 3
    torch.testing.assert_close(capped(tokens), 3 * torch.tanh(logits / 3))


def test_squared_relu_and_unit_queries() -> None:
    mlp = _model(activation="relu_squared").blocks[0].mlp
    x = torch.randn(3, 16)
    torch.testing.assert_close(mlp(x), mlp.c_proj(mlp.c_fc(x).clamp(min=0) ** 2))
    model = _model(qk_norm=True)
    tokens = _tokens(1, 7)
    before = model(tokens)
    with torch.no_grad():  # longer queries and keys change nothing
        for block in model.blocks:
            block.attn.c_attn.weight[:32] *= 7
            block.attn.c_attn.bias[:32] *= 7
    torch.testing.assert_close(model(tokens), before, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", [name for name in ALL if name != "tied_embeddings"])
def test_gpt2s_format_refuses_them_by_name(name: str) -> None:
    with pytest.raises(UserError, match=f"model.{name}=.* cannot be exported"):
        GPT2.write_config(GPTConfig(**{**SMALL, name: ALL[name]}))


def test_a_model_without_them_is_described_as_ever() -> None:
    """By the keys of checkpoints from before the options; each is added where it is set."""
    known = "n_layer n_head n_embd block_size vocab_size norm activation positions scale_embeddings"
    known += " embd_dropout attn_dropout resid_dropout tied_embeddings init_std"
    known += " scaled_residual_init"
    assert list(GPTConfig().to_dict()) == known.split()
    config = GPTConfig(**{**SMALL, **ALL}, zero_init_projections=True)
    assert GPTConfig(**config.to_dict()) == config
    assert config.to_dict().keys() - set(known.split()) == {
        *("biases", "norm_type", "norm_gains", "qk_norm", "residual_scalars", "value_embeddings"),
        *("logits_soft_cap", "zero_init_projections"),
    }


def test_a_head_of_odd_width_cannot_be_rotated() -> None:
    with pytest.raises(UserError, match="rotary positions need an even width of a head"):
        GPTConfig(**{**SMALL, "n_embd": 6}, positions="rotary")
    with pytest.raises(UserError, match="model.logits_soft_cap is 0"):
        GPTConfig(**SMALL, logits_soft_cap=0)
