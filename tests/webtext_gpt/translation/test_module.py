"""The loss of a translation model, against torch's own and a computation by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from webtext_gpt.model.transformer import Transformer, TransformerConfig
from webtext_gpt.training.optim import hidden_matrices, muon
from webtext_gpt.translation.encoding import PairBatch
from webtext_gpt.translation.module import summed_loss

CONFIG = TransformerConfig(
    n_encoder_layer=1, n_decoder_layer=1, n_head=2, n_embd=8, block_size=8, vocab_size=7
)
BATCH = PairBatch(
    torch.tensor([[0, 1, 6], [3, 6, 6]]),
    torch.tensor([3, 2]),
    torch.tensor([[6, 2, 1], [6, 4, 6]]),
    torch.tensor([[2, 1, 6], [4, 6, -100]]),
    torch.tensor(1.0),
)


@pytest.fixture
def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(CONFIG).eval()


def test_label_smoothing_is_torchs_and_the_formula(model: Transformer) -> None:
    logits = model(BATCH.source, BATCH.lengths, BATCH.inputs)
    found = summed_loss(model, BATCH, 0.1).item()
    own = nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum", ignore_index=-100)
    assert found == pytest.approx(own(logits.flatten(0, 1), BATCH.targets.flatten()).item())

    table, expected = logits.detach().double().numpy(), 0.0
    for row, targets in enumerate([[2, 1, 6], [4, 6]]):
        for position, target in enumerate(targets):
            z = table[row, position]
            log_p = z - np.log(np.exp(z).sum())
            aim = np.full(7, 0.1 / 7)
            aim[target] += 0.9
            expected -= float(aim @ log_p)
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_loss_without_smoothing_ignores_padding(model: Transformer) -> None:
    longer = BATCH._replace(
        inputs=torch.cat((BATCH.inputs, torch.tensor([[6, 6], [6, 6]])), 1),
        targets=torch.cat((BATCH.targets, torch.full((2, 2), -100)), 1),
        source=torch.cat((BATCH.source, torch.tensor([[6], [6]])), 1),
    )
    loss = summed_loss(model, BATCH).item()
    assert summed_loss(model, longer).item() == pytest.approx(loss, rel=1e-5)
    assert 5 * 0.5 < loss < 5 * 2 * math.log(7)


def test_a_part_without_pairs_adds_nothing_but_has_gradients(model: Transformer) -> None:
    empty = BATCH._replace(targets=torch.full((2, 3), -100))
    loss = summed_loss(model, empty, 0.1)
    loss.backward()
    assert loss.item() == 0
    for name, parameter in model.named_parameters():  # as DDP needs of every process
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_muon_has_all_matrices_of_both_stacks(model: Transformer) -> None:
    stacked = hidden_matrices(model)
    names = {name: stacked[p] for name, p in model.named_parameters() if p in stacked}
    assert names == {
        "encoder.0.attn.c_attn.weight": 3,
        "encoder.0.attn.c_proj.weight": 1,
        "encoder.0.mlp.c_fc.weight": 1,
        "encoder.0.mlp.c_proj.weight": 1,
        "decoder.0.attn.c_attn.weight": 3,
        "decoder.0.attn.c_proj.weight": 1,
        "decoder.0.cross.c_query.weight": 1,
        "decoder.0.cross.c_memory.weight": 2,
        "decoder.0.cross.c_proj.weight": 1,
        "decoder.0.mlp.c_fc.weight": 1,
        "decoder.0.mlp.c_proj.weight": 1,
    }
    optimizer = muon(model)
    grouped = [p for group in optimizer.param_groups for p in group["params"]]
    assert len(grouped) == len(list(model.parameters()))
