"""The encoder-decoder against `torch.nn.Transformer`, and against itself."""

import math

import pytest
import torch
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.model import KeyValueCache
from webtext_gpt.model.transformer import Transformer, TransformerConfig

SHAPE = {"n_encoder_layer": 2, "n_decoder_layer": 3, "n_head": 4, "n_embd": 32}


def _model(**options: object) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(**{**SHAPE, "vocab_size": 50, "block_size": 24, **options})
    model = Transformer(config).eval()
    for name, parameter in model.named_parameters():  # so that no gain or bias is neutral
        if "ln_" in name or name.endswith("bias"):
            nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.0, 0.1)
    return model


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(50, (3, 11), generator=generator)
    target = torch.randint(50, (3, 9), generator=generator)
    return source, torch.tensor([11, 4, 7]), target


def _copy_attention(theirs: nn.MultiheadAttention, weight: Tensor, bias: Tensor, out) -> None:
    theirs.in_proj_weight.copy_(weight)
    theirs.in_proj_bias.copy_(bias)
    theirs.out_proj.weight.copy_(out.weight)
    theirs.out_proj.bias.copy_(out.bias)


@torch.no_grad()
def _reference(model: Transformer, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    """Compute the logits by `torch.nn.Transformer` with the model's weights."""
    config = model.config
    theirs = nn.Transformer(
        config.n_embd, config.n_head, config.n_encoder_layer, config.n_decoder_layer,
        4 * config.n_embd, dropout=0.0, activation=config.activation, batch_first=True,
        norm_first=config.norm == "pre",
    ).eval()  # fmt: skip
    for ours, layer in zip(model.encoder, theirs.encoder.layers, strict=True):
        c = ours.attn
        _copy_attention(layer.self_attn, c.c_attn.weight, c.c_attn.bias, c.c_proj)
        pairs = [(layer.norm1, ours.ln_1), (layer.norm2, ours.ln_2)]
        pairs += [(layer.linear1, ours.mlp.c_fc), (layer.linear2, ours.mlp.c_proj)]
        for a, b in pairs:
            a.load_state_dict(b.state_dict())
    for ours, layer in zip(model.decoder, theirs.decoder.layers, strict=True):
        c, x = ours.attn, ours.cross
        _copy_attention(layer.self_attn, c.c_attn.weight, c.c_attn.bias, c.c_proj)
        _copy_attention(
            layer.multihead_attn,
            torch.cat((x.c_query.weight, x.c_memory.weight)),
            torch.cat((x.c_query.bias, x.c_memory.bias)),
            x.c_proj,
        )
        pairs = [(layer.norm1, ours.ln_1), (layer.norm2, ours.ln_cross), (layer.norm3, ours.ln_2)]
        pairs += [(layer.linear1, ours.mlp.c_fc), (layer.linear2, ours.mlp.c_proj)]
        for a, b in pairs:
            a.load_state_dict(b.state_dict())
    if config.norm == "pre":
        theirs.encoder.norm.load_state_dict(model.ln_encoder.state_dict())
        theirs.decoder.norm.load_state_dict(model.ln_decoder.state_dict())
    else:  # torch adds a norm after the last block, which the paper does not have
        theirs.encoder.norm = theirs.decoder.norm = None
    angles = torch.arange(24.0)[:, None] / 10_000 ** (torch.arange(0, 32, 2) / 32)
    positions = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
    embed = lambda ids: model.wte.weight[ids] * math.sqrt(32) + positions[: ids.size(1)]  # noqa: E731
    padding = torch.arange(source.size(1)) >= lengths[:, None]
    states = theirs(
        embed(source),
        embed(target),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(target.size(1)),
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
        tgt_is_causal=True,
    )
    return states @ model.wte.weight.T


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_logits_equal_those_of_torch(norm: str, activation: str) -> None:
    model, batch = _model(norm=norm, activation=activation), _batch()
    with torch.no_grad():
        torch.testing.assert_close(model(*batch), _reference(model, *batch), rtol=0, atol=1e-5)


def test_padding_does_not_change_a_row() -> None:
    model, (source, lengths, target) = _model(), _batch()
    with torch.no_grad():
        alone = model(source[1:2, :4], lengths[1:2], target[1:2])
        together = model(source, lengths, target)
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
@torch.no_grad()
def test_the_cache_changes_nothing(positions: str) -> None:
    model, (source, lengths, target) = _model(positions=positions), _batch()
    memory = model.encode(source, lengths)
    cache = KeyValueCache(target.size(1), torch.zeros(3, dtype=torch.long))
    steps = [model.hidden_states(target[:, :4], memory, cache)]
    steps += [model.hidden_states(target[:, t : t + 1], memory, cache) for t in range(4, 9)]
    torch.testing.assert_close(
        torch.cat(steps, dim=1), model.hidden_states(target, memory), rtol=0, atol=1e-5
    )


def test_the_targets_future_is_hidden_and_the_source_is_not() -> None:
    model, (source, lengths, target) = _model(), _batch()
    with torch.no_grad():
        logits = model(source, lengths, target)
        target[:, 5] = 0
        assert torch.equal(model(source, lengths, target)[:, :5], logits[:, :5])
        source[0, -1] = (source[0, -1] + 1) % 50
        assert not torch.equal(model(source, lengths, target)[0, 0], logits[0, 0])


def test_base_and_big_have_the_papers_sizes() -> None:
    """Table 3: 65 and 213 million parameters, with 37,000 tokens."""
    with torch.device("meta"):
        base = Transformer(TransformerConfig()).num_parameters
        big = Transformer(TransformerConfig(n_embd=1024, n_head=16)).num_parameters
    assert base == pytest.approx(65e6, rel=0.03)
    assert big == pytest.approx(213e6, rel=0.03)


def test_embeddings_are_tied_three_ways() -> None:
    model = _model()
    assert model.lm_head.weight is model.wte.weight
    untied = _model(tied_embeddings=False)
    assert untied.num_parameters == model.num_parameters + 50 * 32


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_embd": 30}, "n_head"),
        ({"n_encoder_layer": 0}, "n_encoder_layer"),
        ({"n_decoder_layer": 0}, "n_decoder_layer"),
        ({"positions": "rotary"}, "rotary"),
        ({"dropout": 1.0}, "dropout"),
        ({"norm": "none"}, "norm"),
    ],
)
def test_bad_values_are_refused_by_name(options: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        TransformerConfig(**options)


def test_a_text_beyond_the_positions_is_refused() -> None:
    model, (source, lengths, target) = _model(block_size=10), _batch()
    with pytest.raises(ValueError, match="11 tokens"):
        model(source, lengths, target)
