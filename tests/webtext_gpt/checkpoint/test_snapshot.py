"""Copies of checkpoints from which the same bytes are written."""

import io
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from webtext_gpt.checkpoint.snapshot import snapshot, stored_bytes
from webtext_gpt.model import GPT, GPTConfig


def _bytes(contents: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    torch.save(contents, stream)
    return stream.getvalue()


def _contents() -> dict[str, Any]:
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, vocab_size=20))
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return {
        "state_dict": model.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "loops": {"a": [1, (2.5, "text"), None]},
        "odd": {
            "view": torch.arange(24.0).view(4, 6).t()[1:3],
            "empty": torch.empty(0),
            "scalar": torch.tensor(7),
            "bf16": torch.ones(3, dtype=torch.bfloat16),
        },
    }


def test_the_copy_is_written_with_the_same_bytes() -> None:
    contents = _contents()
    assert isinstance(contents["state_dict"], OrderedDict)
    assert _bytes(snapshot(contents)) == _bytes(contents)


def test_the_copy_does_not_follow_the_training() -> None:
    contents = _contents()
    before, copied = _bytes(contents), snapshot(contents)
    for name, tensor in contents["state_dict"].items():
        tensor.add_(1.0)
        assert not torch.equal(copied["state_dict"][name], tensor)
    for group in contents["optimizer_states"][0]["param_groups"]:
        group["lr"] = 9.0
    for state in contents["optimizer_states"][0]["state"].values():
        state["exp_avg"].zero_()
        state["step"].add_(1)
    contents["loops"]["a"].append(3)
    assert _bytes(copied) == before


def test_tied_tensors_stay_tied_and_count_once() -> None:
    one, other = nn.Linear(3, 5), nn.Linear(3, 5)
    other.weight = one.weight
    contents = {"one": one.state_dict(), "other": other.state_dict()}
    copied = snapshot(contents)
    assert copied["one"]["weight"].data_ptr() == copied["other"]["weight"].data_ptr()
    assert copied["one"]["weight"].data_ptr() != one.weight.data_ptr()
    assert stored_bytes(contents) == stored_bytes(copied) == 4 * (15 + 5 + 5)
