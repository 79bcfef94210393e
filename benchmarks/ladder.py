"""Train a ladder of models, fit the scaling law of `size=` and `budget=`, and draw it.

    python benchmarks/ladder.py runs/ladder

Each rung is a model of `recipe=modern` of one depth, trained by train.py on the docstrings for a
number of tokens, with the shape, batch, rates and warm-up that the laws in
`webtext_gpt.dial.laws` give. All score the same held-out windows. A finished rung is not repeated,
so that the same command continues an interrupted ladder; delete the folder after the recipe has
changed. The law is fitted to all rungs but the largest model, whose loss it predicts. Written are
docs/ladder.csv and docs/ladder.png; the script prints the constants of `webtext_gpt.dial.fitted`.

    python benchmarks/ladder.py runs/ladder --fit-only      from docs/ladder.csv alone
    python benchmarks/ladder.py runs/ladder --times 4 --threads 2 compile=true
"""

import argparse
import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

from webtext_gpt.dial.laws import Shape, batch_tokens, embedding_lr, warmup_steps
from webtext_gpt.settings.composition import compose

REPOSITORY = Path(__file__).parents[1]
BLOCK_SIZE = 256
MICRO_BATCH = 4
"""Largest micro-batch, in sequences; a power of two, as are all divisors that take its place."""
VALIDATION_SEQUENCES = 256
RUNGS = {2: (1, 2, 4, 8), 3: (1, 2, 4), 4: (1, 2), 5: (1,), 6: (2,)}
"""Training tokens in units of 2^20, by depth."""
COLUMNS = ("depth", "size", "parameters", "tokens", "batch_tokens", "steps", "val_loss", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rungs", nargs="+", type=_rung, default=list(RUNGS.items()))
    options, more = parser.parse_known_args()
    rows = []
    for depth, lengths in options.rungs:
        for length in lengths:
            tokens = round(length * 2**20)
            row = _train(options.folder, Shape(depth), tokens, options.threads, more)
            print("  ".join(f"{name} {row[name]:g}" for name in COLUMNS), flush=True)
            rows.append(row)
    with (options.folder / "ladder.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _rung(text: str) -> tuple[int, list[float]]:
    """Read `DEPTH:LENGTH,LENGTH,...`, with lengths in units of 2^20 tokens."""
    depth, _, lengths = text.partition(":")
    return int(depth), [float(length) for length in lengths.split(",")]


def _train(
    folder: Path, shape: Shape, tokens: int, threads: int, more: list[str]
) -> dict[str, float]:
    """Train one rung, unless it is finished, and return its figures."""
    run = folder / f"{shape.n_layer}-{tokens}"
    batch = batch_tokens(tokens, BLOCK_SIZE)
    steps = round(tokens / batch)
    micro_batch = math.gcd(batch // BLOCK_SIZE, MICRO_BATCH)
    if not (run / "summary.json").exists():
        adamw_lr = compose("train", {"recipe": "modern"})["optimizer"].get("adamw_lr", 4e-3)
        command = [
            *(sys.executable, str(REPOSITORY / "train.py"), "recipe=modern", f"run_dir={run}"),
            *(f"model.n_layer={shape.n_layer}", f"model.n_head={shape.n_head}"),
            *(f"model.n_embd={shape.n_embd}", f"model.block_size={BLOCK_SIZE}"),
            *(f"global_batch_tokens={batch}", f"trainer.max_steps={steps}"),
            f"optimizer.adamw_lr={embedding_lr(adamw_lr, shape.n_embd)}",
            f"scheduler.warmup_steps={warmup_steps(steps)}",
            *(f"micro_batch_size={micro_batch}", f"validate_every={steps}"),
            f"trainer.limit_val_batches={VALIDATION_SEQUENCES // micro_batch}",
            *("callbacks.checkpoints=null", "callbacks.samples=null", "trainer.devices=1"),
            *more,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    summary = json.loads((run / "summary.json").read_text())
    return {
        **{"depth": shape.n_layer, "size": shape.size, "parameters": summary["parameters"]},
        **{"tokens": summary["tokens"], "batch_tokens": batch, "steps": summary["step"]},
        **{"val_loss": summary["val_loss"], "seconds": summary["seconds"]},
    }


if __name__ == "__main__":
    main()
