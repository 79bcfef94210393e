"""What every entry point shares: Hydra, and errors that fit on one screen."""

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from webtext_gpt.errors import UserError


def entry_point(config: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Decorate `main(cfg)` of a script into a Hydra main over `conf/{config}.yaml`.

    `conf/` is looked for beside the script, then one folder up. Where `config` names a folder
    (`data_prep/links`), that folder is the root: its groups are the ones overrides name. Bad
    input (`UserError`, an override that does not compose, a file that cannot be read or written)
    ends with a message and exit code 1. `HYDRA_FULL_ERROR=1` shows the traceback instead.

    `resume=RUN_DIR` on the command line makes RUN_DIR the run's folder.
    """
    folder, _, config_name = config.rpartition("/")

    def decorate(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        def main() -> None:
            script = Path(task.__code__.co_filename).resolve()
            conf = next(p / "conf" for p in script.parents if (p / "conf").is_dir()) / folder
            show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
            os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and the message is ours
            sys.argv[1:] = list(_resume_in_place(sys.argv[1:]))
            try:
                hydra.main(version_base="1.3", config_path=str(conf), config_name=config_name)(
                    task
                )()
            except (HydraException, OmegaConfBaseException, UserError, OSError) as error:
                if show_traceback:
                    raise
                _exit(_explain(error, conf, config_name))
            except KeyboardInterrupt:
                _exit("interrupted; nothing was left half-written")

        return main

    return decorate


def _exit(message: str) -> NoReturn:
    sys.stdout.flush()
    print(f"\nerror: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


def _resume_in_place(arguments: list[str]) -> Iterator[str]:
    """Add Hydra's run folder to the overrides where `resume=` names one."""
    for argument in arguments:
        yield argument
        key, _, value = argument.partition("=")
        folder = value.strip("'\"")
        if key == "resume" and folder not in ("", "null"):
            quoted = folder.rstrip("/").replace("\\", "\\\\").replace('"', '\\"')
            yield f'hydra.run.dir="{quoted}"'


def _explain(error: Exception, conf: Path, config_name: str) -> str:
    """Say what was wrong with a call, and name what was probably meant."""
    cause = error.__cause__
    if isinstance(error, InstantiationException) and isinstance(cause, ValueError | OSError):
        return _explain(cause, conf, config_name)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        options = list(error.options or [])
        return (
            f"{group or 'conf'} has no choice {choice!r}{_nearest(choice, options)}\n"
            f"choices: {', '.join(options)}"
        )
    message = str(error)
    if match := re.search(r"Could not (?:override|delete|append to) '?([\w./@]+)'?", message):
        key = match[1].removesuffix(".")
        known = list(_known_keys(conf, config_name))
        return f"unknown key {key!r}{_nearest(key, known)}\nsee all keys with --cfg job"
    if cause is not None and str(cause) not in message:
        message += f"\n{cause}"
    return message


def _nearest(word: str, candidates: list[str]) -> str:
    near = difflib.get_close_matches(word, candidates, n=3, cutoff=0.5)
    if not near:  # the right last part under the wrong parent
        near = [c for c in candidates if c.rpartition(".")[2] == word.rpartition(".")[2]][:3]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _known_keys(conf: Path, config_name: str) -> Iterator[str]:
    """Dotted keys and group names that an override can name, given the groups now chosen."""
    groups = {str(p.relative_to(conf)) for p in conf.rglob("*") if p.is_dir()}
    chosen = [a for a in sys.argv[1:] if a.partition("=")[0].lstrip("+") in groups]
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(conf), version_base="1.3"):
        try:
            cfg = hydra.compose(config_name, overrides=chosen)
        except HydraException:
            cfg = hydra.compose(config_name)
    yield from groups
    yield from _dotted(OmegaConf.to_container(cfg, resolve=False), "")


def _dotted(node: Any, prefix: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _dotted(value, f"{prefix}{key}.")
