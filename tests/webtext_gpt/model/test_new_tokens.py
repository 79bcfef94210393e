"""Embeddings of new tokens: trained apart from the others, and merged into the embedding."""

import pytest
import torch

from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.model.new_tokens import add_new_rows, merge_new_rows

SHAPE = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 8, "vocab_size": 20}
NEW = [3, 18]


@pytest.mark.parametrize("tied", [True, False])
def test_only_the_rows_of_new_tokens_change_and_outputs_are_those_of_one_embedding(
    tied: bool,
) -> None:
    """The reference trains the whole embedding; its other rows are put back after each step."""
    torch.manual_seed(0)
    reference = GPT(GPTConfig(**SHAPE, tied_embeddings=tied)).eval()
    model = GPT(reference.config).eval()
    model.load_state_dict(reference.state_dict())
    names = list(model.state_dict())
    tokens = torch.tensor([[3, 1, 18, 3], [0, 18, 2, 5]])
    model.requires_grad_(False)
    before = model.wte.weight.clone()
    add_new_rows(model, NEW)
    torch.testing.assert_close(model(tokens), reference(tokens))
    trained = [p for p in model.parameters() if p.requires_grad]
    assert [tuple(p.shape) for p in trained] == [(2, 16)]
    ours = torch.optim.AdamW(trained, lr=0.1, weight_decay=0.1)
    theirs = torch.optim.AdamW([reference.wte.weight], lr=0.1, weight_decay=0.1)
    others = [row for row in range(20) if row not in NEW]
    for _ in range(3):
        for optimizer, one in ((ours, model), (theirs, reference)):
            optimizer.zero_grad()
            one(tokens).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            reference.wte.weight[others] = before[others]
    changed = model(tokens)
    torch.testing.assert_close(changed, reference(tokens), atol=1e-5, rtol=1e-5)
    assert torch.equal(model.wte.weight, before)
    merge_new_rows(model)
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(tokens), changed)
    assert torch.equal(model.wte.weight[others], before[others])
    assert not torch.isclose(model.wte.weight[NEW], before[NEW]).any()
    assert (model.lm_head.weight is model.wte.weight) == tied
