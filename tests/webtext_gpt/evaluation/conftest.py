"""A small model with a byte-level vocabulary, its scorer, and an independent loop to check them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.evaluation.benchmark import Measurement, Options
from webtext_gpt.evaluation.registry import TASKS
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, train_bpe


@pytest.fixture(scope="package")
def tokenizer() -> Tokenizer:
    """A byte-level BPE with a few merges."""
    return train_bpe(["the cat sat on the mat , and the dog saw the cat . " * 20], 280)


@pytest.fixture(scope="package")
def model(tokenizer: Tokenizer) -> GPT:
    """A model with a context of 64 and large random weights, so that logits are not uniform."""
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 64}
    model = GPT(GPTConfig(**shape, vocab_size=tokenizer.vocab_size)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def scorer(model: GPT, tokenizer: Tokenizer) -> Scorer:
    """A scorer whose batches hold a few windows."""
    return Scorer(model, tokenizer, batch_tokens=200, stride=20)


@pytest.fixture
def log_probability(model: GPT, tokenizer: Tokenizer) -> Callable[[str, str], float]:
    """`log_probability(context, text)` in nats, one forward pass per token.

    An empty context means the end-of-text token.
    """

    @torch.inference_mode()
    def compute(context: str, text: str) -> float:
        before = tokenizer.encode(context) or [tokenizer.end_of_text]
        ids = [*([] if context else before), *tokenizer.encode(context + text)]
        total = 0.0
        for position in range(len(before), len(ids)):
            seen = ids[max(0, position - model.config.block_size) : position]
            logits = model(torch.tensor([seen]))[0, -1].double()
            total += float(logits.log_softmax(-1)[ids[position]])
        return total

    return compute


@pytest.fixture
def measure(scorer: Scorer) -> Callable[..., Measurement]:
    """`measure(task, data_dir, **options)` runs a benchmark on the small model.

    It also checks that each metric with figures from the paper is one that the benchmark returns.
    """

    def run(task: str, data_dir: Path, **options: object) -> Measurement:
        measured = TASKS[task].run(scorer, data_dir, Options(**options))
        assert set(TASKS[task].paper) <= set(measured.metrics)
        return measured

    return run


@pytest.fixture
def write_rows() -> Callable[[Path, list[dict]], None]:
    """`write_rows(path, rows)` writes a JSONL file."""

    def write(path: Path, rows: list[dict]) -> None:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    return write
