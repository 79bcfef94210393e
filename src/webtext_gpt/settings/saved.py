"""The `config.yaml` of a run: write it, and read it again when a call resumes the run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.paths import local_path, names_files
from webtext_gpt.remote.addresses import is_address
from webtext_gpt.settings.base import Settings
from webtext_gpt.settings.kinds import PathText
from webtext_gpt.settings.lists import Listed
from webtext_gpt.settings.lookup import NAME, leaves

CONFIG = "config.yaml"
HEADER = "# Settings of a webtext-gpt run. Texts and paths are literal.\n"
"""First line of the file; earlier versions, whose files had interpolations, did not write it."""
MAY_CHANGE = ("strategy", "logger", "average")
"""Groups whose choice may change when a run is resumed."""
EXAMPLES = {"experiment": "trainer.max_steps", "recipe": "optimizer.lr"}
"""For groups without keys of their own, an example of a key that may change instead."""
OUTPUTS = ("run_dir", "resume", "out")
"""Keys of paths that a run writes; all other paths are read, and are made absolute when saved."""
MOVED = {"webtext_gpt.data.task.Task": "webtext_gpt.finetuning.data.task.Task"}
"""Targets in the `config.yaml` of earlier versions, and their current names."""
REMOVED = ("_partial_", "run_dir", "metric")
"""Keys below the top level that earlier versions wrote and that other settings imply now."""
REMOVED_FROM = {"early_stopping": ("monitor", "lower_is_better")}
"""Such keys of single callbacks."""


def holds_run(run_dir: Path) -> bool:
    """Return whether the folder holds a run."""
    return (run_dir / CONFIG).is_file()


def reopen(
    run_dir: Path, settings: type[Settings], chosen: Mapping[str, str], composed: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the plain values of a run to resume.

    Args:
        run_dir: the run's folder.
        settings: the command's class of settings.
        chosen: this call's choices of groups.
        composed: this call's composed values; a changed strategy or logger is taken from them.

    Raises:
        UserError: the folder holds no run, a run of another command, or a run whose group would
            change.
    """
    if not holds_run(run_dir):
        from webtext_gpt.checkpoint.absent import no_run

        raise UserError(no_run(run_dir))
    values = load(run_dir)
    if ("epochs" in values) != ("epochs" in settings.model_fields):
        script = "finetune.py" if "epochs" in values else "train.py"
        raise UserError(
            f"resume={run_dir}: that is a run of {script}; resume it with python {script}"
        )
    for group, choice in chosen.items():
        if group not in MAY_CHANGE:
            raise UserError(
                f"{group}={choice}: a resumed run keeps its groups; leave {group}= out and change "
                f"single keys ({EXAMPLES.get(group, f'{group}.KEY')}=...), or start a new run "
                "without resume="
            )
        values.pop(group, None)
        if group in composed:
            values[group] = composed[group]
    values |= {"run_dir": str(run_dir), "resume": str(run_dir)}  # the folder may have been moved
    return values


def load(run_dir: Path) -> dict[str, Any]:
    """Return the plain values of a run's `config.yaml`, in the current version's names.

    Raises:
        UserError: the file is not a configuration.
    """
    path = run_dir / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.safe_load(text) if text.startswith(HEADER) else _load_earlier(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a run's configuration: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a run's configuration: it holds no keys")
    _rename_targets(values)
    if "epochs" in values and "average" not in values:
        _forget_unused_epochs(values)
    return {str(key): value for key, value in values.items() if value != {}}


def save(settings: Settings, run_dir: Path, **resolved: Any) -> None:
    """Write the settings; this file marks the folder as a run's.

    Relative paths in it are made absolute, since a run may be resumed from another folder.

    Args:
        settings: the settings of the run.
        run_dir: the run's folder.
        resolved: values found at run time, written so that a resumed run reuses them.
    """
    with replaced(run_dir / CONFIG) as partial:
        text = yaml.safe_dump(plain(settings) | resolved, sort_keys=False, allow_unicode=True)
        partial.write_text(HEADER + text, encoding="utf-8")


def plain(settings: Settings) -> dict[str, Any]:
    """Return plain values in which the paths of existing files are absolute."""
    values = settings.model_dump(by_alias=True)
    for key in _read_paths(type(settings)):
        *parents, last = key.split(".")
        for node in _nodes(values, parents):
            if last in node:
                node[last] = _absolute(node[last])
    return values


def _nodes(values: Any, parents: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the plain values of a group, or those of each of several groups by name."""
    if not isinstance(values, dict):
        return
    if not parents:
        yield values
        return
    first, *rest = parents
    for inner in values.values() if first == NAME else [values.get(first)]:
        yield from _nodes(inner, rest)


def _read_paths(settings: type[Settings]) -> Iterator[str]:
    for leaf in leaves(settings):
        kind = leaf.kind.item if isinstance(leaf.kind, Listed) else leaf.kind
        if isinstance(kind, PathText) and leaf.key not in OUTPUTS:
            yield leaf.key


def _absolute(value: Any) -> Any:
    """Make relative paths and glob patterns absolute if they name existing files."""
    if isinstance(value, list):
        return [_absolute(item) for item in value]
    if not isinstance(value, str) or not value or is_address(value):
        return value
    if local_path(value).is_absolute():
        return value
    return str(Path.cwd() / value) if names_files(value) else value


def _rename_targets(node: Any) -> None:
    """Replace each target of an earlier version, in place, with its current name."""
    if isinstance(node, dict):
        if target := MOVED.get(node.get("_target_", "")):
            node["_target_"] = target
        for inner in node.values():
            _rename_targets(inner)


def _forget_unused_epochs(values: dict[str, Any]) -> None:
    """Drop `epochs` if another length is set: earlier versions always wrote it, and ignored it."""
    trainer = values.get("trainer") or {}
    if any(trainer.get(key) is not None for key in ("max_steps", "max_minutes")):
        values["epochs"] = None


def _load_earlier(text: str) -> object:
    """Return the values of a file of an earlier version, with its interpolations resolved.

    Raises:
        yaml.YAMLError: the file is not a configuration.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        loaded = OmegaConf.create(text)
        _forget(loaded)
        return OmegaConf.to_container(loaded, resolve=True)
    except OmegaConfBaseException as error:
        raise yaml.YAMLError(str(error).splitlines()[0]) from error


def _forget(node: Any, name: str = "", depth: int = 0) -> None:
    """Drop the keys of earlier versions, in place."""
    from omegaconf import DictConfig, OmegaConf

    if not isinstance(node, DictConfig):
        return
    for key in [*(REMOVED if depth else ()), *REMOVED_FROM.get(name, ())]:
        node.pop(key, None)
    for key in node:
        if not OmegaConf.is_interpolation(node, str(key)):
            _forget(node[key], str(key), depth + 1)
