"""A run's folder: refused when it holds another run, opened again to go on with its own."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from webtext_gpt.checkpoint import LAST, find_checkpoint
from webtext_gpt.errors import UserError

CONFIG = "config.yaml"
SUMMARY = "summary.json"


def refuse_other_run(run_dir: Path) -> None:
    """Keep a run from writing over another.

    Raises:
        UserError: the folder holds a run.
    """
    if (run_dir / CONFIG).exists():
        raise UserError(
            f"{run_dir} already holds a run; continue it with resume={run_dir}, "
            "or name another run_dir"
        )


def reopen(run_dir: Path, overrides: Sequence[str]) -> tuple[DictConfig, Path]:
    """The configuration and last checkpoint of a run to continue.

    Args:
        run_dir: the run's folder.
        overrides: `key=value` arguments of this call, applied to the run's own configuration.

    Raises:
        UserError: the folder holds no run, no checkpoint, or an override does not fit.
    """
    if not (run_dir / CONFIG).is_file():
        raise UserError(f"resume={run_dir}: no run is there (it has no {CONFIG})")
    checkpoint = find_checkpoint(run_dir, (LAST,))
    cfg = OmegaConf.load(run_dir / CONFIG)
    assert isinstance(cfg, DictConfig)  # noqa: S101 - written by `save_config`
    OmegaConf.set_struct(cfg, True)
    for override in overrides:
        key, _, value = override.partition("=")
        if key in ("resume", "run_dir"):
            continue
        try:
            if isinstance(
                OmegaConf.select(cfg, key.lstrip("+"), throw_on_missing=False), DictConfig
            ):
                raise UserError(
                    f"{override}: a group cannot be changed when a run is continued; "
                    f"change single keys ({key}.KEY=...), or start a new run"
                )
            cfg.merge_with_dotlist([f"{key.lstrip('+')}={value}"])
        except OmegaConfBaseException as error:
            raise UserError(f"{override} does not fit the run in {run_dir}: {error}") from error
    return cfg, checkpoint


def save_config(cfg: DictConfig, run_dir: Path) -> None:
    """Write the composed configuration, by which the folder is known to hold a run."""
    run_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, run_dir / CONFIG)
