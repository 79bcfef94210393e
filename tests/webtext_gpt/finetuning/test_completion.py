"""Completions are learned, and answers to prompts are scored."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.finetuning.command import run_command


def test_completions_are_learned_and_scored(
    compose: Callable[..., Any], small_finetuning: list[str], tmp_path: Path
) -> None:
    rows = [{"prompt": f"say {word}", "completion": word} for word in ("cat", "dog", "river") * 12]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = [
        *(s for s in small_finetuning if not s.startswith("task")),
        *("task=pairs", f"task.train={file}", f"task.validation={file}"),
        *("trainer.max_steps=150", "max_new_tokens=8", "validate_every=50"),
    ]
    summary = run_command(compose("finetune", *overrides))
    assert summary["val_loss"] < 0.7  # ln 2; 5.6 for a vocabulary of 280 that knows nothing
    assert summary["val_rouge1"] > 90
    answers = (tmp_path / "run" / "validation" / "answers.jsonl").read_text().splitlines()
    assert json.loads(answers[0])["prompt"] == "say cat\n"
    model, _ = load_language_model(tmp_path / "run")  # a language model like any other
    assert model.config.vocab_size == 280
