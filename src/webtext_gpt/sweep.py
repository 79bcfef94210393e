"""Sweeps (`-m`): a run for each combination of comma-separated values, in turn, failed or not."""

import itertools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from webtext_gpt.commands import Command, shell_command
from webtext_gpt.errors import FULL_ERROR, Stopped, UserError, explain
from webtext_gpt.extras import missing_extra
from webtext_gpt.settings.base import Settings
from webtext_gpt.settings.lists import split_items
from webtext_gpt.settings.lookup import shown
from webtext_gpt.terminal import quoted, say, say_rows

if TYPE_CHECKING:
    from webtext_gpt.cli import Arguments


@dataclass(frozen=True)
class Job:
    """One run of a sweep."""

    arguments: "Arguments"
    name: str
    """Its number, from 1, and the values that distinguish it: `job 2 of 4 (optimizer.lr=1e-3)`."""
    sweep: "Arguments"
    """The arguments of the sweep."""
    folder: str | None
    """Its folder, inside the `run_dir` of the sweep; None if the command has none."""
    varied: str = ""
    """The values that distinguish it, for the table at the end; empty leaves that table out."""


def jobs(arguments: "Arguments", *, has_run_dir: bool) -> list[Job]:
    """Return the runs of a sweep: all combinations of comma-separated values.

    Args:
        arguments: the arguments of the sweep.
        has_run_dir: whether each run gets a folder of its own, in the `run_dir` of the sweep.

    Raises:
        UserError: the commas of a value cannot be read.
    """
    values = [[(key, value) for value in _values(key, text)] for key, text in arguments.pairs]
    combinations = list(itertools.product(*values))
    parent = dict(arguments.pairs).get("run_dir")
    if has_run_dir and parent is None:
        from webtext_gpt.settings.run import dated

        parent = dated("runs")
    made = []
    for number, pairs in enumerate(combinations):
        varied = [f"{k}={v}" for (k, v), of in zip(pairs, values, strict=True) if len(of) > 1]
        chosen = f" ({', '.join(varied)})" if varied else ""
        short = ", ".join(varied) or str(number + 1)
        name = f"job {number + 1} of {len(combinations)}{chosen}"
        folder = f"{parent}/{number}" if has_run_dir else None
        own = pairs
        if folder is not None:
            own = (*(pair for pair in pairs if pair[0] != "run_dir"), ("run_dir", folder))
        made.append(Job(replace(arguments, pairs=own), name, arguments, folder, short))
    return made


def _values(key: str, text: str) -> list[str]:
    try:
        return split_items(text) or [""]
    except ValueError as error:
        raise UserError(f"-m: {key}={shown(text)} is split at its commas, but {error}") from None


def run_jobs(
    command: Command,
    made: Sequence[Job],
    settings: Sequence[Settings],
    work: Callable[[Settings], object],
) -> None:
    """Run the jobs of a sweep in turn; a failed one is reported, and the others run.

    Raises:
        UserError: jobs failed; the message names them and their folders.
        Stopped: a signal stopped a job, and with it the sweep; the message names what remains.
    """
    failed: list[str] = []
    for number, (job, checked) in enumerate(zip(made, settings, strict=True)):
        if job.folder is not None:
            say(f"\n--- {job.name}: {job.folder}")
        try:
            work(checked)
        except BrokenPipeError:
            raise
        except (Stopped, KeyboardInterrupt) as stopped:
            code = stopped.exit_code if isinstance(stopped, Stopped) else 1
            lines = [str(stopped) or "interrupted", *_left(command, made, number), *failed]
            raise Stopped("\n".join(lines), code) from None
        except (Exception, SystemExit) as error:
            problem = _problem(error)
            if problem is None:
                continue
            where = f"; its folder is {job.folder}" if job.folder is not None else ""
            failed.append(f"{job.name} has failed: {problem.splitlines()[0]}{where}")
            sys.stdout.flush()
            say(f"\nerror: {job.name} has failed: {problem}", sys.stderr)
    _say_results(made)
    if failed:
        raise UserError("\n".join([f"{len(failed)} of {len(made)} jobs have failed", *failed]))


def _say_results(made: Sequence[Job]) -> None:
    """Print the folder of each job that has one, with the validation loss if there is one."""
    rows = {}
    for job in made:
        if job.folder is None or not job.varied:
            return
        summary = Path(job.folder) / "summary.json"
        found = json.loads(summary.read_text()) if summary.is_file() else {}
        loss = found.get("val_loss")
        figure = "-" if loss is None else f"{loss:.4f}"
        rows[job.varied] = f"{figure:>8}  {quoted(job.folder)}"
    say("\n--- the jobs, with their validation losses")
    say_rows(rows)


def _problem(error: BaseException) -> str | None:
    """Return why a job failed, after printing a bug's traceback; None if it did not fail."""
    if isinstance(error, SystemExit):
        return None if error.code in (None, 0) else f"it has ended with code {error.code}"
    missing = missing_extra(error)
    is_bad_input = missing or isinstance(error, (UserError, OSError))
    if os.environ.get(FULL_ERROR) == "1" or not is_bad_input:
        traceback.print_exception(error)
    if not is_bad_input:
        return f"{type(error).__name__}: {error}"
    return missing or (explain(error) if isinstance(error, OSError) else str(error))


def _left(command: Command, made: Sequence[Job], number: int) -> Iterator[str]:
    """Yield lines on the remaining jobs of a sweep that was stopped, and how to resume it."""
    yield f"the sweep is stopped in {made[number].name}"
    for job in made[number + 1 :]:
        yield f"not begun: {job.name}"
    if "resume" in command.load("settings").model_fields:
        sweep, folder = made[0].sweep, str(made[0].folder).rpartition("/")[0]
        given = [f"{k}={v}" for k, v in sweep.pairs if k not in ("run_dir", "resume")]
        more = [f"--config-dir={sweep.folder}"] if sweep.folder is not None else []
        again = shell_command(command.name, "-m", *more, *given, "resume=auto", f"run_dir={folder}")
        yield f"resume it, and run what is left:\n  {again}"
