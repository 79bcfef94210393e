"""Train a ladder of models, fit the loss law of `size=` and `budget=`, and draw it.

    python benchmarks/ladder.py runs/ladder [--threads 2] [compile=true ...]
    python benchmarks/ladder.py runs/ladder --micro-batch 64 trainer.accelerator=cuda

Each rung is a model of `recipe=modern` of one depth, trained by train.py on the docstrings for a
number of tokens, with the shape, batch, rates and warm-up of `webtext_gpt.dial.laws`. All score the
same held-out windows. A finished rung is not repeated, so that the same command continues an
interrupted ladder; delete the folder after the recipe has changed. Arguments `key=value` go to
every run. The law is fitted to all runs but those of the largest model, whose loss it predicts.

It writes docs/pictures/ladder.csv, docs/pictures/ladder.png and the constants,
src/webtext_gpt/dial/fitted.py. `--fit-only` makes the last two from the first.
"""

import argparse
import csv
import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from webtext_gpt.dial.fit import fit
from webtext_gpt.dial.laws import LossLaw, Shape, batch_tokens, embedding_lr, warmup_steps
from webtext_gpt.pictures import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    End,
    headline,
    label_ends,
    picture,
)
from webtext_gpt.settings.composition import compose

REPOSITORY = Path(__file__).parents[1]
PICTURE = REPOSITORY / "docs/pictures/ladder.png"
CSV = PICTURE.with_suffix(".csv")
CONSTANTS = REPOSITORY / "src/webtext_gpt/dial/fitted.py"
BLOCK_SIZE = 256
VALIDATION_SEQUENCES = 256
RUNGS = {
    2: (1, 2, 4, 8),
    **dict.fromkeys((3, 4, 5), (1, 2, 4, 8, 16)),
    6: (2, 4, 8, 16),
    8: (4, 8, 16),
}
"""Training tokens in units of 2^20, by depth. Shorter runs have fewer than 256 steps."""
COLUMNS = ("depth", "size", "parameters", "tokens", "batch_tokens", "steps", "val_loss", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="folder of the runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--rungs", nargs="+", type=_rung, default=list(RUNGS.items()), metavar="DEPTH:LENGTH,..."
    )
    parser.add_argument("--micro-batch", type=int, default=4, help="largest, in sequences")
    parser.add_argument("--fit-only", action="store_true")
    options, more = parser.parse_known_args()
    if not options.fit_only:
        if options.folder is None:
            parser.error("name the folder of the runs, or give --fit-only")
        _train_all(options.folder, options.rungs, options.threads, options.micro_batch, more)
    with CSV.open(newline="") as stream:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    fitted, held_out = split(rows)
    law = fit(*([row[name] for row in fitted] for name in ("size", "tokens", "val_loss")))
    for row in rows:
        predicted = law.loss(row["size"], row["tokens"])
        print(
            f"depth {row['depth']:2.0f}  {row['size']:10,.0f} weights  {row['tokens']:12,.0f} "
            f"tokens  loss {row['val_loss']:.4f}  law {predicted:.4f}  "
            f"{predicted / row['val_loss'] - 1:+.2%}{'  held out' if row in held_out else ''}"
        )
    CONSTANTS.write_text(_constants(law, rows, fitted))
    _draw(law, fitted, held_out)
    print(f"{law}\nwritten: {CONSTANTS}, {PICTURE}")


def split(rows: list[dict[str, float]]) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Return the runs that the law is fitted to, and those of the largest model."""
    largest = max(row["size"] for row in rows)
    return (
        [row for row in rows if row["size"] < largest],
        [row for row in rows if row["size"] == largest],
    )


def _train_all(
    folder: Path,
    rungs: list[tuple[int, Sequence[float]]],
    threads: int,
    micro_batch: int,
    more: list[str],
) -> None:
    """Train every rung and write docs/pictures/ladder.csv."""
    rows = []
    for depth, lengths in rungs:
        for length in lengths:
            run = Rung(Shape(depth), round(length * 2**20), micro_batch)
            rows.append(_train(folder / run.name, run, threads, more))
            print("  ".join(f"{name} {rows[-1][name]:g}" for name in COLUMNS), flush=True)
    with CSV.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _rung(text: str) -> tuple[int, list[float]]:
    """Read `DEPTH:LENGTH,LENGTH,...`, with lengths in units of 2^20 tokens."""
    depth, _, lengths = text.partition(":")
    return int(depth), [float(length) for length in lengths.split(",")]


@dataclasses.dataclass(frozen=True)
class Rung:
    """One run of the ladder: a shape, its training tokens, the largest micro-batch in sequences."""

    shape: Shape
    tokens: int
    largest_micro_batch: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.shape.n_layer}-{self.tokens}"

    @property
    def batch(self) -> int:
        """Global batch in tokens."""
        return batch_tokens(self.tokens, BLOCK_SIZE)

    def settings(self) -> list[str]:
        """Return the arguments of train.py."""
        steps = round(self.tokens / self.batch)
        micro_batch = math.gcd(self.batch // BLOCK_SIZE, self.largest_micro_batch)
        adamw_lr = compose("train", {"recipe": "modern"})["optimizer"].get("adamw_lr", 4e-3)
        return [
            *("recipe=modern", f"model.n_layer={self.shape.n_layer}"),
            *(f"model.n_head={self.shape.n_head}", f"model.n_embd={self.shape.n_embd}"),
            *(f"model.block_size={BLOCK_SIZE}", f"global_batch_tokens={self.batch}"),
            f"optimizer.adamw_lr={embedding_lr(adamw_lr, self.shape.n_embd)}",
            *(f"trainer.max_steps={steps}", f"scheduler.warmup_steps={warmup_steps(steps)}"),
            *(f"micro_batch_size={micro_batch}", f"validate_every={steps}"),
            f"trainer.limit_val_batches={VALIDATION_SEQUENCES // micro_batch}",
            *("callbacks.checkpoints=null", "callbacks.samples=null", "trainer.devices=1"),
        ]


def _train(run: Path, rung: Rung, threads: int, more: list[str]) -> dict[str, float]:
    """Train one rung, unless it is finished, and return its figures."""
    if not (run / "summary.json").exists():
        command = [sys.executable, str(REPOSITORY / "train.py"), f"run_dir={run}"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(
            [*command, *rung.settings(), *more],
            check=True,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
    summary = json.loads((run / "summary.json").read_text())
    return {
        **{"depth": rung.shape.n_layer, "size": rung.shape.size},
        **{"parameters": summary["parameters"], "tokens": summary["tokens"]},
        **{"batch_tokens": rung.batch, "steps": summary["step"]},
        **{"val_loss": summary["val_loss"], "seconds": summary["seconds"]},
    }


def _constants(law: LossLaw, rows: list[dict[str, float]], fitted: list[dict[str, float]]) -> str:
    """Return the source of `webtext_gpt.dial.fitted` with the new constants."""
    text = CONSTANTS.read_text()
    depths = [int(row["depth"]) for row in rows]
    numbers = ", ".join(f"{value:.6g}" for value in dataclasses.astuple(law))
    for pattern, replacement in (
        (r"LOSS = LossLaw\(.*?\)", f"LOSS = LossLaw({numbers})"),
        (r"FEWEST_TOKENS = [\d_]+", f"FEWEST_TOKENS = {min(row['tokens'] for row in fitted):_.0f}"),
        (
            r"SMALLEST, LARGEST = .*",
            f"SMALLEST, LARGEST = Shape({min(depths)}), Shape({max(depths)})",
        ),
    ):
        text, n_found = re.subn(pattern, replacement, text)
        if n_found != 1:
            raise ValueError(f"{CONSTANTS} has {n_found} times {pattern}")
    return text


def _draw(law: LossLaw, fitted: list[dict[str, float]], held_out: list[dict[str, float]]) -> None:
    """Draw loss over training tokens: a curve for each depth, and the runs as points."""
    rows = fitted + held_out
    lengths = [row["tokens"] for row in rows]
    tokens = np.geomspace(min(lengths) / 1.5, 2 * max(lengths)).tolist()
    largest_error = max(
        abs(law.loss(row["size"], row["tokens"]) / row["val_loss"] - 1) for row in held_out
    )
    with picture(PICTURE, height=4.6) as figure:
        headline(
            figure,
            f"The law of the smaller models misses the held-out one by {largest_error:.1%} at most",
        )
        axes = figure.add_subplot()
        ends = []
        colors = cycle((SKY, GREEN, ORANGE, PURPLE, BLUE))
        for depth in sorted({int(row["depth"]) for row in rows}):
            is_held_out = depth == int(held_out[0]["depth"])
            shape, color = Shape(depth), VERMILION if is_held_out else next(colors)
            losses = [law.loss(shape.size, n) for n in tokens]
            axes.plot(tokens, losses, "--" if is_held_out else "-", color=color, lw=1)
            own = [row for row in rows if row["depth"] == depth]
            points = [row["tokens"] for row in own], [row["val_loss"] for row in own]
            marker, size = ("*", 11) if is_held_out else ("o", 5)
            axes.plot(*points, marker, markersize=size, color=color)
            label = f"N = {shape.size / 1e6:.2f} M{', held out' if is_held_out else ''}"
            ends.append(End(losses[-1], label, color))
        size_term = rf"{law.size_factor:.3g}\,/\,N^{{{law.size_exponent:.2f}}}"
        tokens_term = rf"{law.tokens_factor:.3g}\,/\,D^{{{law.tokens_exponent:.2f}}}"
        formula = f"$L = {law.irreducible:.2f} + {size_term} + {tokens_term}$"
        axes.set_title(f"{formula}, $N$: weights in the blocks", parse_math=True)
        axes.set_xscale("log")
        axes.set_xlim(tokens[0], tokens[-1])
        axes.set_xticks([2.0**power * 1e6 for power in range(6)])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:.0f} M")
        axes.minorticks_off()
        axes.set_xlabel("training tokens D")
        axes.set_ylabel("validation loss (nats per token)")
        label_ends(axes, ends)


if __name__ == "__main__":
    main()
