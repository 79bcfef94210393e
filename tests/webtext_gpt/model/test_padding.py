"""The vocabulary padded inside the loss: the same loss and gradients, and no more tokens."""

import pytest
import torch

from webtext_gpt.model import GPT, GPTConfig, cross_entropy
from webtext_gpt.model.new_tokens import add_new_rows
from webtext_gpt.model.padding import MULTIPLE, padded_head

OPTIONS = [{}, {"logits_soft_cap": 5.0}, {"tied_embeddings": False}]


def _model(**options: object) -> GPT:
    torch.manual_seed(0)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 8, "vocab_size": 77}
    return GPT(GPTConfig(**shape, init_std=0.5, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("new_tokens", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "soft cap", "untied"])
def test_the_padded_loss_and_its_gradients_are_the_same(
    options: dict[str, object], new_tokens: bool
) -> None:
    tokens = torch.randint(77, (3, 9), generator=torch.Generator().manual_seed(1))
    losses, gradients = [], []
    for padded in (False, True):
        model = _model(**options)
        if new_tokens:
            add_new_rows(model, [70, 76])
        logits = model(tokens[:, :-1], padded=padded)
        assert logits.shape == (3, 8, 128 if padded else 77)
        assert (logits[..., 77:] == -torch.inf).all()
        loss = cross_entropy(logits, tokens[:, 1:])
        loss.backward()
        losses.append(loss)
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert torch.equal(*losses)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_products_have_the_precision_of_autocast() -> None:
    weight = torch.randn(77, 16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        padded, bias = padded_head(weight, "cpu")
    assert padded.dtype == bias.dtype == torch.bfloat16
    assert padded.shape == (MULTIPLE, 16)
    assert not padded[77:].any()
    padded.float().sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.float32
    assert weight.grad.eq(1).all()


def test_the_padded_head_is_one_graph_for_the_compiler() -> None:
    head = torch.compile(padded_head, backend="eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16):
        weight, _ = head(torch.ones(77, 2), "cpu")
    assert weight.shape == (128, 2)
    assert weight.dtype == torch.bfloat16


def test_a_multiple_is_not_padded() -> None:
    weight, bias = padded_head(torch.ones(256, 2), "cpu")
    assert weight.shape == (256, 2)
    assert not bias.any()


def test_parameters_and_logits_outside_the_loss_keep_the_vocabulary() -> None:
    model = _model()
    assert model.lm_head.weight is model.wte.weight
    assert model.wte.weight.shape == (77, 16)
    assert model(torch.zeros(1, 3, dtype=torch.long)).shape == (1, 3, 77)
