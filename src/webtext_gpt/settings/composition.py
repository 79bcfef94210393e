"""Composition of a command's values by Hydra, from the choices of its groups.

Hydra chooses and merges the YAML files of `conf/`. Single keys are set afterwards, by
`webtext_gpt.settings.reading.assign`, so that paths and texts need no escapes of Hydra's grammar.
"""

import difflib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from webtext_gpt.errors import UserError
from webtext_gpt.settings.kinds import NULL


def conf_folder() -> Path:
    """Return the folder of configurations: inside the installed package, or the checkout's."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


@cache
def groups(config: str) -> dict[str, str | None]:
    """Return the groups that a primary configuration composes, with their default choices."""
    path = conf_folder() / f"{config}.yaml"
    entries = yaml.safe_load(path.read_text()).get("defaults", [])
    return {k: v for entry in entries if isinstance(entry, dict) for k, v in entry.items()}


def is_a_choice(config: str, group: str) -> bool:
    """Return whether a group has more than one choice, where null counts if it is the default."""
    return len(choices(config, group)) > (groups(config)[group] is not None)


def choices(config: str, group: str, extra: Path | None = None) -> list[str]:
    """Return the choices of a group.

    Args:
        config: the primary configuration, such as `train` or `data_prep/links`.
        group: the group.
        extra: a further folder of configurations, the user's.
    """
    folders = [(conf_folder() / config).parent, *([extra] if extra else [])]
    return sorted({p.stem for folder in folders for p in (folder / group).glob("*.yaml")})


def compose(config: str, chosen: Mapping[str, str], extra: Path | None = None) -> dict[str, Any]:
    """Return the values of a primary configuration and of its groups' choices.

    Args:
        config: the primary configuration.
        chosen: choices that differ from the defaults, by group; `null` means none.
        extra: a further folder of configurations.

    Raises:
        UserError: a choice does not exist, or a file of the user's is not valid.
    """
    overrides = []
    for group, choice in chosen.items():
        known = choices(config, group, extra)
        if choice.lower() in NULL and choice not in known:
            overrides.append(f"~{group}")  # also where an experiment would choose one
            continue
        overrides.append(f"{group}={choice}")
        if choice not in known:
            near = difflib.get_close_matches(choice, known, n=2, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UserError(
                f"{group}={choice} is not a choice{hint}\nchoices of {group}: {', '.join(known)}"
            )
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    primary = conf_folder() / config
    if extra is not None:
        path = str(extra.absolute()).replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
        overrides.append(f'hydra.searchpath=["file://{path}"]')
    try:
        with initialize_config_dir(str(primary.parent), version_base="1.3"):
            composed = hydra_compose(primary.name, overrides=overrides)
        values = OmegaConf.to_container(composed, resolve=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        listed = ", ".join(f"{group}={choice}" for group, choice in chosen.items())
        raise UserError(f"{listed or config}: {_reason(error)}") from error
    assert isinstance(values, dict)  # noqa: S101 - configurations are mappings
    return {str(key): value for key, value in values.items() if value != {}}


def _reason(error: Exception) -> str:
    """Return why a file of a group is not valid, in plain words."""
    if match := re.search(r"Could not find '([\w/@-]+)/(.+?)'", str(error)):
        return f"one of its files names {match[1]}={match[2]}, which is not a choice"
    if isinstance(error, UnicodeDecodeError):
        return "one of its files is not text in UTF-8"
    return f"one of its files is not valid: {str(error).splitlines()[0]}"


def choice_groups(config: str, group: str, choice: str) -> dict[str, str]:
    """Return the choices of other groups that a choice makes, as an experiment does."""
    values = yaml.safe_load(_choice_file(config, group, choice).read_text()) or {}
    made: dict[str, str] = {}
    for entry in values.get("defaults", []):
        if isinstance(entry, dict):
            made |= {key.rpartition("/")[2]: value for key, value in entry.items()}
        elif entry != "_self_":
            made |= choice_groups(config, group, entry)
    return made


def choice_values(config: str, group: str, choice: str) -> dict[str, Any]:
    """Return the values of one choice of the project's own, for help and the reference."""
    values = yaml.safe_load(_choice_file(config, group, choice).read_text()) or {}
    merged: dict[str, Any] = {}
    for entry in values.pop("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            merged |= choice_values(config, group, entry)
    return merged | values


def choice_comment(config: str, group: str, choice: str) -> str:
    """Return the first sentence of the comment that opens a choice's file."""
    lines = []
    for line in _choice_file(config, group, choice).read_text().splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.lstrip("# "))
    ends = r"(?<!et al)\. (?=[A-Z`])|(?<=\)) (?=[A-Z])|: (?=python )"
    first, *_ = re.split(ends, " ".join(lines))
    return first.removesuffix(".")


def _choice_file(config: str, group: str, choice: str) -> Path:
    return (conf_folder() / config).parent / group / f"{choice}.yaml"
