"""Hydra entry points whose errors print as one short message."""

import contextlib
import difflib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from webtext_gpt.errors import UserError
from webtext_gpt.extras import missing_extra

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Hydra's environment variable; `1` keeps the traceback of errors."""


def entry_point(
    config: str, verbatim: Sequence[str] = (), open_keys: Sequence[str] = ()
) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Turn a script's `main(cfg)` into a Hydra main over `conf/{config}.yaml`.

    `conf/` is searched for in the script's folder, then in its parent folders. If `config`
    contains a folder (`data_prep/links`), overrides name the groups of that folder. Bad input
    (`UserError`, an override that does not compose, a file that cannot be read or written) ends
    with a message and exit code 1; `HYDRA_FULL_ERROR=1` shows the traceback instead.

    `resume=RUN_DIR` on the command line makes RUN_DIR the run's folder.

    Args:
        config: name of the primary configuration.
        verbatim: keys whose values are taken as plain text, without Hydra's syntax for lists,
            sweeps and interpolations.
        open_keys: keys whose sub-keys the user may invent (`tests.NAME=PATH`).
    """
    folder, _, config_name = config.rpartition("/")

    def decorate(task: Callable[[DictConfig], None]) -> Callable[[], None]:
        def main() -> None:
            script = Path(task.__code__.co_filename).resolve()
            conf = next(p / "conf" for p in script.parents if (p / "conf").is_dir()) / folder
            show_traceback = os.environ.get(FULL_ERROR) == "1"
            sys.argv[1:] = list(_prepared(sys.argv[1:], verbatim, open_keys))

            @functools.wraps(task)
            def job(cfg: DictConfig) -> None:
                if not show_traceback:
                    os.environ.pop(FULL_ERROR, None)  # do not pass it on to child processes
                with clear_errors(show_traceback):  # here, or Hydra would add to the message
                    task(cfg)

            os.environ[FULL_ERROR] = "1"  # makes Hydra raise, so that the message is ours
            with clear_errors(show_traceback, conf, config_name):
                run = hydra.main(version_base="1.3", config_path=str(conf), config_name=config_name)
                run(job)()

        return main

    return decorate


@contextlib.contextmanager
def clear_errors(
    show_traceback: bool = False, conf: Path | None = None, config_name: str = ""
) -> Iterator[None]:
    """Turn errors caused by bad input into a message on standard error and exit code 1.

    Args:
        show_traceback: let the errors through unchanged.
        conf: configuration folder, used to suggest similar keys and choices; None suggests none.
        config_name: the primary configuration in it.
    """
    try:
        yield
    except BrokenPipeError:  # the reader of our output has exited, for example `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (
        HydraException, ModuleNotFoundError, OmegaConfBaseException, UserError, OSError,
    ) as error:  # fmt: skip
        missing = missing_extra(error)
        if show_traceback or (isinstance(error, ModuleNotFoundError) and not missing):
            raise
        _exit(missing or _explain(error, conf, config_name), getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        _exit("interrupted")


@contextlib.contextmanager
def run_folder() -> Iterator[tuple[str, list[str]]]:
    """Yield the run's folder and the command line's overrides; for use inside a Hydra main.

    The folder is removed at the end if it is empty.
    """
    config = HydraConfig.get()
    folder = Path(config.runtime.output_dir)
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    try:
        yield str(shown), list(config.overrides.task)
    finally:
        with contextlib.suppress(OSError):  # not empty
            folder.rmdir()


def _exit(message: str, code: int = 1) -> NoReturn:
    sys.stdout.flush()
    print(f"\nerror: {message}", file=sys.stderr, flush=True)
    sys.exit(code)


def _prepared(
    arguments: Sequence[str], verbatim: Sequence[str], open_keys: Sequence[str] = ()
) -> Iterator[str]:
    """Yield the command-line arguments, rewritten for Hydra.

    Verbatim values are quoted, and new keys are allowed under `open_keys`. `resume=RUN_DIR` also
    sets the run's folder. A resumed run's configuration may have keys that the current defaults
    lack, so its dotted keys are prefixed with `++` here and checked when the run is opened.
    """
    resumes = any(a.startswith("resume=") and a not in NO_FOLDER for a in arguments)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in verbatim and argument not in NO_FOLDER and not _is_null(argument):
            argument = f"{key}={quoted(value)}"  # noqa: PLW2901 - same argument, quoted
        if "." in key and (
            key.partition(".")[0] in open_keys
            or (resumes and not key.startswith(("+", "~", "-", "hydra.")))
        ):
            yield f"++{argument}"
        else:
            yield argument
        if resumes and key == "resume":
            folder = Path(value.strip(QUOTES)).expanduser()
            yield f"hydra.run.dir={quoted(str(folder))}"


def _is_null(argument: str) -> bool:
    """Return whether an argument sets null; a prompt is always text."""
    key, _, value = argument.partition("=")
    return value == "null" and key != "prompt"


QUOTES = "'\""
NO_FOLDER = ("resume=", "resume=null", "resume=auto")
"""Values of `resume` that do not name a run's folder."""


def quoted(value: str) -> str:
    """Return `value` quoted for Hydra's grammar; a value in quotes is returned unchanged."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in QUOTES:
        return value
    # A backslash escapes only before a quote, and the closing quote follows trailing backslashes.
    text = re.sub(r'(\\*)"', r'\1\1\\"', value)
    text = re.sub(r"(\\+)$", r"\1\1", text)
    return '"' + text.replace("${", "\\${") + '"'


def _explain(error: BaseException, conf: Path | None, config_name: str) -> str:
    """Return the message for an error, with suggestions for misspelled names."""
    cause = error.__cause__
    if isinstance(error, InstantiationException) and isinstance(cause, ValueError | OSError):
        return _explain(cause, conf, config_name)
    if isinstance(error, MissingMandatoryValue):
        key = error.full_key
        return f"{key} has no value; give {key}=..."
    message = str(error)
    if isinstance(error, HydraException | OmegaConfBaseException):
        if conf is not None:
            message = _name_nearest(message, conf, config_name)
        if cause is not None and str(cause) not in message:
            message += f"\n{cause}"
    elif isinstance(error, OSError) and error.strerror:
        message = error.strerror + (f": {error.filename}" if error.filename else "")
    return message


def _name_nearest(message: str, conf: Path, config_name: str) -> str:
    """Return Hydra's message; for an unknown name, return one that suggests similar names."""
    if match := re.search(r"Could not find '([\w/@-]+)/(.+?)'", message):
        group, choice = match.groups()
        options = sorted(p.stem for p in (conf / group).glob("*.yaml"))
        return (
            f"{group} has no choice {choice!r}{_nearest(choice, options)}\n"
            f"choices: {', '.join(options)}"
        )
    if match := re.search(r"Could not (?:override|delete|append to) '?([\w./@]+)'?", message):
        key = match[1].removesuffix(".")
        known = sorted(set(_known_keys(conf, config_name)))
        return f"unknown key {key!r}{_nearest(key, known)}\nsee all keys with --cfg job"
    return message


def _nearest(word: str, candidates: list[str]) -> str:
    last = word.rpartition(".")[2]
    near = [c for c in candidates if c.rpartition(".")[2] == last][:3]  # the same key elsewhere
    near = near or difflib.get_close_matches(word, candidates, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _known_keys(conf: Path, config_name: str) -> Iterator[str]:
    """Yield the dotted keys and groups that an override can name, given the chosen groups."""
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


def _dotted(node: object, prefix: str) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}"
            yield from _dotted(value, f"{prefix}{key}.")
