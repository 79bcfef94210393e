"""Low-rank adaptation: no change at first, few trained values, and merging into the weights."""

import torch

from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.model.lora import add_lora, merge_lora


def test_adapting_training_and_merging() -> None:
    torch.manual_seed(0)
    body = GPT(GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, vocab_size=20))
    model = GPTClassifier(body, ClassifierConfig(labels=("a", "b"), pad_token_id=0))
    tokens = torch.randint(20, (3, 8))
    names = list(model.state_dict())
    before, weight = model.eval()(tokens), body.blocks[0].attn.c_attn.weight.clone()
    add_lora(model, rank=2, alpha=8, dropout=0.0)
    torch.testing.assert_close(model(tokens), before)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    adapted = {16 + 48, 16 + 16, 16 + 64, 64 + 16}  # in + out of the four linear layers
    assert sum(p.numel() for p in trained.values()) == 2 * 2 * sum(adapted) + 2 * 16 + 2 * 2 * 80
    for name, p in trained.items():
        torch.nn.init.normal_(p) if "lora" in name else None
    changed = model(tokens)
    assert not torch.allclose(changed, before)
    layer = body.blocks[0].attn.c_attn
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    merge_lora(model)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(body.blocks[0].attn.c_attn.weight, weight + 8 / 2 * product)
    torch.testing.assert_close(model(tokens), changed, atol=1e-4, rtol=1e-4)
