"""The devices of a run, and settings that are refused before anything starts."""

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.settings.train import Train
from webtext_gpt.training.batch import plan_batch
from webtext_gpt.training.callbacks.agreement import Agreement
from webtext_gpt.training.distributed.devices import Devices, find_devices
from webtext_gpt.training.distributed.launcher import PARENT, _cause_reported_once
from webtext_gpt.training.length import Length
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.training.strategy import Parallelism, automatic, deepspeed
from webtext_gpt.training.trainer import build_trainer


def _settings(devices: object, accelerator: str = "cpu", num_nodes: int = 1) -> dict[str, object]:
    return {"devices": devices, "accelerator": accelerator, "num_nodes": num_nodes}


@pytest.mark.parametrize(
    ("devices", "cores", "expected"),
    [("auto", 4, 1), (3, 4, 3), ("2", 4, 2), (-1, 4, 4), ([0, 1], 4, 2), ("0,1,2", 4, 3)],
)
def test_counts(
    devices: object, cores: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert find_devices(**_settings(devices)) == Devices("cpu", expected)


def test_nodes_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert find_devices(**_settings("auto", "cuda", num_nodes=2)).count == 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (_settings(8), "asks for 8 processes, but there are 2 CPU cores here; set trainer.dev"),
        (_settings(2, "cuda"), "accelerator=cuda: there is no such device here"),
        (_settings("auto", "gpu"), "accelerator=gpu: there is no such device here"),
        (_settings(1, "abacus"), "'abacus' is not one of auto, cpu, gpu, cuda, mps"),
        (_settings(0), "trainer.devices=0 must be at least 1"),
        (_settings("many"), "'many' is neither a number, a list of GPUs, nor auto"),
    ],
)
def test_missing_devices_are_refused(
    settings: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=message):
        find_devices(**settings)


@pytest.mark.parametrize(
    ("environment", "launcher"),
    [
        ({"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4"}, "torchrun"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "gpt"}, "srun"),
    ],
)
def test_the_launchers_process_count_must_match(
    environment: dict[str, str], launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    find_devices(**_settings(2, num_nodes=2))
    with pytest.raises(UserError, match=f"{launcher} has started 4 processes, but .* = 2; make"):
        find_devices(**_settings(2))


@pytest.mark.parametrize("theirs", [4, 6])
def test_all_ranks_resume_from_the_same_step(theirs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def reduce(value: torch.Tensor, operation: object) -> None:
        choose = min if operation == torch.distributed.ReduceOp.MIN else max
        value.fill_(choose(float(value), theirs))

    monkeypatch.setattr("torch.distributed.all_reduce", reduce)
    trainer = SimpleNamespace(
        world_size=2, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    if theirs == 6:
        Agreement(6).setup(trainer, None, "fit")
    else:
        with pytest.raises(UserError, match="of steps 4 and 6; all machines need the same run_dir"):
            Agreement(6).setup(trainer, None, "fit")


@pytest.mark.parametrize("devices", ["[0]", "-1", "1"])
def test_lightning_gets_the_checked_number_of_devices(
    devices: str,
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("webtext_gpt.training.distributed.devices._available", lambda kind: 1)
    settings = [f"trainer.devices={devices}", "trainer.accelerator=cpu", "trainer.max_steps=1"]
    assert _trainer(compose("train", *settings), tmp_path).num_devices == 1


def _trainer(composed: Train, run_dir: Path) -> L.Trainer:
    settings = composed.trainer
    return build_trainer(
        settings,
        run_dir=run_dir,
        devices=find_devices(settings.accelerator, settings.devices, settings.num_nodes),
        parallelism=Parallelism(build=lambda: "auto", zero_stage=0),
        plan=plan_batch(None, block_size=8, devices=1),
        length=Length(max_steps=1, max_minutes=None),
        validate_every=1,
        callbacks=[],
        loggers=[],
    )


@pytest.mark.parametrize(("parent", "code"), [(None, 0), ("1", 75)])
def test_other_ranks_stop_without_a_failure(
    parent: str | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """srun and torchrun treat any exit code except 0 as a failure; our launcher expects 75."""
    if parent is not None:
        monkeypatch.setenv(PARENT, parent)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended, _cause_reported_once(None):
            raise Stopped("stopped by SIGTERM", exit_code=75)
        assert ended.value.code == code
        signal.raise_signal(signal.SIGTERM)  # as srun sends it when rank 0 has exited: it is late
    finally:
        signal.signal(signal.SIGTERM, before)


def test_lightning_does_not_requeue_by_itself(
    compose: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    for name, value in {**task, "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "12345"}.items():
        monkeypatch.setenv(name, value)
    trainer = _trainer(compose("train", "trainer.devices=1", "trainer.accelerator=cpu"), tmp_path)
    environment = trainer._accelerator_connector.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue


def test_auto_takes_zero2_on_gpus_and_ddp_on_cpus() -> None:
    assert automatic(Devices("cuda", 1)).build() == "auto"
    assert automatic(Devices("cuda", 8)).zero_stage == 2
    zero = automatic(Devices("cuda", 8)).build()
    assert zero.config["zero_optimization"]["stage"] == 2
    assert zero.config["zero_optimization"]["overlap_comm"] is True
    assert type(automatic(Devices("cpu", 2)).build()).__name__ == "WatchedDDPStrategy"


def test_offload_keeps_states_off_the_gpu() -> None:
    config = (
        deepspeed(Devices("cuda", 8), stage=3, offload=True).build().config["zero_optimization"]
    )
    assert config["offload_optimizer"] == {"device": "cpu", "pin_memory": True}
    assert config["offload_param"] == {"device": "cpu", "pin_memory": True}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["strategy=fsdp"],
            "strategy=fsdp runs on cuda, but the devices are cpu; to shard on CPUs, use strategy=",
        ),
        (["trainer.devices=2", "global_batch_tokens=96"], "nearest possible: 64 or 128"),
        (["strategy=deepspeed_zero2", "trainer.precision=16-mixed"], "use bf16-mixed or 32-true"),
        (["strategy=deepspeed_zero3", "compile=true"], "compile=true does not work with"),
        (["callbacks.checkpoints.keep_last=0"], "keep_last=0: expected a whole number, 1 or above"),
        (["guard.not_finite=ignore"], "guard.not_finite=ignore: expected stop or skip"),
    ],
)
def test_conflicting_settings_are_refused_before_anything_is_written(
    overrides: list[str],
    message: str,
    compose: Callable[..., Any],
    small_run: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")  # a strategy sets it for the whole process
    with pytest.raises(Exception, match=message) as caught:
        pretrain(compose("train", *small_run, *overrides))
    assert isinstance(caught.value, UserError) or isinstance(caught.value.__cause__, UserError)
    assert not (tmp_path / "run").exists()
