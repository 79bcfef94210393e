"""The command line: turn `key=value` arguments into typed settings, and errors into one message."""

import contextlib
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from webtext_gpt.commands import Command
from webtext_gpt.errors import FULL_ERROR, Stopped, UserError, explain
from webtext_gpt.extras import missing_extra
from webtext_gpt.paths import local_path
from webtext_gpt.remote.addresses import is_address
from webtext_gpt.settings.base import Settings
from webtext_gpt.settings.composition import compose, groups
from webtext_gpt.settings.kinds import NULL
from webtext_gpt.settings.lengths import replace_length
from webtext_gpt.settings.lookup import is_optional, leaves, shown, unknown_key
from webtext_gpt.settings.reading import assign, read
from webtext_gpt.terminal import LABEL_WIDTH, columns, quoted, say_rows, wrapped

NOT_RUNS = ("", "null", "auto")
"""Values of `resume` that do not name a run's folder."""


@dataclass(frozen=True)
class Call:
    """Facts about a command's call besides its settings.

    Attributes:
        given: the keys and groups that were given.
        in_sweep: whether it is one of several runs of a sweep.
        line: the command line, quoted for the shell.
    """

    given: frozenset[str] = frozenset()
    in_sweep: bool = False
    line: str | None = None


@dataclass(frozen=True)
class Arguments:
    """The arguments of a call.

    Attributes:
        pairs: keys or groups, and the text given for each, in order.
        help: the topic of `--help`, empty for the usual keys; None without `--help`.
        version: whether `--version` was given.
        show: whether `--cfg` was given: print the settings and exit.
        sweep: whether `-m` was given: one run for each combination of comma-separated values.
        folder: the user's own folder of configurations, `--config-dir`.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    help: str | None = None
    version: bool = False
    show: bool = False
    sweep: bool = False
    folder: Path | None = None


def run_command(command: Command, arguments: Sequence[str], called: str) -> None:
    """Run a command.

    Bad input (`UserError`, a file that cannot be read or written) ends with a message and exit
    code 1; `HYDRA_FULL_ERROR=1` shows the traceback instead.

    Args:
        command: the command.
        arguments: its arguments, without its name.
        called: how it was called, for help: `python train.py`.
    """
    with clear_errors(), _in_touch_with_other_hosts():
        parsed = parse(arguments, command)
        if parsed.help is not None:
            from webtext_gpt.help import help_text

            print(help_text(command, parsed.help, called))
            return
        if parsed.version:
            from webtext_gpt.help import version

            print(version())
            return
        has_run_dir = "run_dir" in command.load("settings").model_fields
        made = []
        if parsed.sweep:
            from webtext_gpt.sweep import jobs, run_jobs

            made = jobs(parsed, has_run_dir=has_run_dir)
        # The settings of all runs of a sweep are checked before the first one starts.
        calls = [job.arguments for job in made] if parsed.sweep else [parsed]
        checked = [read_settings(command, one) for one in calls]
        given = frozenset(key for key, _ in parsed.pairs)
        if parsed.show:
            import yaml

            values = [settings.model_dump(by_alias=True) for settings in checked]
            print(yaml.safe_dump_all(values, sort_keys=False, allow_unicode=True), end="")
            return
        work: Callable[[Settings, Call], Any] = command.load("work")
        call = Call(given, parsed.sweep, " ".join([called, *map(shlex.quote, arguments)]))
        if parsed.sweep:
            run_jobs(command, made, checked, lambda settings: work(settings, call))
        else:
            work(checked[0], call)
            _name_output(checked[0], LABEL_WIDTH if command.is_stage else 0)


def _name_output(settings: Settings, least: int) -> None:
    """Print the file or folder that a command was told to write, `out=`, once it is there."""
    out = getattr(settings, "out", None)
    if out is not None and (is_address(out) or local_path(out).exists()):
        say_rows({"written": quoted(out)}, least)


def parse(arguments: Sequence[str], command: Command) -> Arguments:
    """Split arguments into flags and `key=value` pairs.

    Raises:
        UserError: one is neither.
    """
    parsed = Arguments()
    pairs: list[tuple[str, str]] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        flag, equals, value = argument.partition("=")
        if flag in ("--help", "-h"):
            parsed = replace(parsed, help=value or _topic(rest))
        elif argument == "--version":
            parsed = replace(parsed, version=True)
        elif flag in ("--cfg", "-c"):
            _topic(rest)  # Hydra's `--cfg job`
            parsed = replace(parsed, show=True)
        elif argument in ("-m", "--multirun"):
            parsed = replace(parsed, sweep=True)
        elif flag in ("--config-dir", "-cd"):
            folder = local_path(value if equals else _topic(rest), "--config-dir")
            if not folder.is_dir():
                raise UserError(f"--config-dir={folder} is not a folder")
            parsed = replace(parsed, folder=folder)
        elif argument.startswith("-"):
            raise UserError(_not_a_flag(argument, command))
        elif argument.startswith("~"):
            pairs.append((flag[1:], "null"))
        elif not equals or not flag:
            raise UserError(_not_a_setting(argument, pairs, command))
        else:
            pairs.append((flag.lstrip("+"), value))
    return replace(parsed, pairs=tuple(pairs))


def read_settings(command: Command, arguments: Arguments) -> Settings:
    """Compose and check the settings of a call; nothing is written.

    Raises:
        UserError: a key or choice does not exist, or a value is wrong.
    """
    model: type[Settings] = command.load("settings")
    known = groups(command.config) if command.config else {}
    pairs = [(k, v) for k, v in arguments.pairs if k not in known]
    chosen = {k: v for k, v in arguments.pairs if k in known}
    chosen |= model.implied_choices(dict(pairs), chosen)
    values = compose(command.config, chosen, arguments.folder) if command.config else {}
    resume = dict(pairs).get("resume", "null")
    if "resume" in model.model_fields and resume not in NOT_RUNS:
        from webtext_gpt.settings.saved import reopen

        folder = local_path(resume, "resume")
        run_dir = dict(pairs).get("run_dir", resume)
        if local_path(run_dir, "run_dir").absolute() != folder.absolute():
            raise UserError(
                f"resume={resume} goes on in that folder, but run_dir={run_dir} names another; "
                "leave run_dir= out, or copy the run's folder and resume the copy"
            )
        values = reopen(folder, model, chosen, values)
        pairs = [(k, v) for k, v in pairs if k not in ("resume", "run_dir")]
    elif replaced := _replaced_groups(model, {**values, **dict(pairs)}, arguments, chosen):
        without = {**dict.fromkeys(replaced, "null"), **chosen}
        values = compose(str(command.config), without, arguments.folder)
        for group in replaced:
            values[group] = (
                None if is_optional(model.model_fields[group]) else values.get(group, {})
            )
    if "trainer" in model.model_fields:
        replace_length(values, pairs)
    for key, text in pairs:
        assign(model, values, key, text, known)
    with _naming(chosen):
        settings = read(model, values)
    derived = settings.derived({key for key, _ in arguments.pairs})
    for key, value in derived.items():
        assign(model, values, key, str(value), known)
    return read(model, values) if derived else settings


def _replaced_groups(
    model: type[Settings],
    values: dict[str, Any],
    arguments: Arguments,
    chosen: Mapping[str, str],
) -> list[str]:
    """Return the groups whose default does not apply and for which the call gives no choice."""
    replaced = model.replaced_groups(values, [key for key, _ in arguments.pairs])
    return [group for group in replaced if chosen.get(group, "null").lower() in NULL]


@contextlib.contextmanager
def _naming(chosen: dict[str, str]) -> Iterator[None]:
    """Explain an unknown key that the experiment sets for another choice than the call's."""
    try:
        yield
    except UserError as error:
        experiment = chosen.get("experiment")
        unknown = re.match(r"unknown key '(\w+)\.", str(error))
        # A choice of its own group, or the recipe, which chooses groups as the experiment expects.
        groups = [g for g in (unknown[1] if unknown else "", "recipe") if g in chosen]
        if experiment is None or unknown is None or not groups:
            raise
        group = groups[0]
        raise UserError(
            f"experiment={experiment} sets keys that {group}={chosen[group]} does not have "
            f"({str(error).partition(';')[0]}); leave {group}= out, or leave experiment= out and "
            "give its other settings one by one (--help experiment names them)"
        ) from None


def _topic(rest: list[str]) -> str:
    """Take the word after a flag that may have one; empty if a setting or flag follows."""
    return "" if not rest or "=" in rest[0] or rest[0].startswith("-") else rest.pop(0)


def _not_a_flag(argument: str, command: Command) -> str:
    key, equals, value = argument.lstrip("-").partition("=")
    problem = f"{argument}: settings are given as key=value, without dashes"
    if key in (known := _keys(command)):
        return f"{problem}: {key}={shlex.quote(value) if equals else '...'}"
    return f"{problem}; {unknown_key(command.load('settings'), key, known)}"


def _not_a_setting(argument: str, pairs: Sequence[tuple[str, str]], command: Command) -> str:
    problem = f"{argument!r} is not a setting; settings are given as key=value"
    if argument in _keys(command):
        return f"{problem}: {argument}=..."
    if pairs:  # the shell has split a value at its spaces
        key, value = pairs[-1]
        return f"{problem}, in quotes if the value holds spaces: {key}='{shown(value)} {argument}'"
    return f"{problem}; {unknown_key(command.load('settings'), argument, _keys(command))}"


def _keys(command: Command) -> list[str]:
    """Return every key and group of a command."""
    known = list(groups(command.config)) if command.config else []
    return [*known, *(leaf.key for leaf in leaves(command.load("settings")))]


@contextlib.contextmanager
def clear_errors() -> Iterator[None]:
    """Turn errors caused by bad input into a message on standard error and exit code 1."""
    try:
        yield
    except BrokenPipeError:  # the reader of our output has exited, for example `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, OSError, ModuleNotFoundError) as error:
        missing = missing_extra(error)
        is_ours = missing or not isinstance(error, ModuleNotFoundError)
        if os.environ.get(FULL_ERROR) == "1" or not is_ours:
            raise
        message = missing or (explain(error) if isinstance(error, OSError) else str(error))
        was_asked = isinstance(error, Stopped)
        _exit(message if was_asked else f"error: {message}", getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        _exit("interrupted")


def _in_touch_with_other_hosts() -> contextlib.AbstractContextManager[None]:
    """Return a context that reports an error to the processes that torchrun started elsewhere."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return contextlib.nullcontext()
    from webtext_gpt.training.distributed.joining import in_touch_with_other_hosts

    return in_touch_with_other_hosts()


def _exit(message: str, code: int = 1) -> NoReturn:
    with contextlib.suppress(ValueError):  # not the main thread
        # Another Ctrl-C ends the process without a traceback of what it is leaving.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
    width = columns(sys.stderr)
    text = f"\n{message}"
    print(text if width is None else wrapped(text, width), file=sys.stderr, flush=True)
    sys.exit(code)
