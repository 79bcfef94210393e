"""`trainer.profiler`: the files that a run writes, however it ends."""

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import NoReturn

import pytest

from webtext_gpt.training.pretrain import PretrainingModule

Call = Callable[..., CompletedProcess[str]]

QUICK = ("callbacks.samples=null", "callbacks.loss_curve=null", "trainer.limit_val_batches=1")


def calls(profile: Path, action: str) -> int:
    """Return the number of calls of an action in a table of Lightning's simple profiler."""
    (row,) = (line for line in profile.read_text().splitlines() if action in line)
    return int(row.split("|")[3])


def events(trace: Path) -> Counter[str]:
    """Return the number of events of each name in a trace."""
    return Counter(event["name"] for event in json.loads(trace.read_text())["traceEvents"])


def test_the_simple_profile_and_that_of_a_resumed_run(
    call: Call, small_run: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = [*small_run, *QUICK, "trainer.profiler=simple", "trainer.max_steps=4"]
    first = call("train.py", *asked)
    assert f"\nprofile     {run / 'profile.txt'}\n" in first.stdout, first.stderr
    assert calls(run / "profile.txt", "run_training_batch") == 4
    written = (run / "profile.txt").read_text()
    resumed = call("train.py", f"resume={run}", "trainer.max_steps=6")
    assert f"\nprofile     {run / 'profile-2.txt'}\n" in resumed.stdout, resumed.stderr
    assert calls(run / "profile-2.txt", "run_training_batch") == 2
    assert (run / "profile-2.txt").read_text().startswith("Training from optimizer step 5, ")
    assert (run / "profile.txt").read_text() == written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "recorded"),
    [
        ([], 3),  # steps 6, 7 and 8
        (["micro_batch_size=4"], 2),  # three micro-batches, of which two end steps 6 and 7
        (["validate_every=7"], 2),  # the validation after step 7 ends the recording
    ],
)
def test_the_trace_is_of_a_few_micro_batches(
    more: list[str], recorded: int, call: Call, small_run: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = [*small_run, *QUICK, "trainer.profiler=pytorch", "trainer.max_steps=10"]
    trained = call("train.py", *asked, "validate_every=10", *more)
    trace = run / "profile-trace.json"
    assert f"from step 6, will be recorded in {trace}\n" in trained.stdout, trained.stderr
    assert events(trace)["Optimizer.step#AdamW.step"] == recorded
    assert "aten::addmm" in (run / "profile.txt").read_text()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("simple", KeyboardInterrupt),
        ("advanced", ZeroDivisionError),
        ("pytorch", ZeroDivisionError),
    ],
)
def test_a_run_that_fails_writes_its_profile(
    kind: str,
    error: type[BaseException],
    call: Call,
    small_run: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(module: PretrainingModule, *args: object) -> NoReturn:
        raise error

    monkeypatch.setattr(PretrainingModule, "on_validation_start", fail, raising=False)
    asked = [*small_run, *QUICK, f"trainer.profiler={kind}", "validate_every=3"]
    with contextlib.suppress(ZeroDivisionError):
        assert call("train.py", *asked).returncode == 1
    text = (tmp_path / "run" / "profile.txt").read_text()
    assert text.startswith("Training from optimizer step 1, ended after step 3\n")
    assert {"simple": "run_training_batch", "advanced": "cumtime", "pytorch": "aten::"}[
        kind
    ] in text
