"""Manifest of a finished stage: reading it, and printing its counts."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from webtext_gpt.errors import UserError

MANIFEST = "manifest.json"

Manifest = dict[str, Any]
"""Parsed `manifest.json`. The keys that every stage writes are listed at `Ledger.finish`."""


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, a plan, or the record of a unit of work.

    Raises:
        UserError: The file is not a JSON object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); choose another out=") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a manifest; choose another out=")
    return value


def source_manifests(paths: Iterable[Path]) -> list[Manifest]:
    """Return the manifests of the finished stages that wrote some files, one per folder.

    A stage stores them in its own manifest, so that every corpus can be traced back to the dumps,
    but not the lists of their files, which are its inputs.
    """
    folders = {path.resolve().parent for path in paths}  # of a link, where its target is
    found = [read_manifest(f / MANIFEST) for f in folders if (f / MANIFEST).exists()]
    for manifest in found:
        manifest.pop("outputs", None)
    return sorted(found, key=lambda manifest: json.dumps(manifest.get("inputs"), sort_keys=True))


def print_counts(manifest: Manifest) -> None:
    """Print the rows in, the rows out and the rejected rows by reason."""
    print(f"{manifest['stage']}: {manifest['rows_in']:,} rows in, {manifest['rows_out']:,} out")
    for reason, count in sorted(manifest["rejected"].items(), key=lambda item: -item[1]):
        print(f"  {count:>12,}  {reason}")
    if manifest["rows_used"] != manifest["rows_out"]:
        print(f"  {manifest['rows_used']:>12,}  merged into the rows out")
