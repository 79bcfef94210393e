"""A run's folder: refuse to overwrite another run, find its checkpoint, keep its summary."""

import json
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.store import (
    Checkpoint,
    damage,
    open_checkpoint,
    saved_checkpoints,
)
from webtext_gpt.errors import UserError
from webtext_gpt.files import write_json
from webtext_gpt.paths import check_output_folder
from webtext_gpt.settings.saved import holds_run
from webtext_gpt.terminal import say

SUMMARY = "summary.json"


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
            say(f"{path} is damaged ({problem}); the checkpoint before it is used")
    if saved:
        raise UserError(
            f"every checkpoint of {run_dir} is damaged; start a new run in another run_dir"
        )
    if report:
        say(f"{run_dir} holds no checkpoint yet; the run starts again at step 0")
    return None


def save_summary(summary: dict[str, Any], run_dir: Path) -> None:
    """Write the figures of a finished run; this file marks the run as finished."""
    write_json(run_dir / SUMMARY, summary)


def read_summary(run_dir: Path) -> dict[str, Any]:
    """Return the figures of a finished run; empty for an unfinished one."""
    path = run_dir / SUMMARY
    return json.loads(path.read_text()) if path.is_file() else {}
