"""Contract 7 over two hosts, by the documented command, and what happens when one is gone."""

import importlib.metadata
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
REPOSITORY = Path(__file__).parents[2]
SECONDS = 600
"""Longest time to wait for a start on a busy machine."""
Two = tuple[Any, Any]
Start = Callable[..., list["subprocess.Popen[str]"]]


@pytest.fixture
def start(hosts: Two, documented: Callable[..., str], run_settings: list[str]) -> Start:
    """`start(run, "key=value", ...)`: the documented script, on both hosts."""

    def _start(run: Path, *more: str, steps: int = 20, **environment: str) -> list[Any]:
        command = documented(
            "torchrun",
            {
                "--nproc-per-node=8": "--nproc-per-node=1",
                "first-machine": "host-a",
                "train.py model=xl trainer.devices=8": f"{REPOSITORY}/train.py trainer.devices=1",
                "data=shards data.path=/shared/shards": " ".join([*run_settings, *more]),
                "/shared/runs/xl": f"{run} trainer.max_steps={steps}",
            },
        )
        return [
            host.start("bash", "-c", command, "train.sh", str(node), **environment)
            for node, host in enumerate(hosts)
        ]

    return _start


@pytest.fixture(scope="module")
def one(
    run_settings: list[str], compose: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An undisturbed run of one process."""
    run = tmp_path_factory.mktemp("one") / "run"
    pretrain(compose("train", *run_settings, "trainer.max_steps=20", f"run_dir={run}"))
    return run


def _outputs(processes: list[Any], seconds: float = SECONDS) -> list[str]:
    return [process.communicate(timeout=seconds)[0] for process in processes]


def _assert_same_losses(run: Path, other: Path) -> None:
    ours, theirs = (read_metrics(folder / "metrics.csv") for folder in (run, other))
    assert [row["step"] for row in ours] == [row["step"] for row in theirs] == [*range(1, 21)]
    for column in ("train_loss", "val_loss"):
        # A run that ended earlier, and was resumed, has one more validation.
        steps = [n for n, row in enumerate(theirs) if column in row]
        found, expected = ([rows[n][column] for n in steps] for rows in (ours, theirs))
        assert found == pytest.approx(expected, abs=1e-5)


def _wait_for_checkpoint(run: Path, processes: list[Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not (run / "checkpoints" / "last.ckpt").exists():
        assert all(process.poll() is None for process in processes), _outputs(processes)
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("strategy", ["ddp", *(f"deepspeed_zero{s}" for s in (1, 2, 3))])
def test_two_hosts_have_the_losses_of_one_process(
    strategy: str, start: Start, one: Path, tmp_path: Path
) -> None:
    processes = start(tmp_path / "run", f"strategy={strategy}")
    outputs = _outputs(processes)
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum(output.count("validation loss") for output in outputs) == 1  # the report
    _assert_same_losses(tmp_path / "run", one)


def _causes(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("strategy", ["ddp", "deepspeed_zero2"])
def test_a_killed_host_ends_the_other_and_the_run_continues(
    strategy: str,
    start: Start,
    hosts: Two,
    one: Path,
    run_settings: list[str],
    compose: Callable[..., Any],
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    processes = start(run, f"strategy={strategy}", "callbacks.checkpoints.save_every=2")
    _wait_for_checkpoint(run, processes)
    hosts[1].kill()
    killed = time.monotonic()
    output, _ = _outputs(processes, seconds=60)  # in under a minute
    print(f"ended after {time.monotonic() - killed:.1f} s")
    assert processes[0].returncode != 0
    assert len(_causes(output)) == 1, output
    assert "on host-b is gone: it has closed the connection" in _causes(output)[0]
    # One host takes a few steps, then two do the rest.
    step = max(int(path.stem[5:]) for path in (run / "checkpoints").glob("step-*"))
    again = ["resume=auto", f"run_dir={run}", "trainer.max_steps=20"]
    if step < 18:
        alone = [*run_settings, *again, f"trainer.max_steps={step + 1}"]
        pretrain(compose("train", *alone))
    processes = start(run, f"strategy={strategy}")
    outputs = _outputs(processes)
    assert [process.returncode for process in processes] == [0, 0], outputs
    _assert_same_losses(run, one)


def test_a_broken_link_ends_both_hosts(
    start: Start,
    hosts: Two,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    processes = start(run, "strategy=ddp", steps=1_000_000)
    _wait_for_checkpoint(run, processes)
    hosts[1].disconnect()
    disconnected = time.monotonic()
    outputs = _outputs(processes, seconds=60)
    print(f"ended after {time.monotonic() - disconnected:.1f} s")
    assert all(process.returncode != 0 for process in processes)
    for output, other in zip(outputs, ("host-b", "host-a"), strict=True):
        assert len(_causes(output)) == 1, output
        assert f"on {other} is gone: it has not answered for 40 s" in _causes(output)[0]


def test_names_that_lead_to_the_loopback(start: Start, hosts: Two, tmp_path: Path) -> None:
    """Debian gives a machine's own name the address 127.0.1.1."""
    for host, other in (hosts, hosts[::-1]):
        names = f"127.0.1.1 {host.name}\n{other.address} {other.name}\n"
        host.hosts_file.write_text(f"127.0.0.1 localhost\n{names}")
    processes = start(tmp_path / "run", "strategy=ddp", steps=2)
    outputs = _outputs(processes)
    assert [process.returncode for process in processes] == [0, 0], outputs


@pytest.mark.parametrize("which", ["own", "read-only"])
def test_a_folder_that_is_not_shared_or_not_writable(
    which: str, start: Start, hosts: Two, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    hosts[1].mounts.append(
        f"mount -t tmpfs none {run}"
        if which == "own"
        else f"mount --bind {run} {run}; mount -o remount,ro,bind {run}"
    )
    processes = start(run, "strategy=ddp", steps=2)
    outputs = _outputs(processes)
    assert all(process.returncode != 0 for process in processes)
    says = {
        "own": f"run_dir={run} on host-b is not the folder that rank 0 on host-a writes to",
        "read-only": f"run_dir={run} on host-b cannot be written to",
    }[which]
    assert len(_causes(outputs[0])) == 1
    assert says in _causes(outputs[0])[0]


REPORTED = "rank 1 on host-b has failed: "


def _hide_text(host: Any, folder: Path, text: Path) -> str:
    host.mounts.append(f"mount -t tmpfs none {text.parent}")
    return f"{REPORTED}data.path={text}"


def _break_import(host: Any, folder: Path, text: Path) -> str:
    broken = folder / "broken.py"
    broken.write_text("raise RuntimeError('no kernel image')")
    installed = next(Path(entry) for entry in sys.path if (Path(entry) / "lightning").is_dir())
    host.mounts.append(f"mount --bind {broken} {installed}/lightning/__init__.py")
    return f"{REPORTED}RuntimeError: no kernel image"


def _spoil_setting(host: Any, folder: Path, text: Path) -> str:
    wrong = folder / "scheduler.yaml"
    wrong.write_text("warmup_steps: many")
    chosen = REPOSITORY / "conf" / "scheduler" / "constant.yaml"
    host.mounts.append(f"mount --bind {wrong} {chosen}")
    return f"{REPORTED}scheduler"


def _exit_at_once(host: Any, folder: Path, text: Path) -> str:
    silent = folder / "silent.py"
    silent.write_text("raise SystemExit(3)")
    host.mounts.append(f"mount --bind {silent} {REPOSITORY}/train.py")
    return "the host of torchrun's --node-rank=1 has not begun to train: its process was killed"


@pytest.mark.parametrize("fail", [_hide_text, _break_import, _spoil_setting, _exit_at_once])
def test_a_host_that_ends_before_it_joins_ends_the_others(
    fail: Callable[..., str], start: Start, hosts: Two, prose_file: Path, tmp_path: Path
) -> None:
    cause = fail(hosts[1], tmp_path, prose_file)
    processes = start(tmp_path / "run", "strategy=ddp", steps=2)
    ends = {}
    deadline = time.monotonic() + SECONDS
    while len(ends) < 2 and time.monotonic() < deadline:
        for node, process in enumerate(processes):
            if process.poll() is not None:
                ends.setdefault(node, time.monotonic())
        time.sleep(0.1)
    waiting = ends[0] - ends[1]
    output, theirs = _outputs(processes)
    print(f"rank 0 ended {waiting:.1f} s after the other host")
    assert [process.returncode for process in processes] == [1, 1], output
    assert waiting < 60
    assert len(_causes(output)) == 1, output
    assert _causes(output)[0].startswith(f"error: {cause}"), theirs


def test_another_version_on_one_host(start: Start, hosts: Two, tmp_path: Path) -> None:
    """The metadata of torch on the second host name another version."""
    found = next(importlib.metadata.distribution("torch").locate_file("").glob("torch-*.dist-info"))
    metadata = found / "METADATA"
    version = importlib.metadata.version("torch")
    other = tmp_path / "METADATA"
    other.write_text(metadata.read_text().replace(f"\nVersion: {version}", "\nVersion: 2.9.1", 1))
    hosts[1].mounts.append(f"mount --bind {other} {metadata}")
    processes = start(tmp_path / "run", "strategy=ddp", steps=2)
    outputs = _outputs(processes)
    assert all(process.returncode != 0 for process in processes)
    message = f"error: host-b has torch 2.9.1, but host-a has torch {version}; install the same"
    assert [cause.startswith(message) for cause in _causes(outputs[0])] == [True], outputs


@pytest.mark.parametrize(
    ("first", "cause"),
    [
        ("host-a", "nothing listens there"),
        ("host-c", "this machine knows no address of host-c"),
        ("10.9.9.9", "Network is unreachable"),
        ("off", "No route to host"),
    ],
)
def test_a_first_machine_where_nobody_listens(
    first: str, cause: str, hosts: Two, documented: Callable[..., str]
) -> None:
    """Nobody listens there, the name is unknown, no route leads there, the machine is off."""
    if first == "off":
        first = hosts[0].address
        hosts[0].disconnect()
    new = {"--nproc-per-node=8": "--nproc-per-node=1", "first-machine": first}
    began = time.monotonic()
    process = hosts[1].start("bash", "-c", documented("torchrun", new), "train.sh", "1")
    output = process.communicate(timeout=SECONDS)[0]
    took = time.monotonic() - began
    print(f"ended after {took:.1f} s")
    assert process.returncode == 1
    (message,) = filter(None, output.splitlines())
    assert message.startswith(f"error: host-b cannot reach rank 0 at {first}:29500: ")
    assert cause in message
    assert took < 30
