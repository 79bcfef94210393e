"""Contract 3: the key-value cache does not change the results."""

import pytest
import torch

from webtext_gpt.generation import GREEDY, generate
from webtext_gpt.model import GPT, GPTConfig, KeyValueCache


def _model(**options) -> GPT:
    torch.manual_seed(0)
    shape = {"n_layer": 3, "n_head": 4, "n_embd": 32, "block_size": 48, "vocab_size": 97}
    model = GPT(GPTConfig(**shape, **options)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


OPTIONS = [{}, {"norm": "post"}, {"positions": "sinusoidal", "scale_embeddings": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_logits_computed_in_pieces_equal_the_full_forward_pass(options: dict) -> None:
    model = _model(**options)
    tokens = torch.randint(97, (3, 48))
    cache = KeyValueCache(48, torch.zeros(3, dtype=torch.long))
    pieces = [model(piece, cache) for piece in tokens.split([7, 1, 1, 20, 1, 18], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_padded_rows_equal_unpadded_ones(options: dict) -> None:
    model = _model(**options)
    lengths = [5, 1, 12]
    rows = [torch.randint(97, (length + 6,)) for length in lengths]
    padding = torch.tensor([12 - length for length in lengths])
    padded = torch.stack([torch.cat((torch.zeros(18 - len(r)).long(), r)) for r in rows])
    cache = KeyValueCache(18, padding)
    pieces = [model(piece, cache) for piece in padded.split([12, 1, 2, 3], dim=1)]
    logits = torch.cat(pieces, dim=1)
    for row, length, mine in zip(rows, lengths, logits, strict=True):
        alone = model(row[None])[0]
        torch.testing.assert_close(mine[12 - length :], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_greedy_text_equals_that_of_full_forward_passes(options: dict) -> None:
    model = _model(**options)
    prompts = [[5, 6, 7], [11], [90, 2, 3, 4, 5, 6, 7]]
    cached = generate(model, prompts, max_new_tokens=30, sampling=GREEDY)
    assert cached == generate(model, prompts, max_new_tokens=30, sampling=GREEDY, use_cache=False)
    for prompt, new in zip(prompts, cached, strict=True):
        text = list(prompt)
        for _ in range(30):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
        assert new == text[len(prompt) :]
