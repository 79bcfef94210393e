"""A run's folder: refused when it holds another run, opened again to go on with its own."""

import json
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from webtext_gpt.checkpoint.store import (
    Checkpoint,
    damage,
    open_checkpoint,
    restore_replaced,
    saved_checkpoints,
)
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced, write_json

CONFIG = "config.yaml"
SUMMARY = "summary.json"
MAY_CHANGE = ("strategy", "logger")
"""Groups that a run may continue with another choice of."""
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
"""Keys whose values may be files, relative to the folder that a run was started from."""
MOVED = {"webtext_gpt.data.task.Task": "webtext_gpt.finetuning.data.task.Task"}
"""Targets that earlier versions wrote into `config.yaml`, and where they are now."""


def holds_run(run_dir: Path) -> bool:
    """Whether a run was begun in the folder."""
    return (run_dir / CONFIG).is_file()


def refuse_other_run(run_dir: Path) -> None:
    """Keep a run from writing over another.

    Raises:
        UserError: the folder holds a run.
    """
    if holds_run(run_dir):
        raise UserError(
            f"{run_dir} already holds a run; continue it with resume={run_dir}, "
            "or name another run_dir"
        )


def reopen(run_dir: Path, overrides: Sequence[str], composed: DictConfig) -> DictConfig:
    """The configuration of a run to continue.

    Args:
        run_dir: the run's folder.
        overrides: `key=value` arguments of this call, applied to the run's own configuration.
        composed: this call's own configuration, of which a changed strategy or logger is taken.

    Raises:
        UserError: the folder holds no run, or an override does not fit.
    """
    if not holds_run(run_dir):
        raise UserError(f"resume={run_dir}: no run is there (it has no {CONFIG})")
    cfg = OmegaConf.load(run_dir / CONFIG)
    _update_targets(cfg)
    assert isinstance(cfg, DictConfig)  # noqa: S101 - written by `save_config`
    OmegaConf.set_struct(cfg, True)
    if ("epochs" in cfg) != ("epochs" in composed):
        script = "finetune.py" if "epochs" in cfg else "train.py"
        raise UserError(
            f"resume={run_dir}: that is a run of {script}; continue it by python {script}"
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
                    f"{key}={value}: a group cannot be changed when a run is continued; "
                    f"change single keys ({key}.KEY=...), or start a new run"
                )
            cfg.merge_with_dotlist([f"{key}={value}"])
        except OmegaConfBaseException as error:
            raise UserError(f"{key}={value} does not fit the run in {run_dir}: {error}") from error
    cfg.run_dir = str(run_dir)  # the folder may have been moved
    return cfg


def _update_targets(node: Any) -> None:
    """Rewrite the `_target_` of every group, in place, to where it is in this version."""
    for group in node.values() if isinstance(node, DictConfig) else ():
        if isinstance(group, DictConfig):
            if target := MOVED.get(group.get("_target_", "")):
                group["_target_"] = target
            _update_targets(group)


def newest_complete(run_dir: Path, say: bool = True) -> Checkpoint | None:
    """The newest checkpoint of a run of which every byte is right; `None` if it saved none.

    Args:
        run_dir: the run's folder.
        say: this is the first process, which names those that are damaged and puts in order what
            a killed run left.

    Raises:
        UserError: all are damaged.
    """
    if say:
        restore_replaced(run_dir)
    saved = saved_checkpoints(run_dir)
    for path in saved:
        problem = damage(path)
        if problem is None:
            return open_checkpoint(path)
        if say:
            print(f"{path} is damaged ({problem}); the checkpoint before it is used", flush=True)
    if saved:
        raise UserError(
            f"every checkpoint of {run_dir} is damaged; start a new run in another run_dir"
        )
    if say:
        print(f"{run_dir} holds no checkpoint yet; the run begins again at step 0", flush=True)
    return None


def save_summary(summary: dict[str, Any], run_dir: Path) -> None:
    """Write the figures of a finished run, by which it is known to be finished."""
    write_json(run_dir / SUMMARY, summary)


def read_summary(run_dir: Path) -> dict[str, Any]:
    """The figures of a finished run; empty where it has none yet."""
    path = run_dir / SUMMARY
    return json.loads(path.read_text()) if path.is_file() else {}


def save_config(cfg: DictConfig, run_dir: Path, **settled: Any) -> None:
    """Write the composed configuration, by which the folder is known to hold a run.

    Relative paths in it are made absolute: a run may be continued from another folder.

    Args:
        cfg: composed.
        run_dir: the run's folder.
        settled: values of keys that may have been left open, as a continued run has to have them.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    saved = with_absolute_paths(cfg)
    saved.update(settled)
    with replaced(run_dir / CONFIG) as partial:
        OmegaConf.save(saved, partial)


def with_absolute_paths(cfg: DictConfig) -> DictConfig:
    """A copy in which the paths of files that are there do not depend on the current folder."""
    saved = cfg.copy()
    for key, value in _files(cfg):
        OmegaConf.update(saved, key, value)
    return saved


def _files(cfg: DictConfig) -> Iterator[tuple[str, str | list[str]]]:
    for key in PATHS:
        value = OmegaConf.select(cfg, key)
        if isinstance(value, str):
            yield key, _absolute(value)
        elif isinstance(value, ListConfig):
            yield key, [_absolute(v) for v in value]


def _absolute(value: str) -> str:
    """A relative path or glob pattern of files that are there, made absolute; else as it is."""
    path = Path(value)
    if path.is_absolute() or value.startswith("~") or not glob(value):
        return value
    return str(Path.cwd() / path)
