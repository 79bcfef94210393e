"""Search for documents in folders that a stage of `data_prep` made or is making."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

MANIFEST = "manifest.json"
PLAN = "_work/plan.json"


def stage_rule() -> Callable[[Path], bool]:
    """Return a function that tells whether a search for documents skips a file or folder.

    The folder of a stage stands for its parts (`documents-00000.parquet`), not for the tables and
    folders beside them (`clusters.parquet`, `dropped/`). Each folder is looked at once.
    """
    is_stage = cache(_is_stage)

    def passed_by(path: Path) -> bool:
        return is_stage(path.parent) and ("-" not in path.name or path.is_dir())

    return passed_by


def _is_stage(folder: Path) -> bool:
    if (folder / PLAN).is_file():
        return True
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and "stage" in manifest
