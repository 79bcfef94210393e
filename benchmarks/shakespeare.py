"""Train characters of Shakespeare here and with nanoGPT: whole commands, in turn.

    git clone https://github.com/karpathy/nanoGPT
    python benchmarks/shakespeare.py nanoGPT tinyshakespeare.txt --rounds 3

The text is the one that nanoGPT's data/shakespeare_char/prepare.py downloads. Both train 4 layers
of width 128 for 2,000 steps of 12 x 64 characters: nanoGPT by the command of its README for CPUs,
uncompiled and with its evaluations, this project by `experiment=shakespeare_char`. The modern
recipe follows, once for 2,000 and once for 400 steps.

Times are from the call of a command to its end, imports included; both have their characters
encoded before. Losses, in nats per character, are over the whole last tenth of the text, in windows
of 64.
"""

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.common.machine import machine, sentence
from benchmarks.common.report import report_costs
from benchmarks.common.timing import alternate
from webtext_gpt.training.loggers import read_metrics

REPOSITORY = Path(__file__).parents[1]
BLOCK = 64
STEPS = 2000
NANOGPT = (
    *("train.py", "config/train_shakespeare_char.py", "--device=cpu", "--compile=False"),
    *("--eval_iters=20", "--log_interval=1", f"--block_size={BLOCK}", "--batch_size=12"),
    *("--n_layer=4", "--n_head=4", "--n_embd=128", "--dropout=0.0"),
)


def run(folder: Path, *arguments: str) -> None:
    """Run a Python script in a folder to its end; show what it printed if it fails."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def prepared(nanogpt: Path, text: Path, folder: Path) -> Path:
    """Copy nanoGPT into a folder and encode the text there; return the copy."""
    copy = folder / "nanoGPT"
    shutil.copytree(nanogpt, copy, ignore=shutil.ignore_patterns(".git"))
    data = copy / "data" / "shakespeare_char"
    shutil.copyfile(text, data / "input.txt")
    run(copy, "data/shakespeare_char/prepare.py")
    return copy


@torch.inference_mode()
def loss_of_nanogpt(copy: Path) -> float:
    """Return the loss of the checkpoint that nanoGPT has saved, over the whole last tenth."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", copy / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    saved = torch.load(copy / "out-shakespeare-char" / "ckpt.pt", weights_only=True)
    model = module.GPT(module.GPTConfig(**saved["model_args"]))
    model.load_state_dict(saved["model"])
    model.eval()
    ids = np.fromfile(copy / "data" / "shakespeare_char" / "val.bin", dtype=np.uint16)
    tokens = torch.from_numpy(ids.astype(np.int64))
    nats = 0.0
    for start in range(0, len(tokens) - 1, BLOCK):
        window = tokens[start : start + BLOCK + 1][None]
        _, loss = model(window[:, :-1], window[:, 1:])
        nats += loss.item() * (window.shape[1] - 1)
    return nats / (len(tokens) - 1)


def crossing(run_dir: Path, loss: float) -> str:
    """Return the first validated step of a run whose loss is at most the given one."""
    steps = [
        r["step"] for r in read_metrics(run_dir / "metrics.csv") if r.get("val_loss", 9) <= loss
    ]
    return f"{steps[0]:,.0f}" if steps else "none"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nanogpt", type=Path, help="folder with nanoGPT's train.py")
    parser.add_argument("text", type=Path, help="the text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    text = asked.text.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = prepared(asked.nanogpt, text, folder)

        def ours(run_name: str, experiment: str, *arguments: str) -> Callable[[], None]:
            def train() -> None:
                shutil.rmtree(folder / run_name, ignore_errors=True)
                run(
                    REPOSITORY,
                    *("train.py", f"experiment={experiment}", f"data.path={text}"),
                    *(f"cache_dir={folder}/cache", f"run_dir={folder / run_name}", *arguments),
                )

            return train

        steps = f"trainer.max_steps={asked.steps}"
        lengths = (f"--max_iters={asked.steps}", f"--lr_decay_iters={asked.steps}")
        evaluations = f"--eval_interval={min(250, asked.steps)}"  # a checkpoint follows each
        sides = {
            "webtext-gpt": ours("faithful", "shakespeare_char", steps),
            "nanoGPT": lambda: run(copy, *NANOGPT, *lengths, evaluations),
            "modern recipe": ours("modern", "speedrun_shakespeare_char", steps),
            "modern recipe, a fifth of the steps": ours(
                "short", "speedrun_shakespeare_char", f"trainer.max_steps={asked.steps // 5}"
            ),
        }
        ours("warm", "shakespeare_char", "trainer.max_steps=1", "scheduler.warmup_steps=0")()
        costs = alternate(sides, rounds=asked.rounds, warm_up=0)
        theirs = loss_of_nanogpt(copy)
        losses = [
            json.loads((folder / run_name / "summary.json").read_text())["val_loss"]
            for run_name in ("faithful", "modern", "short")
        ]
        losses.insert(1, theirs)
        print(sentence(machine()))
        report_costs(
            "How long does nanoGPT's character model take, from the call to the prompt?",
            costs,
            more={"loss": {n: f"{v:.4f}" for n, v in zip(sides, losses, strict=True)}},
            notes=[
                f"The modern recipe first validates below nanoGPT's {theirs:.4f} at step "
                f"{crossing(folder / 'modern', theirs)} of its {asked.steps:,} (by samples of "
                "15,360 characters every 250 steps), and at step "
                f"{crossing(folder / 'short', theirs)} of {asked.steps // 5:,}."
            ],
        )


if __name__ == "__main__":
    main()
