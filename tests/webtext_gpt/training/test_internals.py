"""The private names of Lightning and DeepSpeed that training relies on exist, as installed."""

import inspect
import re
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.trainer.connectors.accelerator_connector import _AcceleratorConnector
from lightning.pytorch.trainer.connectors.logger_connector import _LoggerConnector

from webtext_gpt.errors import UserError
from webtext_gpt.training import lightning_internals as internals

TRAINING = Path(internals.__file__).parent


def test_lightnings_names_exist() -> None:
    trainer = L.Trainer(barebones=True, accelerator="cpu")
    assert isinstance(trainer._accelerator_connector, _AcceleratorConnector)
    assert trainer._accelerator_connector.cluster_environment is not None
    assert isinstance(trainer._logger_connector, _LoggerConnector)
    assert hasattr(trainer._logger_connector, "_first_loop_iter")
    loop = trainer.fit_loop.epoch_loop
    assert isinstance(loop, _TrainingEpochLoop)
    assert callable(loop.val_loop.run)
    internals.set_max_steps(trainer, 7)
    assert trainer.max_steps == 7
    assert loop.restarting is False
    assert callable(loop._broadcast_sigterm_tensor)
    assert hasattr(trainer._logger_connector, "should_update_logs")
    internals.use_own_loops(trainer)
    assert isinstance(trainer.fit_loop.epoch_loop, internals.EpochLoop)
    assert trainer.fit_loop.skip is False
    launcher = inspect.signature(internals.SubprocessLauncher.__init__).parameters
    assert {"cluster_environment", "num_processes", "num_nodes"} <= set(launcher)
    for name in ("_check_can_spawn_children", "_call_children_scripts", "launch"):
        assert callable(getattr(internals.SubprocessLauncher, name))
    assert not inspect.signature(internals.subprocess_command).parameters
    assert "num_processes" in inspect.signature(internals.set_num_threads).parameters


def test_past_batches_are_counted_by_this_calls_accumulation() -> None:
    counts = {"ready": 5, "started": 5, "processed": 5, "completed": 5}
    progress = {"total": dict(counts), "current": dict(counts)}
    checkpoint = {
        "global_step": 5,
        "loops": {"fit_loop": {"epoch_loop.batch_progress": progress}},
    }
    internals.count_past_batches(checkpoint, accumulation=3)
    assert progress["total"] == progress["current"] == dict.fromkeys(counts, 15)


def test_schedulers_names_exist() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    assert hasattr(scheduler, "_last_lr")
    assert internals.set_learning_rates(scheduler, [4.0]) == [4.0]
    assert scheduler.get_last_lr() == [4.0]


def test_deepspeeds_names_exist() -> None:
    from deepspeed.runtime.engine import DeepSpeedEngine
    from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
    from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

    from webtext_gpt.training.distributed import deepspeed_internals

    assert callable(DeepSpeedEngine.zero_optimization_stage)
    assert callable(DeepSpeedEngine.get_global_grad_norm)
    for owner, names in (
        (DeepSpeedZeroOptimizer, ("single_partition_of_fp32_groups", "bit16_groups", "overflow")),
        (
            DeepSpeedZeroOptimizer_Stage3,
            (
                "fp16_groups",
                "grad_position",
                "get_param_id",
                "fp32_partitioned_groups_flat",
                "persistent_parameters",
                "overflow",
            ),
        ),
    ):
        source = inspect.getsource(owner)
        for name in names:
            assert re.search(rf"self\.{name}\b|def {name}\b", source), f"{owner.__name__}.{name}"
    deepspeed_internals.forgo_compiled_reduction()


def test_a_missing_name_is_reported_with_the_supported_versions() -> None:
    from webtext_gpt.training.distributed import deepspeed_internals

    class Engine:
        def zero_optimization_stage(self) -> int:
            return 2

    with pytest.raises(UserError, match=r"deepspeed [\d.]+ is installed, .* supports deepspeed"):
        list(deepspeed_internals.fragments(Engine(), {}, rank=0))


def test_private_names_are_used_in_one_file_each() -> None:
    """No other file under training/ uses a private name of Lightning or DeepSpeed."""
    reached = re.compile(
        r"from lightning[\w.]* import [^\n]*\b_\w+|_accelerator_connector|_logger_connector"
        r"|epoch_loop|_hp_mapping|fp32_partitioned|ds_tensor|bit16_groups"
    )
    for path in TRAINING.rglob("*.py"):
        if path.name not in ("lightning_internals.py", "deepspeed_internals.py"):
            assert not reached.search(path.read_text()), path.name
