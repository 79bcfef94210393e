"""Gain of each option of the modern recipe, at equal tokens and at equal time.

    python benchmarks/ablations.py [--out FOLDER --corpora docstrings NOVELS --seeds 3 --steps 300
                                    --options muon rotary ... --jobs 2 --equal-time]

Trains a small model with the faithful recipe; with each option alone in addition; with the modern
recipe; and with the modern recipe without each option (or with it, if the recipe does not have it).
Differences of the validation loss are paired by seed: to the faithful run for an option alone and
for the modern recipe, to the modern one for a recipe without an option. Below 0 is better.

- Equal tokens: the losses at the end.
- Equal time: the loss when a run has taken the CPU seconds of its base with the same seed,
  interpolated between two validations. The schedule is planned for the tokens: a slower run is read
  before its learning rate has come down, so its figure is too high, and a faster one is read at its
  end. `--equal-time` trains every variant again, for the steps that fit into the faithful run's
  time, and with the schedule planned for them.

With `--accelerator cuda` the losses come from a GPU, in fp32, and the CPU seconds of a step from a
run of `TIMED_STEPS` steps of each variant on a core of this machine.

Each run has one thread on one core of its own, and `--jobs` run at a time. All variants of one seed
run before the next seed, so the table of an interrupted call can be written with fewer `--seeds`.
Finished runs are kept in `--out`, and the same call continues where it was stopped; give another
folder after a change of the code. Writes `ablations.csv` (a row for each run) and `ablations.md`.
"""

import argparse
import csv
import itertools
import math
import queue
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.common.options import parser
from benchmarks.common.report import markdown_table, report
from benchmarks.curve import (
    Point,
    available_cores,
    corpus_settings,
    device_settings,
    run_curve,
)
from webtext_gpt.machine import cores


class Option(NamedTuple):
    """An option: the settings that switch it on, and those that switch it off."""

    on: tuple[str, ...]
    off: tuple[str, ...]
    in_recipe: bool = True


OPTIONS = {
    "muon": Option(("optimizer=muon",), ("optimizer=adamw",)),
    "rotary": Option(("model.positions=rotary",), ("model.positions=learned",)),
    "relu_squared": Option(("model.activation=relu_squared",), ("model.activation=gelu_tanh",)),
    "rms_norm": Option(
        ("model.norm_type=rms", "model.norm_gains=false"),
        ("model.norm_type=layer", "model.norm_gains=true"),
    ),
    "qk_norm": Option(("model.qk_norm=true",), ("model.qk_norm=false",)),
    "zero_init": Option(
        ("model.zero_init_projections=true",), ("model.zero_init_projections=false",)
    ),
    "residual_scalars": Option(
        ("model.residual_scalars=true",), ("model.residual_scalars=false",), in_recipe=False
    ),
    "value_embeddings": Option(
        ("model.value_embeddings=true",), ("model.value_embeddings=false",), in_recipe=False
    ),
    "untied": Option(
        ("model.tied_embeddings=false",), ("model.tied_embeddings=true",), in_recipe=False
    ),
    "soft_cap": Option(
        ("model.logits_soft_cap=15",), ("model.logits_soft_cap=null",), in_recipe=False
    ),
}
"""`in_recipe` says whether conf/recipe/modern.yaml has it, which a test compares."""

TIMED_STEPS = 12
MODERN = "modern"
FAITHFUL = "faithful"
NOTE = (
    "Validation loss in nats a token, mean and standard error over the seeds. Differences are "
    f"paired by seed: of `{FAITHFUL} + X` and `{MODERN}` to `{FAITHFUL}`, of `{MODERN} - X` and "
    f"`{MODERN} + X` to `{MODERN}`; below 0 is better. The time is in CPU seconds, over that of "
    "the same base."
)


def variants(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the settings of every variant, by its name."""
    found = {FAITHFUL: (), MODERN: ("recipe=modern",)}
    for name in names:
        option = OPTIONS[name]
        found[f"{FAITHFUL} + {name}"] = option.on
        sign, change = ("-", option.off) if option.in_recipe else ("+", option.on)
        found[f"{MODERN} {sign} {name}"] = ("recipe=modern", *change)
    return found


def base_of(variant: str) -> str:
    """Return the variant that one is compared with."""
    return MODERN if variant.startswith(f"{MODERN} ") else FAITHFUL


def at_time(curve: Sequence[Point], cpu: float) -> float:
    """Return the loss of a run after `cpu` CPU seconds, or at its end if that was earlier.

    Between two validations, the loss is interpolated; before the first, it is that of the first.
    """
    for one, other in itertools.pairwise(curve):
        if cpu < other.cpu:
            share = max(0.0, (cpu - one.cpu) / (other.cpu - one.cpu))
            return one.loss + share * (other.loss - one.loss)
    return curve[-1].loss


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error; nan for the error of one value."""
    error = math.nan
    if len(values) > 1:
        error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), error


def shown(values: Sequence[float], form: str) -> str:
    """Return a mean with its standard error."""
    mean, error = mean_and_error(values)
    return f"{mean:{form}}" + ("" if math.isnan(error) else f" ± {error:.3f}")


class Row(NamedTuple):
    """A run, as a row of the CSV; losses in nats a token."""

    corpus: str
    variant: str
    seed: int
    steps: int
    tokens: int
    cpu_seconds: float
    loss: float
    loss_at_equal_time: float


COLUMNS = ("", "equal tokens", "difference", "equal time", "difference", "time")


def main() -> None:
    args = _arguments()
    rows: list[Row] = []
    page = ""
    for number, corpus in enumerate(args.corpora):
        name = Path(corpus).stem
        found = _measure(corpus, args.out / f"{number}-{name}", args)
        rows += found
        question = (
            f"What does each option give? {name}, {args.n_layer} layers of {args.n_embd}, "
            f"{args.steps} steps of {args.batch_tokens:,} tokens, {args.seeds} seeds"
        )
        report(question, COLUMNS, table(found), notes=[NOTE])
        page += f"**{question}**\n\n{markdown_table(COLUMNS, table(found))}\n{NOTE}\n"
        (args.out / "ablations.md").write_text(page, encoding="utf-8")
        with (args.out / "ablations.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(Row._fields)
            writer.writerows(rows)


def _arguments() -> argparse.Namespace:
    options = parser(
        __doc__, n_layer=4, n_head=4, n_embd=128, block_size=256, vocab_size=4096, steps=300,
        batch_tokens=4096, seeds=3, validation_batches=10, jobs=cores(),
    )  # fmt: skip
    options.add_argument("--out", type=Path, default=Path("runs/ablations"))
    options.add_argument("--corpora", nargs="+", default=["docstrings"])
    options.add_argument("--options", nargs="+", default=list(OPTIONS), choices=list(OPTIONS))
    options.add_argument("--accelerator", default="cpu", choices=("cpu", "cuda"))
    options.add_argument("--equal-time", action="store_true")
    args = options.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def _measure(corpus: str, folder: Path, args: argparse.Namespace) -> list[Row]:
    """Train every variant on one corpus."""
    chosen = variants(args.options)
    free: queue.Queue[int] = queue.Queue()
    for core in available_cores()[: args.jobs]:
        free.put(core)

    def train(variant: str, seed: int, steps: int) -> list[Point]:
        core = free.get()
        try:
            name = f"{variant.replace(' ', '')}-{seed}-{steps}"
            settings = [
                *(*corpus_settings(corpus), *device_settings(args.accelerator)),
                *(*_run_settings(args, steps), f"seed={seed}"),
            ]
            curve = run_curve(folder / name, [*settings, *chosen[variant]], core=core)
        finally:
            free.put(core)
        print(f"{corpus}, {variant}, seed {seed}, {steps} steps: {curve[-1].loss:.3f}", flush=True)
        return curve

    def train_all(steps: Mapping[str, int]) -> dict[tuple[str, int], list[Point]]:
        """Train each variant for its steps with every seed."""
        jobs = [(variant, seed) for seed in range(args.seeds) for variant in chosen]
        with ThreadPoolExecutor(args.jobs) as pool:
            begun = {job: pool.submit(train, *job, steps[job[0]]) for job in jobs}
        return {job: curve.result() for job, curve in begun.items()}

    train(FAITHFUL, 0, args.steps)  # by itself, since it prepares the text and the tokenizer
    curves = train_all(dict.fromkeys(chosen, args.steps))
    if args.accelerator != "cpu":
        seconds = {variant: _cpu_seconds(args, variant, own) for variant, own in chosen.items()}
        curves = {
            job: [point._replace(cpu=point.step * seconds[job[0]]) for point in curve]
            for job, curve in curves.items()
        }
    if args.equal_time:
        faithful = _time(curves, FAITHFUL)
        planned = {v: round(args.steps * faithful / _time(curves, v)) for v in chosen}
        in_time = {job: curve[-1].loss for job, curve in train_all(planned).items()}
    else:
        in_time = {
            (variant, seed): at_time(curve, curves[base_of(variant), seed][-1].cpu)
            for (variant, seed), curve in curves.items()
        }
    return [
        Row(
            Path(corpus).stem,
            *job,
            curve[-1].step,
            curve[-1].tokens,
            curve[-1].cpu,
            curve[-1].loss,
            in_time[job],
        )
        for job, curve in curves.items()
    ]


def _cpu_seconds(args: argparse.Namespace, variant: str, own: Sequence[str]) -> float:
    """Return the CPU seconds of a variant's step on one core of this machine."""
    settings = [*corpus_settings(args.corpora[0]), *device_settings("cpu"), *own]
    settings += [*_run_settings(args, TIMED_STEPS), "trainer.limit_val_batches=1"]
    first, *_, last = run_curve(args.out / "times" / variant.replace(" ", ""), settings)
    return (last.cpu - first.cpu) / (last.step - first.step)


def _run_settings(args: argparse.Namespace, steps: int) -> list[str]:
    return [
        *(f"model.{key}={getattr(args, key)}" for key in ("n_layer", "n_head", "n_embd")),
        f"model.block_size={args.block_size}",
        f"tokenizer.vocab_size={args.vocab_size}",
        f"global_batch_tokens={args.batch_tokens}",
        f"trainer.max_steps={steps}",
        f"scheduler.warmup_steps={steps // 10}",
        f"validate_every={max(1, steps // 6)}",
        f"trainer.limit_val_batches={args.validation_batches}",
    ]


def _time(curves: Mapping[tuple[str, int], Sequence[Point]], variant: str) -> float:
    """Return the median CPU seconds of a variant's runs."""
    return statistics.median(curve[-1].cpu for job, curve in curves.items() if job[0] == variant)


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Return the table's cells: by variant the means over the seeds, and the differences."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.variant, []).append(row)
    cells = []
    for name, some in by_name.items():
        base = by_name[base_of(name)]
        line = [name]
        for key in ("loss", "loss_at_equal_time"):
            ours = [getattr(row, key) for row in some]
            theirs = [row.loss for row in base]  # at its end, which is the equal time too
            line.append(shown(ours, ".3f"))
            differences = [a - b for a, b in zip(ours, theirs, strict=True)]
            line.append("" if name == FAITHFUL else shown(differences, "+.3f"))
        times = [a.cpu_seconds / b.cpu_seconds for a, b in zip(some, base, strict=True)]
        cells.append([*line, f"{statistics.median(times):.2f}"])
    return cells


if __name__ == "__main__":
    main()
