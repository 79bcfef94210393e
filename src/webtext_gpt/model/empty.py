"""Models without initial weights, for loading weights into.

No random numbers are drawn, so no generator advances.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from webtext_gpt.model.config import GPTConfig
from webtext_gpt.model.gpt import GPT

_RANDOM_INITS: tuple[Callable[..., Tensor], ...] = (
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.kaiming_uniform_,
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
)


class SkipRandomInit(TorchFunctionMode):
    """Context in which modules are constructed without drawing their initial weights.

    Weights keep whatever their memory holds, so every one of them has to be loaded afterwards.
    Buffers, biases and gains are set and weights are tied as usual. Drawing GPT-2 small takes
    seconds; skipping it leaves the memory untouched. On the meta device it also avoids importing
    torch's decompositions of random functions, which takes a second and a half.
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
        if func in _RANDOM_INITS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def empty_gpt(config: GPTConfig, device: torch.device | str = "cpu") -> GPT:
    """Return a model with uninitialized weights; buffers are set and weights tied as usual.

    Args:
        config: the model's shape and options.
        device: where the weights are allocated.
    """
    with torch.device(device), SkipRandomInit():
        return GPT(config)
