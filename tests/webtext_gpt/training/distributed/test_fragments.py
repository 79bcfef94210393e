"""ZeRO's fragments: the part of each parameter that a rank holds, and the parameter from them."""

from types import SimpleNamespace as Namespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from webtext_gpt.checkpoint.parts import WEIGHT, Piece, SavedParameters
from webtext_gpt.training.distributed.deepspeed_internals import (
    fragments,
    gradient_norm,
    publish_weights,
    whole_shape,
)

MATRIX = torch.arange(6.0).view(2, 3)
GAINS = torch.arange(100.0, 104.0)
FROZEN = torch.arange(200.0, 203.0)


def _parameters() -> tuple[dict[nn.Parameter, str], list[nn.Parameter]]:
    matrix, gains = nn.Parameter(MATRIX.clone()), nn.Parameter(GAINS.clone())
    frozen = nn.Parameter(FROZEN.clone(), requires_grad=False)
    return {matrix: "matrix", gains: "gains", frozen: "frozen"}, [matrix, gains, frozen]


def _stage_2(rank: int) -> tuple[Any, dict[nn.Parameter, str]]:
    """One group of 6 + 4 values, of which rank 0 holds the first 5 and rank 1 the others."""
    names, (matrix, gains, _) = _parameters()
    flat = torch.cat((MATRIX.flatten(), GAINS))[5 * rank : 5 * rank + 5].clone()
    places = {0: ((0, 5, 0), None), 1: ((5, 1, 0), (0, 4, 1))}[rank]
    for parameter, place in zip((matrix, gains), places, strict=True):
        parameter._hp_mapping = place and Namespace(
            lp_fragment_address=Namespace(start=place[0], numel=place[1]),
            hp_fragment_address=Namespace(start=place[2], numel=place[1]),
        )
    zero = Namespace(single_partition_of_fp32_groups=[flat], bit16_groups=[[matrix, gains]])
    return Namespace(optimizer=zero, zero_optimization_stage=lambda: 2), names


class _Shard(Tensor):
    ds_numel: int


def _shard(values: Tensor, rank: int) -> _Shard:
    """Half of a parameter, the second padded to the length of the first."""
    half = -(-values.numel() // 2)
    padded = torch.cat((values.flatten(), torch.full((2 * half - values.numel(),), -1.0)))
    shard = padded[rank * half : (rank + 1) * half].clone().as_subclass(_Shard)
    shard.ds_numel = half
    return shard


def _stage_3(rank: int) -> tuple[Any, dict[nn.Parameter, str]]:
    names, (matrix, gains, frozen) = _parameters()
    for parameter, values in ((matrix, MATRIX), (gains, GAINS), (frozen, FROZEN)):
        parameter.ds_tensor = _shard(values, rank)
        parameter.ds_numel, parameter.ds_shape = values.numel(), values.shape
        parameter.data = torch.empty(0)  # partitioned, so the parameter itself is empty
    flat = torch.cat((_shard(MATRIX, rank), _shard(GAINS, rank))).as_subclass(Tensor)
    zero = Namespace(
        fp16_groups=[[matrix, gains]],
        grad_position={0: (0, 0, 3), 1: (0, 3, 2)},
        get_param_id=lambda p: 0 if p is matrix else 1,
        fp32_partitioned_groups_flat=[flat],
        persistent_parameters=[],
    )
    return Namespace(optimizer=zero, zero_optimization_stage=lambda: 3), names


@pytest.mark.parametrize("engine_of", [_stage_2, _stage_3])
def test_fragments_of_two_ranks_form_the_parameters(engine_of: Any) -> None:
    pieces = []
    for rank in (0, 1):
        engine, names = engine_of(rank)
        for fragment in fragments(engine, names, rank):
            values = fragment.of(fragment.flat.detach()).as_subclass(Tensor)
            assert len(values) == fragment.length
            pieces.append(Piece(fragment.name, fragment.start, {WEIGHT: values}))
    saved = SavedParameters(pieces)
    for name, whole in (("matrix", MATRIX), ("gains", GAINS), ("frozen", FROZEN)):
        read = saved.read(name, WEIGHT, 0, whole.numel())
        assert torch.equal(read.view(whole.shape), whole)


def test_which_rank_holds_what_in_stage_2() -> None:
    held = [
        [(f.name, f.start, f.length) for f in fragments(*_stage_2(rank), rank)] for rank in (0, 1)
    ]
    assert held[0] == [("frozen", 0, 3), ("matrix", 0, 5)]
    assert held[1] == [("matrix", 5, 1), ("gains", 0, 4)]


def test_padding_of_stage_3_is_left_out() -> None:
    """Three frozen values are two and one, though both shards have two."""
    held = [
        [(f.name, f.start, f.length) for f in fragments(*_stage_3(rank), rank)] for rank in (0, 1)
    ]
    assert ("frozen", 0, 2) in held[0]
    assert ("frozen", 2, 1) in held[1]


def test_stage_3_publishes_changed_values() -> None:
    engine, names = _stage_3(rank=1)
    engine.optimizer.fp32_partitioned_groups_flat[0].copy_(torch.tensor([7.0, 8, 9, 10, 11]))
    publish_weights(engine)
    matrix, gains, _ = names
    assert matrix.ds_tensor.tolist() == [7, 8, 9]
    assert gains.ds_tensor.tolist() == [10, 11]
    assert whole_shape(matrix) == [2, 3]


def test_a_skipped_step_has_no_norm() -> None:
    engine = Namespace(optimizer=Namespace(overflow=False), get_global_grad_norm=lambda: 2.5)
    assert gradient_norm(engine) == 2.5
    engine.optimizer.overflow = True
    assert gradient_norm(engine) != gradient_norm(engine)
