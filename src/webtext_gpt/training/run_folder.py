"""A run's folder: refuse to overwrite another run, reopen a run, save its configuration."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from webtext_gpt.checkpoint.absent import run_of
from webtext_gpt.checkpoint.store import (
    Checkpoint,
    damage,
    open_checkpoint,
    saved_checkpoints,
)
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced, write_json
from webtext_gpt.paths import absence, check_output_folder, local_path, names_files, shown

CONFIG = "config.yaml"
SUMMARY = "summary.json"
MAY_CHANGE = ("strategy", "logger")
"""Groups whose choice may change when a run is resumed."""
PATHS = (
    "cache_dir",
    "checkpoint",
    "data.path",
    "data.name",
    "data.data_files",
    "evaluate",
    "predict",
    "task.hub",
    "task.train",
    "task.validation",
    "task.test",
    "tokenizer.path",
)
"""Keys whose values may be paths relative to the folder that a run was started from."""
MOVED = {"webtext_gpt.data.task.Task": "webtext_gpt.finetuning.data.task.Task"}
"""Targets in the `config.yaml` of earlier versions, and their current names."""


def holds_run(run_dir: Path) -> bool:
    """Return whether the folder holds a run."""
    return (run_dir / CONFIG).is_file()


def refuse_other_run(run_dir: Path) -> None:
    """Refuse to write into a folder that already holds a run.

    Raises:
        UserError: the folder holds a run, or cannot be created or written to.
    """
    check_output_folder(run_dir, "run_dir")
    if holds_run(run_dir):
        raise UserError(
            f"{run_dir} already holds a run; resume it with resume={run_dir}, "
            "or name another run_dir"
        )


def reopen(run_dir: Path, overrides: Sequence[str], composed: DictConfig) -> DictConfig:
    """Return the configuration of a run to resume.

    Args:
        run_dir: the run's folder.
        overrides: `key=value` arguments of this call, applied to the run's own configuration.
        composed: this call's composed configuration; a changed strategy or logger is taken from it.

    Raises:
        UserError: the folder holds no run, or an override does not fit.
    """
    if not holds_run(run_dir):
        raise UserError(_no_run(run_dir))
    cfg = OmegaConf.load(run_dir / CONFIG)
    assert isinstance(cfg, DictConfig)  # noqa: S101 - written by `save_config`
    _update_targets(cfg)
    OmegaConf.set_struct(cfg, True)
    if ("epochs" in cfg) != ("epochs" in composed):
        script = "finetune.py" if "epochs" in cfg else "train.py"
        raise UserError(
            f"resume={run_dir}: that is a run of {script}; resume it with python {script}"
        )
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key in ("resume", "run_dir"):
            continue
        if key in MAY_CHANGE:
            cfg[key] = composed[key]
            continue
        try:
            if isinstance(OmegaConf.select(cfg, key), DictConfig):
                raise UserError(
                    f"{key}={value}: a resumed run keeps its groups; change single keys "
                    f"({key}.KEY=...), or start a new run"
                )
            cfg.merge_with_dotlist([f"{key}={value}"])
        except OmegaConfBaseException as error:
            raise UserError(f"{key}={value} does not fit the run in {run_dir}: {error}") from error
    cfg.run_dir = str(run_dir)  # the folder may have been moved
    return cfg


def _no_run(path: Path) -> str:
    """Say why a path cannot be resumed, and what to name instead."""
    start = f"resume={shown(path)}"
    if (run := run_of(path)) is not None and holds_run(run):
        return f"{start} is inside a run; name the run's folder: resume={shown(run)}"
    if not path.exists():
        return f"{start} {absence(path)}; name a run's folder, with its {CONFIG}"
    if path.is_file():
        return f"{start} is a file; name a run's folder, with its {CONFIG}"
    runs = sorted(file.parent for file in path.glob(f"*/{CONFIG}"))
    inside = f"; runs in it: {', '.join(map(str, runs[-3:]))}" if runs else ""
    return f"{start}: no run is there (it has no {CONFIG}){inside}"


def _update_targets(node: DictConfig) -> None:
    """Replace each `_target_` of an earlier version, in place, with its current name."""
    for group in node.values():
        if isinstance(group, DictConfig):
            if target := MOVED.get(group.get("_target_", "")):
                group["_target_"] = target
            _update_targets(group)


def newest_undamaged(run_dir: Path, *, report: bool = True) -> Checkpoint | None:
    """Return the newest undamaged checkpoint of a run; `None` if it has saved none.

    Args:
        run_dir: the run's folder.
        report: whether to print which checkpoints are damaged; only rank 0 does.

    Raises:
        UserError: all checkpoints are damaged.
    """
    saved = saved_checkpoints(run_dir)
    for path in saved:
        problem = damage(path)
        if problem is None:
            return open_checkpoint(path)
        if report:
            print(f"{path} is damaged ({problem}); the checkpoint before it is used", flush=True)
    if saved:
        raise UserError(
            f"every checkpoint of {run_dir} is damaged; start a new run in another run_dir"
        )
    if report:
        print(f"{run_dir} holds no checkpoint yet; the run starts again at step 0", flush=True)
    return None


def save_summary(summary: dict[str, Any], run_dir: Path) -> None:
    """Write the figures of a finished run; this file marks the run as finished."""
    write_json(run_dir / SUMMARY, summary)


def read_summary(run_dir: Path) -> dict[str, Any]:
    """Return the figures of a finished run; empty for an unfinished one."""
    path = run_dir / SUMMARY
    return json.loads(path.read_text()) if path.is_file() else {}


def save_config(cfg: DictConfig, run_dir: Path, **resolved: Any) -> None:
    """Write the composed configuration; this file marks the folder as a run's.

    Relative paths in it are made absolute, since a run may be resumed from another folder.

    Args:
        cfg: the composed configuration.
        run_dir: the run's folder.
        resolved: values found at run time, written so that a resumed run reuses them.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    saved = with_absolute_paths(cfg)
    saved.update(resolved)
    with replaced(run_dir / CONFIG) as partial:
        OmegaConf.save(saved, partial)


def with_absolute_paths(cfg: DictConfig) -> DictConfig:
    """Return a copy in which the paths of existing files are absolute."""
    saved = cfg.copy()
    for key, value in _absolute_paths(cfg):
        OmegaConf.update(saved, key, value)
    return saved


def _absolute_paths(cfg: DictConfig) -> Iterator[tuple[str, str | list[str]]]:
    """Yield the keys in `PATHS` that are set, with their absolute paths."""
    for key in PATHS:
        value = OmegaConf.select(cfg, key)
        if isinstance(value, str):
            yield key, _absolute(value)
        elif isinstance(value, ListConfig):
            yield key, [_absolute(v) for v in value]


def _absolute(value: str) -> str:
    """Make a relative path or glob pattern absolute if it names existing files."""
    if not value or local_path(value).is_absolute() or not names_files(value):
        return value
    return str(Path.cwd() / value)
