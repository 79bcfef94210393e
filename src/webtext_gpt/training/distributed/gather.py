"""Gather the complete model on one process, under any strategy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import lightning as L
import torch
from lightning.pytorch.strategies import FSDPStrategy, Strategy
from torch import nn

from webtext_gpt.model import GPT
from webtext_gpt.model.empty import SkipRandomInit
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.training.strategy import partitions_parameters

Model = TypeVar("Model", GPT, Transformer)


@contextmanager
def whole_model(trainer: L.Trainer, model: Model) -> Iterator[Model | None]:
    """Give rank 0 the model with all its parameters, and the other ranks `None`.

    Every process has to enter. If parameters are partitioned, they are gathered one after another
    into a copy on rank 0's device. The block may take a different time on each process, but must
    not communicate.

    Args:
        trainer: holds the strategy.
        model: the model in training.
    """
    if not partitions_parameters(trainer.strategy):
        yield model if trainer.is_global_zero else None
        return
    yield _gathered(trainer, model)


def _gathered(trainer: L.Trainer, model: Model) -> Model | None:
    copy: Model | None = None
    if trainer.is_global_zero:
        with torch.device(trainer.strategy.root_device), SkipRandomInit():
            copy = type(model)(model.config)
    for name, parameter in _each_gathered(trainer.strategy, model):
        if copy is not None:
            with torch.no_grad():
                copy.get_parameter(name).copy_(parameter)
    return copy.train(model.training) if copy is not None else None


def _each_gathered(strategy: Strategy, model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield each parameter while it is gathered; FSDP can only gather all of them at once."""
    if isinstance(strategy, FSDPStrategy):
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(strategy.model, writeback=False):
            for name, parameter in model.named_parameters():
                yield name.replace("_fsdp_wrapped_module.", ""), parameter
        return
    import deepspeed

    for name, parameter in model.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter]):
            yield name, parameter
