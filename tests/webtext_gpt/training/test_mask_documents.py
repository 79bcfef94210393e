"""`mask_documents=true`: a complete run, whose losses are those of each document by itself."""

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.checkpoint.store import open_checkpoint
from webtext_gpt.data.pretraining import TrainingBlocks, ValidationWindows
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, Documents, GPTConfig
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.memory import activation_bytes
from webtext_gpt.training.pretrain import pretrain


@pytest.fixture(scope="module")
def run(
    compose: Callable[..., Any],
    small_run_in: Callable[[Path], list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run on 300 documents of about 8 tokens in blocks of 32."""
    folder = tmp_path_factory.mktemp("masked")
    draw = random.Random(0)
    with (folder / "many.jsonl").open("w") as file:
        for number in range(300):
            words = draw.choices(["a", "cat", "sees", "the", "old", "river"], k=draw.randint(0, 9))
            file.write(json.dumps({"text": f"{' '.join(words)} {number}."}) + "\n")
    overrides = [*small_run_in(folder), f"data.path={folder / 'many.jsonl'}", "mask_documents=true"]
    overrides += ["trainer.max_steps=2", "validate_every=2", "callbacks.samples=null", "seed=0"]
    pretrain(compose("train", *overrides))
    return folder / "run"


def nats_of_documents(model: GPT, inputs: torch.Tensor, targets: torch.Tensor, end: int) -> float:
    """Return the loss of a row, each of its documents read by itself."""
    begins = [0, *(i for i, token in enumerate(inputs.tolist()) if token == end and i), len(inputs)]
    nats = 0.0
    for begin, stop in itertools.pairwise(begins):
        log_probabilities = model(inputs[None, begin:stop])[0].log_softmax(-1)
        for row, target in zip(log_probabilities, targets[begin:stop].tolist(), strict=True):
            nats -= row[target].item() if target >= 0 else 0
    return nats


def test_losses_are_those_of_each_document_by_itself(run: Path) -> None:
    rows = read_metrics(run / "metrics.csv")
    shards = TokenShards(next((run.parent / "cache").glob("files-*/")))
    end = shards.tokenizer.end_of_text
    model, _ = load_language_model(run / "checkpoints" / "last.ckpt")
    windows = ValidationWindows(shards.split("validation"), 32)
    assert sum((windows[i][0] == end).sum() for i in range(len(windows))) > 10
    nats = sum(nats_of_documents(model, *windows[i], end) for i in range(len(windows)))
    tokens = shards.split("validation").n_tokens - 1
    assert rows[-1]["val_loss"] == pytest.approx(nats / tokens, rel=1e-5)
    torch.manual_seed(0)  # as `seed` does before the model is drawn
    blocks = TrainingBlocks(shards.split("train"), 32, seed=0)
    before = GPT(model.config)
    nats = sum(nats_of_documents(before, *blocks[i], end) for i in range(8))
    assert rows[0]["train_loss"] == pytest.approx(nats / 256, rel=1e-5)


def test_a_run_keeps_its_masks(
    run: Path, compose: Callable[..., Any], small_run: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="was trained with mask_documents=true; leave the key out"):
        pretrain(compose("train", f"resume={run}", "mask_documents=false", "trainer.max_steps=3"))
    assert open_checkpoint(run / "checkpoints" / "last.ckpt").state["mask_documents"] is True
    pretrain(compose("train", *small_run, "trainer.max_steps=1", "callbacks.samples=null"))
    plain = tmp_path / "run"
    last = open_checkpoint(plain / "checkpoints" / "last.ckpt")
    assert "mask_documents" not in last.state  # as before the setting existed
    with pytest.raises(UserError, match="was trained with mask_documents=false; leave"):
        pretrain(compose("train", f"resume={plain}", "mask_documents=true", "trainer.max_steps=3"))


@pytest.mark.parametrize("recompute", [False, True])
def test_the_estimate_counts_the_masks(recompute: bool) -> None:
    """Autograd keeps the mask of each block in fp32, a value for every pair of positions."""
    config = GPTConfig(n_layer=3, n_head=2, n_embd=8, block_size=64, vocab_size=50)
    plain = activation_bytes(config, 4, half=False, recompute=recompute)
    masked = activation_bytes(config, 4, half=False, recompute=recompute, masked=True)
    blocks = 1 if recompute else 3
    assert masked - plain == blocks * 4 * 64 * 64 * 4


def test_autograd_keeps_a_mask_in_every_block() -> None:
    config = GPTConfig(n_layer=3, n_head=2, n_embd=8, block_size=64, vocab_size=50)
    model, tokens = GPT(config), torch.randint(50, (4, 64))
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape[-2:] == (64, 64):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = model(tokens, documents=Documents(tokens, 49))
    assert kept.requires_grad
    assert sum(sizes.values()) == 3 * 4 * 64 * 64 * 4
