"""DeepSpeed's ZeRO under Lightning, on GPUs and on CPU processes.

Nothing of DeepSpeed's configuration is set twice: accumulation, clipping, precision and batch
come from the trainer, the optimizer and its schedule from the module.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy
from torch import Tensor, nn
from torch.optim import Optimizer

from webtext_gpt.checkpoint.parts import (
    STATE,
    WEIGHT,
    Piece,
    SavedParameters,
    part_contents,
    part_name,
    write_complete,
)
from webtext_gpt.checkpoint.store import write_file
from webtext_gpt.files import publish, remove
from webtext_gpt.training.distributed.launcher import WatchedLaunch
from webtext_gpt.training.memory import LIVE_PARAMETERS


def zero_config(
    stage: int,
    *,
    on_gpu: bool,
    offload: bool,
    reduce_bucket_size: int,
    allgather_bucket_size: int,
) -> dict[str, Any]:
    """The part of DeepSpeed's configuration that belongs to ZeRO alone."""
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": on_gpu,
        "contiguous_gradients": True,
        "reduce_scatter": on_gpu,  # gloo has none
        "reduce_bucket_size": reduce_bucket_size,
        "allgather_bucket_size": allgather_bucket_size,
    }
    if stage == 3:  # DeepSpeed's own limits keep a whole model of this size gathered
        zero["stage3_max_live_parameters"] = LIVE_PARAMETERS
        zero["stage3_max_reuse_distance"] = LIVE_PARAMETERS
        zero["stage3_prefetch_bucket_size"] = LIVE_PARAMETERS // 4
    if offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": on_gpu}
        if stage == 3:
            zero["offload_param"] = {"device": "cpu", "pin_memory": on_gpu}
    return {
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        # torch's fused AdamW runs on the CPU as well; DeepSpeed's own would be compiled first.
        "zero_force_ds_cpu_optimizer": False,
    }


class ZeroStrategy(WatchedLaunch, DeepSpeedStrategy):
    """Lightning's DeepSpeed strategy, let run on CPUs, with the loss scaled once.

    Args:
        config: see `zero_config`.
        on_gpu: else processes on the CPU talk through gloo.
    """

    def __init__(self, config: dict[str, Any], on_gpu: bool) -> None:
        if not on_gpu:
            os.environ["DS_ACCELERATOR"] = "cpu"  # read when deepspeed is imported
        super().__init__(config=config, process_group_backend=None if on_gpu else "gloo")
        self.on_gpu = on_gpu

    @property
    def root_device(self) -> torch.device:
        """This process's device; it needs an index, which Lightning's CPUs lack."""
        return super().root_device if self.on_gpu else torch.device("cpu", 0)

    def setup_environment(self) -> None:
        """Start the process group, without the check for GPUs of the class between."""
        DDPStrategy.setup_environment(self)

    def setup_distributed(self) -> None:
        """Join the other processes."""
        if self.on_gpu:
            super().setup_distributed()
        else:
            _forgo_compiled_reduction()
            self.set_world_ranks()
            self._init_deepspeed_distributed()

    def backward(self, closure_loss: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Lightning has divided the loss by the number of micro-batches already."""
        return super().backward(closure_loss, *args, scale_wrt_gas=False, **kwargs)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None
    ) -> None:
        """Write a folder in parts, see `webtext_gpt.checkpoint.parts`; all processes take part.

        Raises:
            OSError: a part cannot be written, as on a full disk.
        """
        path = Path(self.broadcast(str(filepath)))
        partial = path.with_name(f".{path.name}.partial")
        if self.is_global_zero:
            remove(partial)
            partial.mkdir(parents=True)
        self.barrier()
        write_file(part_contents(self._pieces()), partial / part_name(self.global_rank))
        self.barrier()
        if self.is_global_zero:
            values = ("state_dict", "optimizer_states")
            state = {key: value for key, value in checkpoint.items() if key not in values}
            write_file({**state, "parts": self._description()}, partial / STATE)
            write_complete(partial, self.world_size)
            publish(partial, path)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: Any = None) -> dict:
        """Take what this process holds of a checkpoint, whoever wrote it."""
        checkpoint = self.checkpoint_io.open(checkpoint_path)
        names = self.lightning_module.parameter_names
        saved = checkpoint.parameters(names)
        if "parts" in checkpoint.state:
            step = checkpoint.state["parts"]["step"]
        else:
            (optimizer,) = checkpoint.state["optimizer_states"]
            step = max((float(state["step"]) for state in optimizer["state"].values()), default=0.0)
        self._fill(saved, step)
        return checkpoint.state

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Nothing: no process holds it all."""
        return {}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Tensor]:
        """Nothing: no process holds it all."""
        return {}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Nothing: `load_checkpoint` has done it."""

    @property
    def _zero(self) -> Any:
        """DeepSpeed's optimizer around ours."""
        return self.deepspeed_engine.optimizer

    @property
    def _names(self) -> dict[nn.Parameter, str]:
        return {p: name for name, p in self.lightning_module.named_parameters()}

    def _fragments(self) -> "Iterator[Fragment]":
        """What this process holds in fp32, with the optimizer's states."""
        zero, names = self._zero, self._names
        frozen = [(p, name) for p, name in names.items() if not p.requires_grad]
        if self.zero_stage_3:
            parameter: Any
            for parameter, name in frozen:
                start, length = self._my_part(parameter)
                if length > 0:
                    yield Fragment(name, start, length, parameter.ds_tensor, 0)
            for parameter in (p for group in zero.fp16_groups for p in group):
                group, offset, _ = zero.grad_position[zero.get_param_id(parameter)]
                start, length = self._my_part(parameter)
                if length > 0:
                    flat = zero.fp32_partitioned_groups_flat[group]
                    yield Fragment(names[parameter], start, length, flat, offset)
            return
        if self.is_global_zero:  # every process has them whole
            for parameter, name in frozen:
                yield Fragment(name, 0, parameter.numel(), parameter.detach().flatten(), 0)
        for flat, parameters in zip(
            zero.single_partition_of_fp32_groups, zero.bit16_groups, strict=True
        ):
            for parameter in parameters:
                if (mapping := parameter._hp_mapping) is not None:  # some of it is held here
                    place, here = mapping.lp_fragment_address, mapping.hp_fragment_address
                    yield Fragment(names[parameter], place.start, place.numel, flat, here.start)

    def _my_part(self, parameter: Any) -> tuple[int, int]:
        """Where stage 3 has this process's part of a parameter, and how long it is."""
        length = parameter.ds_tensor.ds_numel
        start = self.global_rank * length
        return start, min(length, parameter.ds_numel - start)  # the last ones hold padding

    def _pieces(self) -> Iterator[Piece]:
        for fragment in self._fragments():
            moments = {
                key: value
                for key, value in self._zero.optimizer.state.get(fragment.flat, {}).items()
                if value.dim()
            }
            values = {WEIGHT: fragment.flat.detach(), **moments}
            mine = {key: fragment.of(value).cpu().clone() for key, value in values.items()}
            yield Piece(fragment.name, fragment.start, mine)

    def _description(self) -> dict[str, Any]:
        """Of the parameters as a whole, for whoever puts the pieces together."""
        names = self._names
        every = self.lightning_module.named_parameters(remove_duplicate=False)
        optimizer = self._zero.optimizer
        steps = {float(state["step"]) for state in optimizer.state.values() if "step" in state}
        return {
            "shapes": {n: list(getattr(p, "ds_shape", p.shape)) for p, n in names.items()},
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
        states = self._zero.optimizer.state
        for name, start, length, flat, offset in self._fragments():
            flat[offset : offset + length] = saved.read(name, WEIGHT, start, length).to(flat)
            for key in saved.keys(name):
                state = states.setdefault(flat, {})
                state.setdefault("step", torch.tensor(step, device=flat.device))
                moment = state.setdefault(key, torch.zeros_like(flat))
                moment[offset : offset + length] = saved.read(name, key, start, length).to(flat)
        for parameter, name in self._names.items():
            if not self.zero_stage_3:
                values = saved.read(name, WEIGHT, 0, parameter.numel())
                parameter.copy_(values.view(parameter.shape))
        if self.zero_stage_3:
            self._spread()

    def _spread(self) -> None:
        """Give stage 3's parameters, in the precision that computes, what fp32 holds."""
        zero = self._zero
        for parameter in (p for group in zero.fp16_groups for p in group):
            group, offset, length = zero.grad_position[zero.get_param_id(parameter)]
            flat = zero.fp32_partitioned_groups_flat[group]
            parameter.ds_tensor.copy_(flat[offset : offset + length])
        if kept := zero.persistent_parameters:  # small ones, which every process holds whole
            kept[0].partition(kept)  # as at a start: DeepSpeed learns who reads them as it gathers


def _forgo_compiled_reduction() -> None:
    """Keep DeepSpeed from compiling a reduction through shared memory, for a minute, at a start.

    Its processes spin while they wait for one another; gloo's sleep, and notice a death.
    """
    from deepspeed.accelerator import get_accelerator
    from deepspeed.ops import __compatible_ops__ as compatible

    compatible[get_accelerator().create_op_builder("ShareMemCommBuilder").NAME] = False


class Fragment(NamedTuple):
    """Where a process holds consecutive values of a parameter."""

    name: str
    """Of the parameter."""
    start: int
    """In the flattened parameter."""
    length: int
    flat: Tensor
    """The process's values of many parameters in fp32, key of their optimizer state."""
    offset: int
    """In `flat`."""

    def of(self, values: Tensor) -> Tensor:
        """This fragment's part of `flat`, or of its optimizer state."""
        return values[self.offset : self.offset + self.length]
