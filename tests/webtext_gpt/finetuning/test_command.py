"""One call of `finetune.py`: what it imports, and how often it reads and makes a model."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model, save_model
from webtext_gpt.finetuning.model import add_head
from webtext_gpt.model import GPT

REPOSITORY = Path(__file__).parents[3]

CALL = """
import runpy, sys
sys.argv = ["finetune.py", *sys.argv[1:]]
try:
    runpy.run_path("finetune.py", run_name="__main__")
finally:
    print(*{name.partition(".")[0] for name in sys.modules})
"""


def _imported(*arguments: str) -> set[str]:
    """Return the packages that a call imports."""
    command = [sys.executable, "-c", CALL, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.splitlines()[-1].split())


def test_help_does_not_import_torch() -> None:
    imported = _imported("--help")
    assert "pydantic" in imported
    assert not imported & {"torch", "lightning", "transformers", "datasets"}


def test_a_separator_that_is_not_a_comma_is_named_by_the_program(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    """The message of the reader, to which no key is added, ends the program as it should."""
    (tmp_path / "a.csv").write_text("\ufeffId;Lead text;Section\n1;a b;x\n2;c d;y\n")
    given = [f"checkpoint={small_checkpoint}", "task=file", f"task.train={tmp_path / 'a.csv'}"]
    command = [sys.executable, "finetune.py", *given, f"run_dir={tmp_path / 'run'}"]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, check=False, timeout=120
    )
    assert result.returncode == 1
    assert "separated by ';', set task.separator=semicolon" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "written", "unused"),
    [
        ("predict", "predictions.csv", {"torchmetrics", "transformers", "matplotlib"}),
        ("evaluate", "evaluation/report.md", set()),  # torchmetrics imports transformers
    ],
)
def test_a_saved_classifier_is_used_without_lightning(
    key: str, written: str, unused: set[str], small_checkpoint: Path, tmp_path: Path
) -> None:
    body, tokenizer = load_language_model(small_checkpoint)
    head = {"pairs": False, "both_orders": False, "dropout": 0.1}
    save_model(*add_head(body, tokenizer, ("no", "yes"), **head), tmp_path / "classifier.ckpt")
    file, run = tmp_path / "texts.csv", tmp_path / "run"
    file.write_text("text,label\nthe cat,yes\na dog,no\n")
    checkpoint = f"checkpoint={tmp_path / 'classifier.ckpt'}"
    imported = _imported(checkpoint, "task=file", f"{key}={file}", f"run_dir={run}", "device=cpu")
    assert (run / written).exists()
    assert "torch" in imported
    assert not imported & {"lightning", "deepspeed", "datasets", "peft", *unused}


def test_training_predicting_and_evaluating_load_each_checkpoint_once(
    finetune: Callable[..., dict], animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call that trains, labels and measures: the pretrained model, and the best checkpoint."""
    made, read = [], []
    make, torch_load = GPT.__init__, torch.load
    monkeypatch.setattr(GPT, "__init__", lambda *a, **k: (made.append(a), make(*a, **k))[1])
    monkeypatch.setattr(torch, "load", lambda *a, **k: (read.append(a), torch_load(*a, **k))[1])
    file = animals / "validation.csv"
    summary = finetune("trainer.max_steps=2", f"predict={file}", f"evaluate={file}")
    assert (len(made), len(read)) == (2, 2)
    run = tmp_path / "run"
    assert len((run / "predictions.csv").read_text().splitlines()) == 34
    figures = json.loads((run / "evaluation" / "summary.json").read_text())
    assert figures["accuracy"] == summary["val_accuracy"] == summary["accuracy"]
