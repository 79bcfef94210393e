"""Collectives of a step: the data that processes exchange, and how often."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist

from webtext_gpt.training.distributed.collectives import greatest_over_ranks, mean_over_ranks
from webtext_gpt.training.distributed.launcher import WatchedDDPStrategy
from webtext_gpt.training.pretrain import pretrain


def test_one_process_exchanges_nothing() -> None:
    value = torch.tensor(2.5)
    assert mean_over_ranks(value) is value
    assert greatest_over_ranks(7) == 7


def test_ddp_reduces_gradients_once_a_step(
    compose: Callable[..., Any],
    small_run: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step has four micro-batches. The gradients fit into one bucket of DDP's."""
    reductions = []
    setup = WatchedDDPStrategy.setup

    def count(state: None, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        reductions.append(bucket.buffer().numel())
        future = torch.futures.Future[torch.Tensor]()
        future.set_result(bucket.buffer())
        return future

    def setup_and_count(self: WatchedDDPStrategy, trainer: Any) -> None:
        setup(self, trainer)
        self.model.register_comm_hook(None, count)

    monkeypatch.setattr(WatchedDDPStrategy, "setup", setup_and_count)
    own = ["strategy=ddp", "trainer.max_steps=3", "micro_batch_size=2"]
    pretrain(compose("train", *small_run, *own, "callbacks.checkpoints=null"))
    assert len(reductions) == 3
    assert len(set(reductions)) == 1
