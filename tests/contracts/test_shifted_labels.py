"""Contract 1: position t predicts token t + 1, and the loss is the textbook one."""

import math
from pathlib import Path

import numpy as np
import torch

from webtext_gpt.data.pretraining import TrainingBlocks, ValidationWindows
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.model import IGNORED, cross_entropy
from webtext_gpt.tokenizer import build_char_vocabulary


def _shards(folder: Path) -> TokenShards:
    text = "abcdefghijklmnopqrstuvwxyz"
    tokenizer = build_char_vocabulary([text])
    write_shards([("train", text), ("validation", text[:10])], tokenizer, folder, {})
    return TokenShards(folder)


def test_targets_are_the_next_tokens(tmp_path: Path) -> None:
    shards = _shards(tmp_path / "shards")
    stream = shards.split("train")
    ring = [26, *range(26)]  # end-of-text, then a to z
    for sample in range(50):
        inputs, targets = TrainingBlocks(stream, block_size=8, seed=3)[sample]
        start = ring.index(int(inputs[0]))
        assert inputs.tolist() == [ring[(start + i) % len(ring)] for i in range(8)]
        assert targets.tolist() == [ring[(start + i + 1) % len(ring)] for i in range(8)]


def test_validation_scores_every_token_but_the_first_once(tmp_path: Path) -> None:
    stream = _shards(tmp_path / "shards").split("validation")
    windows = ValidationWindows(stream, block_size=4, multiple=2)
    targets = torch.cat([windows[i][1] for i in range(len(windows))])
    assert len(windows) == 4  # 10 targets need 3 windows of 4, and the multiple of 2 adds one
    assert targets[targets != IGNORED].tolist() == list(range(10))  # a to j


def test_loss_is_the_mean_negative_log_likelihood() -> None:
    logits = torch.tensor([[[1.0, 2.0, 0.5], [0.0, 0.0, 0.0], [3.0, -1.0, 1.0]]])
    targets = torch.tensor([[1, 2, IGNORED]])
    first = -math.log(math.exp(2.0) / (math.exp(1.0) + math.exp(2.0) + math.exp(0.5)))
    second = math.log(3)
    assert np.isclose(cross_entropy(logits, targets).item(), (first + second) / 2)
    assert np.isclose(cross_entropy(logits, targets, reduction="sum").item(), first + second)


def test_loss_of_bf16_logits_is_computed_in_fp32() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 512, 1000).bfloat16()
    targets = torch.randint(1000, (1, 512))
    exact = torch.nn.functional.cross_entropy(logits[0].double(), targets[0])
    assert abs(cross_entropy(logits, targets).item() - exact.item()) < 1e-5
