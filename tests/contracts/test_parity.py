"""Contract 2, as far as the model goes: with the same weights, Hugging Face's logits."""

import pytest
import torch

from webtext_gpt.model import GPT, GPTConfig

TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # theirs are Conv1D, (in, out)


def _copy(theirs: torch.nn.Module, ours: GPT) -> None:
    weights = {}
    for name, value in theirs.state_dict().items():
        our_name = name.replace("transformer.", "").replace("h.", "blocks.", 1)
        weights[our_name] = value.T if name.endswith(TRANSPOSED) else value
    missing, unexpected = ours.load_state_dict(weights, strict=False)
    assert not missing
    assert not unexpected


@pytest.mark.parametrize(
    ("n_layer", "n_head", "n_embd"), [(2, 12, 768), (2, 16, 1024), (1, 20, 1280), (1, 25, 1600)]
)
def test_logits_equal_transformers_gpt2(n_layer: int, n_head: int, n_embd: int) -> None:
    """The widths and heads of the four sizes, with fewer layers and a small vocabulary."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(
        GPT2Config(n_layer=n_layer, n_head=n_head, n_embd=n_embd, vocab_size=500)
    ).eval()
    for parameter in theirs.parameters():  # biases and gains too: their initial values hide errors
        torch.nn.init.normal_(parameter, std=0.05)
    ours = GPT(GPTConfig(n_layer=n_layer, n_head=n_head, n_embd=n_embd, vocab_size=500)).eval()
    _copy(theirs, ours)
    tokens = torch.randint(500, (2, 100))
    with torch.inference_mode():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)


def test_logits_equal_transformers_gpt1() -> None:
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    torch.manual_seed(0)
    theirs = OpenAIGPTLMHeadModel(OpenAIGPTConfig(n_layer=2, vocab_size=500)).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    config = GPTConfig(n_layer=2, vocab_size=500, block_size=512, norm="post")
    ours = GPT(config).eval()
    renamed = {"tokens_embed": "wte", "positions_embed": "wpe"}
    for old, new in renamed.items():
        setattr(theirs.transformer, new, getattr(theirs.transformer, old))
        delattr(theirs.transformer, old)
    _copy(theirs, ours)
    for old, new in renamed.items():
        setattr(theirs.transformer, old, getattr(theirs.transformer, new))
    tokens = torch.randint(500, (2, 100))
    with torch.inference_mode():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)
