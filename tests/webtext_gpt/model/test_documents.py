"""Documents in one row: the same as each document by itself, and as another implementation."""

import copy

import pytest
import torch

from webtext_gpt.model import GPT, Documents, GPTConfig, cross_entropy
from webtext_gpt.training.activation_checkpointing import recompute_activations

END = 49
SMALL = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12, "vocab_size": 50}
OPTIONS = [
    {},
    {"norm": "post", "positions": "sinusoidal", "scale_embeddings": True, "tied_embeddings": False},
]
ROWS = torch.tensor(
    [
        [END, 3, 4, 5, END, 6, 7, END, 8, 9, 10, 11],
        [1, 2, END, 3, END, END, 5, 6, 7, 8, 9, 10],  # begins inside a document; one is empty
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, END],
    ]
)
PARTS = [[4, 3, 5], [2, 2, 1, 7], [11, 1]]
"""Lengths of the documents in each row, counted by hand."""


def _model(**options: object) -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SMALL, **options))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def test_positions_and_mask_by_hand() -> None:
    documents = Documents(torch.tensor([[7, 8, END, 9, 9], [END, END, 1, 2, END]]), END)
    assert documents.positions(5).tolist() == [[0, 1, 0, 1, 2], [0, 0, 1, 2, 0]]
    first, second = documents.mask(5).int().tolist()
    assert first == [
        [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]
    ]
    assert second == [
        [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 1]]
    ]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_row_of_documents_equals_each_document_by_itself(options: dict) -> None:
    """Also its loss: the sum over a row is that of its documents, end-of-text first in each."""
    model = _model(**options)
    logits = model(ROWS, documents=Documents(ROWS, END))
    targets = torch.randint(50, ROWS.shape)
    alone = torch.zeros(())
    for row, lengths, labels, together in zip(ROWS, PARTS, targets, logits, strict=True):
        parts = zip(*(x.split(lengths) for x in (row, labels, together)), strict=True)
        for document, label, expected in parts:
            by_itself = model(document[None])
            torch.testing.assert_close(by_itself[0], expected)
            alone = alone + cross_entropy(by_itself, label[None], reduction="sum")
    torch.testing.assert_close(cross_entropy(logits, targets, reduction="sum"), alone)
    assert not torch.allclose(logits, model(ROWS), atol=1e-2)


def test_without_end_of_text_nothing_changes() -> None:
    model, tokens = _model(), torch.arange(24).view(2, 12)
    torch.testing.assert_close(model(tokens, documents=Documents(tokens, END)), model(tokens))


def test_logits_equal_those_of_transformers() -> None:
    """Hugging Face's GPT-2 with explicit positions and a 4-D mask, both made by a loop."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = _model()
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 12, "vocab_size": 50}
    theirs = GPT2LMHeadModel(GPT2Config(**shape, attn_implementation="eager")).eval()
    theirs.load_state_dict(_renamed(model, theirs))
    positions = [[i for n in lengths for i in range(n)] for lengths in PARTS]
    mask = torch.full((3, 1, 12, 12), float("-inf"))
    for row, lengths in enumerate(PARTS):
        begin = 0
        for n in lengths:
            for query in range(begin, begin + n):
                mask[row, 0, query, begin : query + 1] = 0
            begin += n
    with torch.inference_mode():
        expected = theirs(ROWS, position_ids=torch.tensor(positions), attention_mask=mask).logits
        found = model(ROWS, documents=Documents(ROWS, END))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def _renamed(model: GPT, theirs: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return our weights under Hugging Face's names, whose matrices are transposed."""
    found = {}
    for name, value in model.state_dict().items():
        new = name if name.startswith("lm_head") else f"transformer.{name.replace('blocks', 'h')}"
        is_matrix = value.ndim == 2 and ("attn" in name or "mlp" in name)
        found[new] = value.T if is_matrix else value
    assert found.keys() == theirs.state_dict().keys()
    return found


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_with_activation_checkpointing_are_the_same(dropout: float) -> None:
    kinds = dict.fromkeys(("embd_dropout", "attn_dropout", "resid_dropout"), dropout)
    kept = _model(**kinds).train()
    recomputed = copy.deepcopy(kept)
    recompute_activations(recomputed)
    losses = []
    for model in (kept, recomputed):
        torch.manual_seed(1)
        losses.append(cross_entropy(model(ROWS, documents=Documents(ROWS, END)), ROWS))
        losses[-1].backward()
    torch.testing.assert_close(*losses)
    for one, other in zip(kept.parameters(), recomputed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
