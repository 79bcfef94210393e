"""The share of tokens and time in which the modern recipe reaches the faithful one's loss.

    python benchmarks/modern_recipe.py [--minutes 30 --seeds 3 --shares 0.55 0.45 --out FOLDER
                                        --corpora docstrings NOVELS --threads N]

For each corpus and seed in turn, it trains a model of 10 M parameters with the faithful recipe, for
the steps that fit into `--minutes` (the speed is measured first, and the schedule planned for these
steps), then with the modern recipe for each of `--shares` of the steps, its schedule planned for
them. The loss is that of the whole validation split at the end, in nats a token. A share is reached
if the modern loss is at most the faithful one. The time is that of all steps, without validation.

Finished runs are kept in `--out`, and the same call goes on where it was stopped. Scaled down:
`--minutes 3 --n-layer 4 --n-embd 128 --n-head 4`.
"""

import argparse
from pathlib import Path

from benchmarks.common.options import parser
from benchmarks.common.report import figure, report
from benchmarks.curve import Point, corpus_settings, device_settings, run_curve

PROBE_STEPS = 24


def main() -> None:
    args = _arguments()
    rows, reached = [], []
    for number, corpus in enumerate(args.corpora):
        folder = args.out / f"{number}-{Path(corpus).stem}"
        common = [*corpus_settings(corpus), *device_settings(args.accelerator), *_shape(args)]
        steps = args.steps or _steps_in_time(folder, common, args)
        for seed in range(args.seeds):
            given = [*common, f"seed={seed}"]
            faithful = _run(folder / f"faithful-{seed}", given, steps, args)
            rows.append(_row(corpus, seed, "faithful", faithful, faithful))
            for share in args.shares:
                name = f"modern-{seed}-{share}"
                part = round(share * steps)
                modern = _run(folder / name, [*given, "recipe=modern"], part, args)
                rows.append(_row(corpus, seed, "modern", modern, faithful))
                reached.append(modern.loss <= faithful.loss)
            print(*rows[-1 - len(args.shares) :], sep="\n", flush=True)
    report(
        f"In what share of tokens and time is the faithful loss reached? {args.n_layer} layers of "
        f"{args.n_embd}, {f'{args.steps} steps' if args.steps else f'{args.minutes:g} minutes'}",
        ("", "seed", "recipe", "steps", "tokens", "share", "CPU s", "share", "seconds", "share",
         "loss", "difference"),
        rows,
        notes=[f"Reached by {sum(reached)} of {len(reached)} modern runs."],
    )  # fmt: skip


def _arguments() -> argparse.Namespace:
    options = parser(
        __doc__, n_layer=6, n_head=6, n_embd=384, block_size=256, vocab_size=4096,
        batch_tokens=8192, seeds=3,
    )  # fmt: skip
    options.add_argument("--minutes", type=float, default=30.0)
    options.add_argument("--steps", type=int, help="of the faithful recipe, instead of --minutes")
    options.add_argument("--shares", type=float, nargs="+", default=[0.55])
    options.add_argument("--corpora", nargs="+", default=["docstrings"])
    options.add_argument("--out", type=Path, default=Path("runs/modern_recipe"))
    options.add_argument("--accelerator", default="cpu", choices=("cpu", "cuda"))
    options.add_argument("--threads", type=int, help="default: torch's, one for each core")
    return options.parse_args()


def _shape(args: argparse.Namespace) -> list[str]:
    return [
        *(f"model.{key}={getattr(args, key)}" for key in ("n_layer", "n_head", "n_embd")),
        f"model.block_size={args.block_size}",
        f"tokenizer.vocab_size={args.vocab_size}",
        f"global_batch_tokens={args.batch_tokens}",
    ]


def _steps_in_time(folder: Path, common: list[str], args: argparse.Namespace) -> int:
    """Return the steps of the faithful recipe that fit into the time, from a short run's speed."""
    settings = [*common, f"trainer.max_steps={PROBE_STEPS}", f"validate_every={PROBE_STEPS // 2}"]
    middle, end = run_curve(
        folder / "probe",
        [*settings, "scheduler.warmup_steps=1", "trainer.limit_val_batches=1"],
        threads=args.threads,
    )
    # Over the second half alone, since the first step is slower.
    return max(2, round(args.minutes * 60 * (end.step - middle.step) / (end.wall - middle.wall)))


def _run(folder: Path, settings: list[str], steps: int, args: argparse.Namespace) -> Point:
    """Train for `steps` steps, with one validation at the end."""
    length = [f"trainer.max_steps={steps}", f"validate_every={steps}"]
    length.append(f"scheduler.warmup_steps={min(100, steps // 10)}")
    return run_curve(folder, [*settings, *length], threads=args.threads)[-1]


def _row(corpus: str, seed: int, recipe: str, run: Point, faithful: Point) -> tuple[str, ...]:
    return (
        Path(corpus).stem, str(seed), recipe, f"{run.step:,}",
        f"{run.tokens:,}", f"{run.tokens / faithful.tokens:.2f}",
        figure(run.cpu), f"{run.cpu / faithful.cpu:.2f}",
        figure(run.wall), f"{run.wall / faithful.wall:.2f}",
        f"{run.loss:.3f}", f"{run.loss - faithful.loss:+.3f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
