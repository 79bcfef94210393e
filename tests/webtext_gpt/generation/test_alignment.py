"""Cross-attention weights equal those that `torch.nn.MultiheadAttention` returns."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from webtext_gpt.checkpoint.load import load, only_translator
from webtext_gpt.errors import UserError
from webtext_gpt.generation.alignment import alignment


def test_the_weights_are_those_that_torch_computes(small_translator: Path) -> None:
    loaded = load(small_translator)
    model, tokenizer = only_translator(loaded, small_translator), loaded.tokenizer
    seen: list[tuple[Tensor, ...]] = []
    for block in model.decoder:
        block.cross.register_forward_pre_hook(lambda module, inputs: seen.append(inputs))
    encoded: list[Tensor] = []
    model.encoder[-1].register_forward_hook(lambda module, inputs, out: encoded.append(out))

    found = alignment(model, tokenizer, " the old cat", "a small dog sees\n")
    source = [*tokenizer.encode("the old cat"), tokenizer.end_of_text]
    target = [*tokenizer.encode("a small dog sees"), tokenizer.end_of_text]
    assert found.shape == (2, 2, len(target), len(source))
    for weights, block, (x, *_) in zip(found, model.decoder, seen, strict=True):
        theirs = nn.MultiheadAttention(32, 2, batch_first=True)
        cross = block.cross
        with torch.no_grad():
            theirs.in_proj_weight.copy_(torch.cat((cross.c_query.weight, cross.c_memory.weight)))
            theirs.in_proj_bias.copy_(torch.cat((cross.c_query.bias, cross.c_memory.bias)))
            _, expected = theirs(x, encoded[0], encoded[0], average_attn_weights=False)
        torch.testing.assert_close(weights, expected[0], rtol=0, atol=1e-5)


def test_a_row_belongs_to_the_token_that_it_predicts(small_translator: Path) -> None:
    """A change of the target's last token changes the last row alone."""
    loaded = load(small_translator)
    model = only_translator(loaded, small_translator)
    first, second = (
        alignment(model, loaded.tokenizer, "cat", target) for target in ("dog a", "dog b")
    )
    changed = [t for t in range(first.size(2)) if not torch.equal(first[:, :, t], second[:, :, t])]
    assert changed == [first.size(2) - 1]


@pytest.mark.parametrize(
    ("texts", "named"), [(("cat " * 30, "a"), "source"), (("a", "cat " * 30), "target")]
)
def test_a_text_beyond_the_context_is_refused(
    small_translator: Path, texts: tuple[str, str], named: str
) -> None:
    loaded = load(small_translator)
    model = only_translator(loaded, small_translator)
    with pytest.raises(UserError, match=f"the {named} has .* context of 24; shorten it"):
        alignment(model, loaded.tokenizer, *texts)
    assert not any(block.cross._forward_pre_hooks for block in model.decoder)
