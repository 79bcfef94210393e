"""The model as one process can use it, whatever the strategy has done with its parameters."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import torch
from lightning.pytorch.strategies import FSDPStrategy, Strategy
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from webtext_gpt.model import GPT
from webtext_gpt.model.empty import empty_gpt
from webtext_gpt.training.strategy import partitions_parameters


@contextmanager
def whole_model(trainer: L.Trainer, model: GPT) -> Iterator[GPT | None]:
    """The model, all its parameters in place, on the first process; `None` on the others.

    Every process has to enter: where parameters are divided, they are gathered one after
    another into a copy that the first process has for itself, on its own device. What is done
    inside may take processes different times, but must not communicate.

    Args:
        trainer: with the strategy.
        model: that is trained.
    """
    if not partitions_parameters(trainer.strategy):
        yield model if trainer.is_global_zero else None
        return
    copy = _gathered(trainer, model)
    yield copy
    del copy


def _gathered(trainer: L.Trainer, model: GPT) -> GPT | None:
    whole = None
    if trainer.is_global_zero:
        whole = empty_gpt(model.config, trainer.strategy.root_device)
    for name, parameter in _each_in_place(trainer.strategy, model):
        if whole is not None:
            with torch.no_grad():
                whole.get_parameter(name).copy_(parameter)
    return whole.train(model.training) if whole is not None else None


def _each_in_place(strategy: Strategy, model: GPT) -> Iterator[tuple[str, nn.Parameter]]:
    """Each parameter while all of it is here; FSDP can gather nothing less than all of them."""
    if isinstance(strategy, FSDPStrategy):
        with FullyShardedDataParallel.summon_full_params(strategy.model, writeback=False):
            for name, parameter in model.named_parameters():
                yield name.replace("_fsdp_wrapped_module.", ""), parameter
        return
    import deepspeed

    for name, parameter in model.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter]):
            yield name, parameter
