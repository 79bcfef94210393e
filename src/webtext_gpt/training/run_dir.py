"""A run's folder: refused when it holds another run, opened again to go on with its own."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from webtext_gpt.checkpoint import BEST, FOLDER, LAST, read_checkpoint
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


def reopen(run_dir: Path, overrides: Sequence[str]) -> tuple[DictConfig, Path | None]:
    """The configuration and newest checkpoint of a run to continue; none if it saved none.

    Args:
        run_dir: the run's folder.
        overrides: `key=value` arguments of this call, applied to the run's own configuration.

    Raises:
        UserError: the folder holds no run, or an override does not fit.
    """
    if not (run_dir / CONFIG).is_file():
        raise UserError(f"resume={run_dir}: no run is there (it has no {CONFIG})")
    saved = [run_dir / FOLDER / name for name in (LAST, BEST)]
    steps = {path: read_checkpoint(path)["global_step"] for path in saved if path.is_file()}
    checkpoint = max(steps, key=lambda path: steps[path]) if steps else None
    cfg = OmegaConf.load(run_dir / CONFIG)
    assert isinstance(cfg, DictConfig)  # noqa: S101 - written by `save_config`
    OmegaConf.set_struct(cfg, True)
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key in ("resume", "run_dir"):
            continue
        try:
            if isinstance(OmegaConf.select(cfg, key), DictConfig):
                raise UserError(
                    f"{key}={value}: a group cannot be changed when a run is continued; "
                    f"change single keys ({key}.KEY=...), or start a new run"
                )
            cfg.merge_with_dotlist([f"{key}={value}"])
        except OmegaConfBaseException as error:
            raise UserError(f"{key}={value} does not fit the run in {run_dir}: {error}") from error
    cfg.run_dir = str(run_dir)  # the folder may have been moved
    return cfg, checkpoint


def save_config(cfg: DictConfig, run_dir: Path) -> None:
    """Write the composed configuration, by which the folder is known to hold a run."""
    run_dir.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(cfg, run_dir / CONFIG)
