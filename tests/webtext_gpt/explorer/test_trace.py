"""The kept forward pass: that of the model to the bit, once a text, within its memory."""

import threading
from typing import Any

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.explorer.trace import Traces, trace
from webtext_gpt.model import GPT, GPTConfig


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 8, "vocab_size": 300}
    return GPT(GPTConfig(**shape, init_std=0.2)).eval()


def _hooks(model: GPT) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()
    )


def test_the_pass_is_the_models_to_the_bit_and_leaves_no_hook(model: GPT) -> None:
    ids = [5, 299, 0, 17]
    found = trace(model, ids)
    with torch.inference_mode():
        assert torch.equal(found.hidden, model.hidden_states(torch.tensor([ids]))[0])
        logits = model(torch.tensor([ids]))[0]
        torch.testing.assert_close(found.next_logits, logits[-1])
    assert _hooks(model) == 0
    with pytest.raises(ValueError, match="do not fit"):
        trace(model, [0] * 9)
    assert _hooks(model) == 0


@torch.inference_mode()
def test_the_surprise_of_many_positions_is_computed_in_parts(monkeypatch: Any, model: GPT) -> None:
    ids = [5, 299, 0, 17, 3, 8]
    whole = trace(model, ids).surprise
    monkeypatch.setattr("webtext_gpt.explorer.trace.LOGIT_ROWS", 2)
    assert trace(model, ids).surprise == pytest.approx(whole, rel=1e-5)


def test_another_thread_that_uses_the_model_leaves_no_mark(model: GPT) -> None:
    """It runs to its end in the middle of the first block."""
    ids, theirs = [5, 299, 0], torch.tensor([[1, 2, 3]])
    alone = trace(model, ids)

    def disturb(module: Any, args: Any) -> None:
        handle.remove()
        other = threading.Thread(target=model, args=(theirs,))
        other.start()
        other.join()

    handle = model.blocks[0].mlp.register_forward_pre_hook(disturb)
    disturbed = trace(model, ids)
    for found, expected in zip(disturbed.blocks, alone.blocks, strict=True):
        assert torch.equal(found.qkv, expected.qkv)
        assert torch.equal(found.mlp_input, expected.mlp_input)
        assert torch.equal(found.output, expected.output)


def test_a_text_passes_through_the_model_once(model: GPT) -> None:
    passes = []
    model.dropout.register_forward_hook(lambda *_: passes.append(1))
    traces = Traces(model)
    first = traces.get([1, 2, 3])
    traces.get([4])
    assert traces.get([1, 2, 3]) is first
    assert len(passes) == 2


def test_the_texts_used_last_are_kept_within_the_memory(model: GPT) -> None:
    """By hand: 3 tokens of 16 values in fp32, five a block and two more, are 2,304 bytes."""
    assert trace(model, [1, 2, 3]).n_bytes == 3 * 16 * 4 * (5 * 2 + 2)
    traces = Traces(model, most_bytes=5000)
    first, second = traces.get([1, 1, 1]), traces.get([2, 2, 2])
    assert traces.get([1, 1, 1]) is first  # now the second was used longest ago
    traces.get([3, 3, 3])
    assert traces.n_bytes == 4608
    assert traces.get([1, 1, 1]) is first
    assert traces.get([2, 2, 2]) is not second
    traces.get([4] * 8)  # 6,144 bytes: more than may be kept, so it is kept alone
    assert traces.n_bytes == 6144


def test_a_model_with_damaged_weights_is_refused(model: GPT) -> None:
    model.blocks[1].mlp.c_fc.weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="numbers that are not finite"):
        trace(model, [1, 2])
