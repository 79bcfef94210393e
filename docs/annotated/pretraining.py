"""Pretraining in a few lines, for the annotated pages; `train.py` adds devices and checkpoints."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from webtext_gpt.data.pretraining import TrainingBlocks
from webtext_gpt.model import GPT, cross_entropy
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.optim import adamw
from webtext_gpt.training.schedule import cosine


class Stream:
    """The tokens of documents, one after another; `train.py` reads them from shards on disk.

    Args:
        documents: texts; end-of-text is put before each.
        tokenizer: encodes them.
    """

    def __init__(self, documents: Sequence[str], tokenizer: Tokenizer) -> None:
        ids = [[tokenizer.end_of_text, *tokenizer.encode(text)] for text in documents]
        self.tokens = np.concatenate(ids).astype(np.int64)
        self.n_tokens = len(self.tokens)

    def read(self, start: int, n: int) -> np.ndarray:
        """Return at most n tokens from a position on."""
        return self.tokens[start : start + n]


def train(
    model: GPT, blocks: TrainingBlocks, steps: int = 300, batch_size: int = 16, lr: float = 5e-3
) -> Iterator[float]:
    """Train a model, and yield the loss of each step in nats per token."""
    optimizer = adamw(model, lr=lr)
    rate = partial(cosine, warmup_steps=20, total_steps=steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for step in range(steps):
        samples = range(step * batch_size, (step + 1) * batch_size)
        pairs = [blocks[sample] for sample in samples]
        inputs, targets = (torch.stack(part) for part in zip(*pairs, strict=True))  # both (B, T)
        loss = cross_entropy(model.train()(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        yield loss.item()
