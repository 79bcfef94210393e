"""Models whose weights are about to be loaded: nothing is drawn, and no generator advances."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from webtext_gpt.model.config import GPTConfig
from webtext_gpt.model.gpt import GPT

_DRAWS: tuple[Callable[..., Tensor], ...] = (
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.kaiming_uniform_,
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
)


class Undrawn(TorchFunctionMode):
    """Context in which modules are made without drawing their initial weights.

    Weights keep whatever their memory holds, so that every one has to be loaded afterwards.
    Buffers, biases and gains are set and weights are tied as usual. Drawing GPT-2 small takes
    seconds; without it no page of the memory is touched. On the meta device this also saves
    importing torch's decompositions of random functions, a second and a half.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, unless it fills a tensor with random numbers."""
        kwargs = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def empty_gpt(config: GPTConfig, device: torch.device | str = "cpu") -> GPT:
    """Return a model with uninitialized weights, right buffers and tied weights.

    Args:
        config: the model's shape and options.
        device: where the weights are allocated.
    """
    with torch.device(device), Undrawn():
        return GPT(config)
