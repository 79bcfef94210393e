"""Runs with a loss or gradient that is not finite: named exactly, then stopped or skipped."""

import csv
import json
import math
import re
import runpy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.store import read_checkpoint, save_checkpoint
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.command import run_command
from webtext_gpt.training import checkpoint_io
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.module import TrainingModule
from webtext_gpt.training.pretrain import PretrainingModule, pretrain

ALTERED = Path(__file__).parents[2] / "contracts" / "altered_train.py"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # lower case occurs in special tokens
KINDS = ("pretraining", "classification", "regression", "pairs")
FINDING = {"nan": "loss is nan", "inf": "loss is inf", "gradient": "gradient's norm is (inf|nan)"}
BAD = 3
"""The step that goes wrong."""


class Poison:
    """Spoils micro-batches, and records what the spoiled steps have read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.healthy = TrainingModule.training_step
        self.batches: list[list[str]] = []

    def __call__(self, *steps: int, **options: Any) -> None:
        self.monkeypatch.setattr(TrainingModule, "training_step", self.healthy)
        poisoned = runpy.run_path(str(ALTERED))["poisoned"]
        changed = poisoned(steps, seen=self._see, **options)
        self.monkeypatch.setattr(TrainingModule, "training_step", changed)

    def _see(self, module: TrainingModule, batch: Any) -> None:
        """Store the texts of a micro-batch's samples, all tokens that they read."""
        if isinstance(module, PretrainingModule):
            inputs, targets = batch
            tokens = torch.cat((inputs[:, :1], targets), dim=1)
        else:
            tokens = batch[0].tokens
        self.batches.append([module.tokenizer.decode(row.tolist()) for row in tokens])


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    """`poison(STEP, ..., kind=, micro_batch=)`: spoil micro-batches of runs in this process."""
    return Poison(monkeypatch)


@pytest.fixture
def train(
    compose: Callable[..., Any],
    small_run: list[str],
    small_finetuning: list[str],
    tmp_path: Path,
) -> Callable[..., dict[str, Any]]:
    """`train(KIND, "key=value", ...)`: a run of 5 steps of 6 samples, saved at every step."""
    short = ["trainer.max_steps=5", "validate_every=5", "callbacks.checkpoints.save_every=1"]
    short += ["callbacks.checkpoints.keep_last=10"]
    documents = tmp_path / "letters.jsonl"
    documents.write_text("".join(json.dumps({"text": c * 40}) + "\n" for c in LETTERS))
    rows = tmp_path / "rows.csv"
    with rows.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["prompt", "completion", "label", "score"])
        writer.writerows([f"{c * 3} {c}", c * 2, "ab"[i % 2], i] for i, c in enumerate(LETTERS))

    def _train(kind: str, *arguments: str) -> dict[str, Any]:
        if kind == "pretraining":
            own = [f"data.path={documents}", "tokenizer=char", "global_batch_tokens=192"]
            kept = [o for o in small_run if not o.startswith("tokenizer")]
            return pretrain(compose("train", *kept, *short, *own, *arguments))
        files = [f"task.train={rows}", f"task.validation={rows}", "batch_size=6"]
        kept = [o for o in small_finetuning if not o.startswith("task")]
        task = {
            "classification": ["task=file", "task.text=prompt", "task.label=label"],
            "regression": ["task=file", "task.text=prompt", "task.label=score"],
            "pairs": ["task=pairs", "max_new_tokens=2"],
        }[kind]
        if kind == "regression":
            task.append("task.kind=regression")
        return run_command(compose("finetune", *kept, *task, *files, *short, *arguments))

    return _train


def _named(message: str, folder: Path) -> set[str]:
    """Return the letters of the documents or rows that a message names."""
    listed = re.search(
        r"has the training (documents|rows) (.*?)(\. Train|\. That|; the step)", message
    )
    assert listed is not None, message
    if listed[1] == "rows":
        lines = re.fullmatch(r".*/rows\.csv, line ([0-9, ]+)", listed[2])
        assert lines is not None, listed[2]
        return {LETTERS[int(line) - 2] for line in lines[1].split(", ")}
    (manifest,) = (folder / "cache").glob("files-*/manifest.json")
    shards = TokenShards(manifest.parent)
    texts = [shards.tokenizer.decode(d.tolist()) for d in shards.split("train").documents()]
    return {texts[int(number)][0] for number in listed[2].split(", ")}


def _state(folder: Path, step: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the weights of a step's checkpoint, and its optimizer's state."""
    saved = read_checkpoint(folder / "run" / "checkpoints" / f"step-{step:08d}.ckpt")
    (optimizer,) = saved["optimizer_states"]
    state = optimizer["state"].items()
    return saved["state_dict"], {f"{i} {k}": v for i, values in state for k, v in values.items()}


def _equal(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    assert some.keys() == others.keys()
    return all(torch.equal(value, others[name]) for name, value in some.items())


slow = pytest.mark.slow
ONE = [("pretraining", fault, 1, 0) for fault in FINDING]
ONE += [("classification", "nan", 1, 0), ("regression", "inf", 1, 0), ("pairs", "gradient", 1, 0)]
MORE = [
    ("pretraining", "nan", 3, 0),
    ("pretraining", "inf", 3, 1),
    ("pretraining", "gradient", 3, 2),
]
MORE += [("classification", "gradient", 3, 1), ("regression", "nan", 3, 2), ("pairs", "inf", 3, 0)]
EVERY = [(kind, fault, 3, m) for kind in KINDS for fault in FINDING for m in range(3)]
EVERY += [(kind, fault, 1, 0) for kind in KINDS for fault in FINDING]
REST = [pytest.param(*c, marks=slow) for c in EVERY if c not in ONE + MORE]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fault", "accumulation", "micro_batch"), [*ONE, *MORE, *REST])
def test_a_bad_step_stops_a_run_and_can_be_skipped_when_resumed(
    kind: str,
    fault: str,
    accumulation: int,
    micro_batch: int,
    train: Callable[..., dict[str, Any]],
    poison: Poison,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    poison(BAD, kind=fault, micro_batch=micro_batch)
    size = f"micro_batch_size={6 // accumulation}"
    with pytest.raises(
        UserError, match=f"{FINDING[fault]} in step 3, .* is .*step-00000002.ckpt"
    ) as e:
        train(kind, size)
    read = poison.batches if fault == "gradient" else [poison.batches[micro_batch]]
    letters = {c for micro in read for text in micro for c in text if c in LETTERS}
    assert _named(str(e.value), tmp_path) == letters
    assert not (tmp_path / "run" / "summary.json").exists()

    summary = train(kind, size, "resume=auto", SKIP)
    reported = capsys.readouterr()
    assert _named(reported.err, tmp_path) == letters
    assert "1 of 5 steps skipped" in reported.out
    assert (summary["step"], summary["skipped_steps"]) == (5, 1)
    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [row.get("skipped_steps") for row in rows] == [None, None, 1, 1, 1]
    assert math.isfinite(rows[2]["train_loss"]) == (fault == "gradient")
    before, skipped, after = (_state(tmp_path, step) for step in (2, 3, 4))
    assert _equal(before[0], skipped[0])
    assert _equal(before[1], skipped[1])
    assert not _equal(skipped[0], after[0])


SKIP = "guard.not_finite=skip"


@pytest.mark.parametrize(
    "bad",
    [*(pytest.param(b, marks=pytest.mark.slow) for b in ((1,), (5,))), (1, 2, 4), (2, 3, 4, 5)],
)
def test_a_run_goes_on_whichever_steps_are_skipped(
    bad: tuple[int, ...], train: Callable[..., dict[str, Any]], poison: Poison
) -> None:
    poison(*bad)
    summary = train("pretraining", SKIP)
    assert (summary["step"], summary["skipped_steps"]) == (5, len(bad))
    assert math.isfinite(summary["val_loss"])


@pytest.mark.parametrize("kind", ["pretraining", "classification"])
def test_a_run_that_skips_every_step_is_not_finished(
    kind: str, train: Callable[..., dict[str, Any]], poison: Poison, tmp_path: Path
) -> None:
    poison(*range(1, 6), kind="gradient")
    for resume in ([], ["resume=auto"], ["resume=auto"]):  # the third finds an ended run
        with pytest.raises(UserError, match=r"every step was skipped \(5\), so nothing is learned"):
            train(kind, SKIP, *resume)
        assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.slow
def test_ten_skipped_steps_in_a_row_stop_also_a_resumed_run(
    train: Callable[..., dict[str, Any]], poison: Poison, tmp_path: Path
) -> None:
    longer = ["trainer.max_steps=20", "validate_every=100", SKIP]
    poison(2, *range(4, 14))
    with pytest.raises(UserError, match="step 13, .* 10th step in a row .* those of step 3, have"):
        train("pretraining", *longer)
    poison(13, 15)  # steps 4 to 12 are saved as skipped
    with pytest.raises(UserError, match="10th step in a row"):
        train("pretraining", *longer, "resume=auto")
    poison(14, 15)
    summary = train("pretraining", *longer, "resume=auto")
    assert (summary["step"], summary["skipped_steps"]) == (20, 1 + 9 + 2)


def test_a_learning_rate_that_breaks_the_model_ends_a_run_that_skips(
    train: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    much = ["optimizer.lr=1e30", "scheduler.warmup_steps=1", "trainer.max_steps=30", SKIP]
    with pytest.raises(UserError, match="the 10th step in a row to be skipped"):
        train("pretraining", *much, "validate_every=100")
    much[0] = "optimizer.lr=1e35"
    with pytest.raises(UserError, match=r"the validation loss is (nan|inf) after step 5"):
        train("pretraining", *much, f"run_dir={tmp_path / 'validated'}")


def test_a_step_is_skipped_in_a_run_limited_by_time(
    train: Callable[..., dict[str, Any]], poison: Poison
) -> None:
    poison(2)
    summary = train("pretraining", SKIP, "trainer.max_minutes=1")
    assert (summary["step"], summary["skipped_steps"]) == (5, 1)


@pytest.mark.parametrize("fault", ["loss is nan", "validation loss is nan"])
def test_a_message_names_a_checkpoint_that_is_still_being_written(
    fault: str,
    train: Callable[..., dict[str, Any]],
    poison: Poison,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(contents: dict[str, Any], path: Path) -> None:
        time.sleep(1)
        save_checkpoint(contents, path)

    def spoil(module: TrainingModule) -> None:
        next(module.parameters()).data.fill_(math.nan)

    monkeypatch.setattr(checkpoint_io, "save_checkpoint", slow)
    if fault.startswith("validation"):
        monkeypatch.setattr(TrainingModule, "on_validation_start", spoil)
    else:
        poison(2)
    with pytest.raises(UserError, match=rf"the {fault} .* checkpoint is .*step-00000001.ckpt"):
        train("pretraining", "validate_every=2")


@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_that_is_not_finite_stops_and_names_the_last_checkpoint(
    kind: str, train: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(module: TrainingModule) -> None:
        next(module.parameters()).data.fill_(math.nan)

    monkeypatch.setattr(TrainingModule, "on_validation_start", spoil)
    with pytest.raises(UserError, match="after step 5: .* diverged; .*step-00000004.ckpt"):
        train(kind, SKIP)
