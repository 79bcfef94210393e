"""Contracts 4, 6 and 7 of a mixture of three sources: one process, two, and two resumed by one."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from webtext_gpt.training.loggers import read_metrics

REPOSITORY = Path(__file__).parents[2]
WORDS = {
    "animals": "the cat dog sees river small old bird hears and",
    "colours": "red green blue black white yellow pink",
    "numbers": "one two three four five six seven eight nine ten",
}


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    given = []
    for weight, (name, words) in enumerate(WORDS.items(), start=1):
        draw = random.Random(name)
        sentences = [" ".join(draw.choices(words.split(), k=9)) for _ in range(400)]
        (tmp_path / f"{name}.txt").write_text(". ".join(sentences))
        given.append(f"data.sources.{name}.path={tmp_path / name}.txt")
        given.append(f"data.sources.{name}.weight={weight / 10}")
    return [
        *("data=mixture", *given, "tokenizer.vocab_size=280", "scheduler=constant"),
        *("model.n_layer=2", "model.n_head=2", "model.n_embd=32", "model.block_size=32"),
        *("global_batch_tokens=256", "micro_batch_size=2", "trainer.log_every_n_steps=1"),
        *("trainer.accelerator=cpu", "trainer.precision=32-true", "validate_every=4"),
        *("callbacks.samples=null", "optimizer.lr=1e-2", f"cache_dir={tmp_path / 'cache'}"),
    ]


@pytest.mark.slow
def test_one_process_two_and_a_resumed_run_have_the_same_losses(
    overrides: list[str], tmp_path: Path
) -> None:
    def train(*arguments: str) -> list[dict[str, float]]:
        done = subprocess.run(
            [sys.executable, str(REPOSITORY / "train.py"), *arguments],
            check=False,
            timeout=600,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        run = next(a.partition("=")[2] for a in arguments if a.startswith(("run_dir=", "resume=")))
        return read_metrics(Path(run) / "metrics.csv")

    two = ["trainer.devices=2", "strategy=ddp"]
    one = train(*overrides, "trainer.max_steps=10", f"run_dir={tmp_path / 'one'}")
    both = train(*overrides, *two, "trainer.max_steps=10", f"run_dir={tmp_path / 'two'}")
    train(*overrides, *two, "trainer.max_steps=5", f"run_dir={tmp_path / 'resumed'}")
    resumed = train(f"resume={tmp_path / 'resumed'}", "trainer.devices=1", "trainer.max_steps=10")
    losses = ["train_loss", "val_loss", *(f"val_loss_{name}" for name in WORDS)]
    for rows in (both, resumed):
        assert [row["step"] for row in rows] == list(range(1, 11))
        for column in losses:
            due = range(1, 11) if column == "train_loss" else (4, 8, 10)
            for step in due:
                assert rows[step - 1][column] == pytest.approx(one[step - 1][column], abs=1e-5)
