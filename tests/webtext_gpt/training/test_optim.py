"""AdamW: what decays, and the default learning rate."""

import pytest
import torch

from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.training.optim import adamw, default_lr

CONFIG = GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, vocab_size=20)


def test_only_matrices_decay() -> None:
    model = GPT(CONFIG)
    optimizer = adamw(model, lr=1e-3, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, plain = ({names[id(p)] for p in group["params"]} for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert decayed | plain == set(names.values())
    assert not decayed & plain
    assert {n for n in plain if "ln_" not in n and not n.endswith("bias")} == set()
    assert {"wte.weight", "wpe.weight", "blocks.1.mlp.c_fc.weight"} <= decayed
    assert not any("ln_" in n or n.endswith("bias") for n in decayed)


def test_decay_is_decoupled() -> None:
    """With no gradient to follow, a step multiplies a matrix by 1 - lr * weight_decay."""
    model = GPT(CONFIG)
    before = model.blocks[0].mlp.c_fc.weight.detach().clone()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adamw(model, lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(model.blocks[0].mlp.c_fc.weight.detach(), before * 0.95)


@pytest.mark.parametrize(
    ("n_embd", "published", "tolerance"),
    [(768, 6e-4, 1e-9), (1024, 3e-4, 0.31), (1536, 2.5e-4, 0.31)],  # Brown et al. 2020, table 2.1
)
def test_default_learning_rate_is_near_gpt3s(
    n_embd: int, published: float, tolerance: float
) -> None:
    assert default_lr(n_embd) == pytest.approx(published, rel=tolerance)


def test_no_learning_rate_takes_the_default() -> None:
    assert adamw(GPT(CONFIG)).param_groups[0]["lr"] == default_lr(CONFIG.n_embd)
