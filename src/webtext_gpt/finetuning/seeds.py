"""Fine-tuning with several seeds: one run per seed, then the mean and deviation of its figures."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.evaluation.tables import aligned
from webtext_gpt.finetuning.run import finetune
from webtext_gpt.settings import whole_number
from webtext_gpt.training.distributed.devices import find_devices
from webtext_gpt.training.run import AUTO
from webtext_gpt.training.run_folder import (
    CONFIG,
    SUMMARY,
    holds_run,
    read_summary,
    refuse_other_run,
    save_config,
    save_summary,
    with_absolute_paths,
)
from webtext_gpt.training.summary import Summary

MAY_DIFFER = ("seeds", "seed", "resume", "run_dir", "predict", "evaluate", "out")
"""Settings that may change when the seeds are resumed."""


def finetune_seeds(cfg: DictConfig) -> Summary:
    """Fine-tune once per seed of `cfg.seeds`, each in a separate folder.

    Args:
        cfg: composed from `conf/finetune.yaml`. With `cfg.resume`, finished seeds are skipped and
            unfinished ones resumed, with the same settings.

    Returns:
        The contents of `summary.json`: mean and deviation of every figure, and each seed's summary.

    Raises:
        UserError: see `finetune`; or a seed is not a whole number, several devices are asked for,
            or the folder's seeds were started with other settings.
        Stopped: training was interrupted; its state is saved.
    """
    seeds = _checked(cfg.seeds)
    settings = cfg.trainer
    if find_devices(settings.accelerator, settings.devices, settings.num_nodes).count > 1:
        raise UserError(
            "seeds=[...] trains with one process at a time; set trainer.devices=1, or start each "
            "run by itself with seed=... and run_dir=..."
        )
    folder = Path(cfg.run_dir)
    if cfg.resume and holds_run(folder):
        _refuse_other_settings(cfg, folder)
    else:
        refuse_other_run(folder)
    save_config(cfg, folder)
    summaries: dict[int, Summary] = {}
    for seed in seeds:
        run = folder / f"seed-{seed}"
        if not read_summary(run):
            print(f"\n--- seed {seed}", flush=True)
            changes = {"seed": seed, "seeds": None, "resume": AUTO, "run_dir": str(run)}
            _finetune_one(OmegaConf.merge(cfg, changes), folder)
        summaries[seed] = read_summary(run)
    figures = mean_and_deviation(summaries)
    shown = [name for name in figures if name.startswith(("val_", "test_"))]
    print(f"\n{seeds_table(summaries, shown)}\n\nwritten to {folder / SUMMARY}", flush=True)
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


def _finetune_one(cfg: DictConfig | ListConfig, folder: Path) -> None:
    """Fine-tune with one seed; if it is interrupted, explain how to resume all seeds."""
    assert isinstance(cfg, DictConfig)  # noqa: S101 - merged from one
    try:
        finetune(cfg)
    except Stopped as stopped:
        raise Stopped(
            f"{stopped}. That resumes only this seed; to resume all seeds: "
            f"python finetune.py resume={folder}",
            exit_code=stopped.exit_code,
        ) from stopped
    except UserError:
        if not any(folder.glob("seed-*/*")):  # no seed was started, so free the folder
            (folder / CONFIG).unlink()
        raise


def _checked(seeds: object) -> list[int]:
    found: list[Any] = list(seeds) if isinstance(seeds, ListConfig | list) else [seeds]
    for seed in found:
        whole_number("seeds", seed, 0)
    if not found or len(set(found)) < len(found):
        raise UserError(f"seeds={seeds} must name each seed once, as seeds=[0,1,2]")
    return found


def _refuse_other_settings(cfg: DictConfig, folder: Path) -> None:
    saved = _unresolved(OmegaConf.load(folder / CONFIG))
    asked = _unresolved(with_absolute_paths(cfg))
    different = [key for key in asked if saved.get(key) != asked[key] and key not in MAY_DIFFER]
    if different:
        raise UserError(
            f"the seeds in {folder} were started with other settings of {', '.join(different)}; "
            "name another run_dir"
        )


def _unresolved(cfg: DictConfig | ListConfig) -> dict[str, object]:
    """Return plain values, without resolving interpolations."""
    values = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(values, dict)  # noqa: S101 - configurations are mappings
    return {str(key): value for key, value in values.items()}


def _number(value: object) -> float:
    """Return the value as a float, or nan if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
