"""Fine-tuning with several seeds: one run per seed, then the mean and deviation of its figures."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from webtext_gpt.commands import shell_command
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.evaluation.tables import aligned
from webtext_gpt.finetuning.baseline import NAME as BASELINE
from webtext_gpt.finetuning.run import finetune
from webtext_gpt.settings import saved
from webtext_gpt.settings.finetune import Finetune
from webtext_gpt.settings.reading import read
from webtext_gpt.settings.run import AUTO
from webtext_gpt.terminal import quoted, say
from webtext_gpt.training.distributed.devices import find_devices
from webtext_gpt.training.run_folder import (
    SUMMARY,
    read_summary,
    refuse_other_run,
    save_summary,
)
from webtext_gpt.training.run_lock import WAIT_SECONDS, RunLock
from webtext_gpt.training.summary import Summary

MAY_DIFFER = ("seeds", "seed", "resume", "run_dir", "predict", "evaluate", "out")
"""Settings that may change when the seeds are resumed."""


def finetune_seeds(settings: Finetune) -> Summary:
    """Fine-tune once per seed of `settings.seeds`, each in a separate folder.

    Args:
        settings: with `resume`, finished seeds are skipped and unfinished ones resumed, with the
            same settings.

    Returns:
        The contents of `summary.json`: mean and deviation of every figure, and each seed's summary.

    Raises:
        UserError: see `finetune`; or a seed is named twice, several devices are asked for, the
            folder's seeds were started with other settings, or another process trains them.
        Stopped: training was interrupted; its state is saved.
    """
    seeds = settings.seeds or []
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds={seeds} must name each seed once, as seeds=[0,1,2]")
    trainer = settings.trainer
    if find_devices(trainer.accelerator, trainer.devices, trainer.num_nodes).count > 1:
        raise UserError(
            "seeds=[...] trains with one process at a time; set trainer.devices=1, or start each "
            "run by itself with seed=... and run_dir=..."
        )
    folder = Path(settings.run_dir)
    resumes = settings.resume and saved.holds_run(folder)
    if not resumes:
        refuse_other_run(folder)
    with RunLock(folder, WAIT_SECONDS if settings.resume == AUTO else 0.0):
        if resumes:
            _refuse_other_settings(settings, folder)
        else:
            refuse_other_run(folder)  # another process may have begun one meanwhile
        return _finetune_each(settings, seeds, folder)


def _finetune_each(settings: Finetune, seeds: Sequence[int], folder: Path) -> Summary:
    saved.save(settings, folder)
    summaries: dict[int, Summary] = {}
    for seed in seeds:
        run = folder / f"seed-{seed}"
        if not read_summary(run):
            say(f"\n--- seed {seed}")
            changes = {"seed": seed, "seeds": None, "resume": AUTO, "run_dir": str(run)}
            _finetune_one(settings.model_copy(update=changes), folder)
        summaries[seed] = read_summary(run)
    figures = mean_and_deviation(summaries)
    counts = {name for name, value in summaries[seeds[0]].items() if isinstance(value, int)}
    shown = [
        name
        for name in figures
        if name.startswith(("val_", "test_")) and name not in counts and BASELINE not in name
    ]
    say(f"\n{seeds_table(summaries, shown)}\n\nwritten  {quoted(folder / SUMMARY)}")
    summary = {"mean_and_deviation": figures, "seeds": {str(s): v for s, v in summaries.items()}}
    save_summary(summary, folder)
    return summary


def mean_and_deviation(
    summaries: Mapping[int, Mapping[str, object]],
) -> dict[str, dict[str, float]]:
    """Return mean and sample standard deviation (n - 1) of every number that all seeds have.

    Args:
        summaries: the summary of each seed's run. A figure that is missing, not a number or not
            finite for any seed is left out.

    Returns:
        `{"mean": ..., "deviation": ...}` of each figure; the deviation of a single seed is 0.
    """
    runs = list(summaries.values())
    figures = {}
    for metric in runs[0] if runs else ():
        numbers = [value for run in runs if math.isfinite(value := _number(run.get(metric)))]
        if len(numbers) == len(runs):
            deviation = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
            figures[metric] = {"mean": statistics.fmean(numbers), "deviation": deviation}
    return figures


def seeds_table(summaries: Mapping[int, Mapping[str, object]], metrics: Sequence[str]) -> str:
    """Return a table for the terminal: a row per seed, then mean ± deviation.

    Args:
        summaries: the summary of each seed's run.
        metrics: the columns. A figure that a seed lacks is shown as `-`.
    """
    means = mean_and_deviation(summaries)
    rows = [["seed", *metrics]]
    for seed, run in summaries.items():
        rows.append([str(seed), *(_shown(run.get(metric)) for metric in metrics)])
    last = [
        f"{_shown(means[metric]['mean'])} ± {_shown(means[metric]['deviation'])}"
        if metric in means
        else "-"
        for metric in metrics
    ]
    return aligned([*rows, ["mean ± deviation", *last]])


def _finetune_one(settings: Finetune, folder: Path) -> None:
    """Fine-tune with one seed; if it is interrupted, explain how to resume all seeds."""
    try:
        finetune(settings)
    except Stopped as stopped:
        raise Stopped(
            f"{stopped}\nThat resumes only this seed; to resume all seeds:\n"
            f"  {shell_command('finetune', f'resume={folder}')}",
            exit_code=stopped.exit_code,
        ) from stopped
    except UserError:
        if not any(folder.glob("seed-*/*")):  # no seed was started, so free the folder
            (folder / saved.CONFIG).unlink()
        raise


def _refuse_other_settings(settings: Finetune, folder: Path) -> None:
    earlier = saved.plain(read(Finetune, saved.load(folder)))
    asked = saved.plain(settings)
    different = [k for k, value in asked.items() if earlier[k] != value and k not in MAY_DIFFER]
    if different:
        raise UserError(
            f"the seeds in {folder} were started with other settings of {', '.join(different)}; "
            "name another run_dir"
        )


def _number(value: object) -> float:
    """Return the value as a float, or nan if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
