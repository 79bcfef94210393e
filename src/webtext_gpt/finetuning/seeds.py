"""The same fine-tuning with several seeds."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.finetuning.run import finetune
from webtext_gpt.finetuning.seed_statistics import mean_and_deviation, seeds_table
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
"""Settings that a continued call may have otherwise than the call that began."""


def finetune_seeds(cfg: DictConfig) -> Summary:
    """A run for each of `cfg.seeds`, in folders of their own; finished ones are not run again.

    Args:
        cfg: as `conf/finetune.yaml` composes it; with `resume`, seeds begun before are gone on
            with, under the same settings.

    Returns:
        Mean and deviation of every figure, which `summary.json` holds beside each seed's.

    Raises:
        UserError: see `finetune`; or the seeds are no whole numbers, several processes train, or
            the folder's seeds were begun with other settings.
        Stopped: training was interrupted, and is saved.
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
            own = {"seed": seed, "seeds": None, "resume": AUTO, "run_dir": str(run)}
            _one(OmegaConf.merge(cfg, own), folder)
        summaries[seed] = read_summary(run)
    figures = mean_and_deviation(summaries)
    shown = [name for name in figures if name.startswith(("val_", "test_"))]
    print(f"\n{seeds_table(summaries, shown)}\n\nwritten to {folder / SUMMARY}", flush=True)
    summary = {"mean_and_deviation": figures, "seeds": {str(s): v for s, v in summaries.items()}}
    save_summary(summary, folder)
    return summary


def _one(cfg: DictConfig | ListConfig, folder: Path) -> None:
    """One seed's run; what stops it says how to go on with all of them."""
    assert isinstance(cfg, DictConfig)  # noqa: S101 - merged from one
    try:
        finetune(cfg)
    except Stopped as stopped:
        raise Stopped(
            f"{stopped}; that is this seed, all of them by: python finetune.py resume={folder}",
            exit_code=stopped.exit_code,
        ) from stopped
    except UserError:
        if not any(folder.glob("seed-*/*")):  # nothing was begun: the folder is free again
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
    begun = _plain(OmegaConf.load(folder / CONFIG))
    asked = _plain(with_absolute_paths(cfg))
    different = [key for key in asked if begun.get(key) != asked[key] and key not in MAY_DIFFER]
    if different:
        raise UserError(
            f"the seeds in {folder} were begun with other settings of {', '.join(different)}; "
            "name another run_dir"
        )


def _plain(cfg: DictConfig | ListConfig) -> dict:
    """Values as they are written, what refers to the run's folder included."""
    values = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(values, dict)  # noqa: S101 - configurations are mappings
    return values
