"""DeepSpeed's ZeRO under Lightning, on GPUs and on CPU processes.

No setting is repeated for DeepSpeed: accumulation, clipping, precision and the batch come from the
trainer, the optimizer and its schedule from the module.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from webtext_gpt.checkpoint.background import announced_if_slow
from webtext_gpt.checkpoint.parts import (
    STATE,
    WEIGHT,
    Piece,
    SavedParameters,
    part_contents,
    part_name,
    write_complete,
)
from webtext_gpt.checkpoint.snapshot import stored_bytes
from webtext_gpt.checkpoint.space import check_space
from webtext_gpt.checkpoint.store import write_file
from webtext_gpt.files import publish, remove
from webtext_gpt.training.distributed.deepspeed_internals import (
    Fragment,
    forgo_compiled_reduction,
    fragments,
    gather_weights,
    publish_weights,
    whole_shape,
)
from webtext_gpt.training.distributed.launcher import WatchedLaunch
from webtext_gpt.training.memory import LIVE_PARAMETERS, PREFETCHED
from webtext_gpt.training.muon import Muon, Placed


def zero_config(
    stage: int,
    *,
    on_gpu: bool,
    offload: bool,
    reduce_bucket_size: int,
    allgather_bucket_size: int,
) -> dict[str, Any]:
    """Return the part of DeepSpeed's configuration that concerns only ZeRO."""
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": on_gpu,
        "contiguous_gradients": True,
        "reduce_scatter": on_gpu,  # gloo has no reduce-scatter
        "reduce_bucket_size": reduce_bucket_size,
        "allgather_bucket_size": allgather_bucket_size,
    }
    if stage == 3:  # DeepSpeed's defaults would keep all of a small model gathered
        zero["stage3_max_live_parameters"] = LIVE_PARAMETERS
        zero["stage3_max_reuse_distance"] = LIVE_PARAMETERS
        zero["stage3_prefetch_bucket_size"] = PREFETCHED
    if offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": on_gpu}
        if stage == 3:
            zero["offload_param"] = {"device": "cpu", "pin_memory": on_gpu}
    return {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        # torch's fused AdamW also runs on the CPU; DeepSpeed's own would have to be compiled.
        "zero_force_ds_cpu_optimizer": False,
    }


class ZeroStrategy(WatchedLaunch, DeepSpeedStrategy):
    """Lightning's DeepSpeed strategy, extended to CPUs and to checkpoints in parts.

    Args:
        config: see `zero_config`.
        on_gpu: train on GPUs; otherwise CPU processes communicate through gloo.
    """

    def __init__(self, config: dict[str, Any], on_gpu: bool) -> None:
        super().__init__(config=config, process_group_backend=None if on_gpu else "gloo")
        self.on_gpu = on_gpu

    @property
    def root_device(self) -> torch.device:
        """This process's device; DeepSpeed needs an index, which Lightning's CPU device lacks."""
        return super().root_device if self.on_gpu else torch.device("cpu", 0)

    def setup_environment(self) -> None:
        """Start the process group without the GPU check of `DeepSpeedStrategy`."""
        DDPStrategy.setup_environment(self)

    def setup_distributed(self) -> None:
        """Join the other processes."""
        if self.on_gpu:
            super().setup_distributed()
        else:
            forgo_compiled_reduction()
            self.set_world_ranks()
            self._init_deepspeed_distributed()

    def setup(self, trainer: L.Trainer) -> None:
        """Start DeepSpeed, and tell Muon where its matrices are in the flattened group."""
        super().setup(trainer)
        optimizer = self._optimizer
        if not isinstance(optimizer, Muon):
            return
        places = {f.name: f for f in self._fragments()}
        placed = []
        for parameter, name in self._names.items():
            if parameter in optimizer.stacked and name in places:
                _, start, _, flat, offset = places[name]
                first = self.global_rank * len(flat) + offset - start
                placed.append(Placed(first, parameter.shape, optimizer.stacked[parameter]))
        optimizer.partition(placed, self.root_device)

    def backward(self, closure_loss: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Run the backward pass; Lightning has already divided the loss by the accumulation."""
        return super().backward(closure_loss, *args, scale_wrt_gas=False, **kwargs)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: object = None
    ) -> None:
        """Write a folder in parts (`webtext_gpt.checkpoint.parts`); all processes take part.

        Training waits for it. The folder is complete only when every process has written its part,
        and background threads cannot exchange this while training communicates.

        Raises:
            NoSpace: the disk has too little room.
            OSError: a part cannot be written, as on a full disk.
        """
        path = Path(self.broadcast(str(filepath)))
        slow = announced_if_slow(str(path)) if self.is_global_zero else contextlib.nullcontext()
        with slow:
            self._write_parts(checkpoint, path)

    def _write_parts(self, checkpoint: dict[str, Any], path: Path) -> None:
        partial = path.with_name(f".{path.name}.partial")
        mine = part_contents(self._pieces())
        if self.is_global_zero:
            check_space(path, stored_bytes(mine) * self.world_size)
            remove(partial)
            partial.mkdir(parents=True)
        self.barrier()
        write_file(mine, partial / part_name(self.global_rank))
        self.barrier()
        if self.is_global_zero:
            values = ("state_dict", "optimizer_states")
            state = {key: value for key, value in checkpoint.items() if key not in values}
            write_file({**state, "parts": self._description()}, partial / STATE)
            write_complete(partial, self.world_size)
            publish(partial, path)

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read this process's values from a checkpoint that any strategy wrote."""
        checkpoint = self.checkpoint_io.open(checkpoint_path)
        names = self.lightning_module.parameter_names
        saved = checkpoint.parameters(names)
        if "parts" in checkpoint.state:
            step = checkpoint.state["parts"]["step"]
        else:
            (optimizer,) = checkpoint.state["optimizer_states"]
            states = optimizer["state"].values()
            step = max((float(state.get("step", 0)) for state in states), default=0.0)
        self._fill(saved, step)
        return checkpoint.state

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return nothing: no process holds all weights."""
        return {}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """Return nothing: no process holds the complete optimizer state."""
        return {}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Do nothing: `load_checkpoint` has filled the weights."""

    @property
    def _names(self) -> dict[nn.Parameter, str]:
        return {p: name for name, p in self.lightning_module.named_parameters()}

    @property
    def _optimizer(self) -> Optimizer:
        """The module's optimizer, inside DeepSpeed's wrapper."""
        optimizer: Optimizer = self.deepspeed_engine.optimizer.optimizer
        return optimizer

    @property
    def inner_optimizer(self) -> Optimizer:
        """The module's optimizer; the keys of its state are this process's fp32 values."""
        return self._optimizer

    def publish_weights(self) -> None:
        """Copy the fp32 values of stages 1 and 2 into the parameters used for computation."""
        gather_weights(self.deepspeed_engine)

    def _fragments(self) -> Iterator[Fragment]:
        return fragments(self.deepspeed_engine, self._names, self.global_rank)

    def _pieces(self) -> Iterator[Piece]:
        """Yield this process's values and their moments, on the CPU."""
        for fragment in self._fragments():
            moments = {
                key: value
                for key, value in self._optimizer.state.get(fragment.flat, {}).items()
                if value.dim()
            }
            values = {WEIGHT: fragment.flat.detach(), **moments}
            mine = {key: fragment.of(value).cpu().clone() for key, value in values.items()}
            yield Piece(fragment.name, fragment.start, mine)

    def _description(self) -> dict[str, Any]:
        """Return shapes, ties and optimizer groups, from which a reader assembles the pieces."""
        names = self._names
        every = self.lightning_module.named_parameters(remove_duplicate=False)
        optimizer = self._optimizer
        steps = {float(state["step"]) for state in optimizer.state.values() if "step" in state}
        return {
            "shapes": {name: whole_shape(p) for p, name in names.items()},
            "tied": {alias: names[p] for alias, p in every if alias != names[p]},
            "groups": [
                {**{k: v for k, v in group.items() if k != "params"}, "names": of_group}
                for group, of_group in zip(
                    optimizer.param_groups, self.lightning_module.parameter_names, strict=True
                )
            ],
            "step": max(steps, default=0.0),
        }

    @torch.no_grad()
    def _fill(self, saved: SavedParameters, step: float) -> None:
        """Copy saved weights and moments into the parameters and the optimizer's state."""
        states = self._optimizer.state
        for fragment in self._fragments():
            name, start, length, flat, _ = fragment
            fragment.of(flat).copy_(saved.read(name, WEIGHT, start, length))
            for key in saved.keys(name):
                state = states.setdefault(flat, {})
                state.setdefault("step", torch.tensor(step, device=flat.device))
                moment = state.setdefault(key, torch.zeros_like(flat))
                fragment.of(moment).copy_(saved.read(name, key, start, length))
        if not self.zero_stage_3:
            for parameter, name in self._names.items():
                values = saved.read(name, WEIGHT, 0, parameter.numel())
                parameter.copy_(values.view(parameter.shape))
        publish_weights(self.deepspeed_engine)
