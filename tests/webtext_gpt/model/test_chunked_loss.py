"""The loss in chunks beside torch's own loss of all logits, in double precision."""

import pytest
import torch
import torch.nn.functional as F

from webtext_gpt.model import GPT, IGNORED, GPTConfig, chunked_loss
from webtext_gpt.model.chunked_loss import chunked_cross_entropy

VOCABULARY = 97


@pytest.mark.parametrize("cap", [None, 0.5])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("bf16", 2e-2)])
def test_loss_and_gradients_are_those_of_all_logits(
    cap: float | None, precision: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 positions in chunks of five, some without a target; the loss is scaled by a half."""
    monkeypatch.setattr(chunked_loss, "CHUNK_BYTES", 5 * VOCABULARY * 4)
    torch.manual_seed(0)
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 16, "block_size": 8}
    head = GPT(GPTConfig(**shape, vocab_size=VOCABULARY, logits_soft_cap=cap)).lm_head
    hidden = torch.randn(3, 8, 16)
    targets = torch.randint(VOCABULARY, (3, 8))
    targets[1, 3:6] = IGNORED

    exact = hidden.double().requires_grad_(), head.weight.detach().double().requires_grad_()
    logits = F.linear(*exact)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    (expected / 2).backward()

    hidden.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        loss = chunked_cross_entropy(hidden, head, targets)
    (loss / 2).backward()

    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
    for ours, theirs in zip((hidden, head.weight), exact, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert (ours.grad - theirs.grad).norm() < tolerance * theirs.grad.norm()
