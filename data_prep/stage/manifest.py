"""Manifest of a finished stage: reading it, and printing its counts."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from webtext_gpt.errors import UserError
from webtext_gpt.files import write_json
from webtext_gpt.manifests import first_problem, refuse_altered
from webtext_gpt.terminal import say

MANIFEST = "manifest.json"
REPAIR = "restore it, or make the folder again"

Rows = Annotated[int, Field(strict=True, ge=0)]

Manifest = dict[str, Any]
"""Parsed `manifest.json`. The keys that every stage writes are listed at `Ledger.finish`."""


class _Input(BaseModel):
    name: str
    xxh3: str


class _Checked(BaseModel):
    """Keys of a manifest or plan that later stages read."""

    config: dict[str, Any] = {}
    inputs: list[_Input] = []
    rows_in: Rows = 0
    rows_used: Rows = 0
    rows_out: Rows = 0
    rejected: dict[str, Rows] = {}
    sources: list[dict[str, Any]] = []

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.rows_in != self.rows_used + sum(self.rejected.values()):
            raise ValueError(
                f"rows_in: {self.rows_in:,}, but {self.rows_used:,} used and "
                f"{sum(self.rejected.values()):,} rejected"
            )
        return self


def read_manifest(path: Path) -> Manifest:
    """Read a manifest, a plan, or the record of a unit of work.

    Raises:
        UserError: The file is not a JSON object, a key of a manifest or plan has a wrong type or
            value, or the file was altered.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}); {REPAIR}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a manifest; {REPAIR}")
    if "stage" in value:
        try:
            _Checked.model_validate(value)
        except ValidationError as error:
            raise UserError(f"{path}: {first_problem(error)}; {REPAIR}") from error
    refuse_altered(path, value, REPAIR)
    return value


def write_manifest(path: Path, value: Mapping[str, Any]) -> None:
    """Write a manifest, a plan, or the record of a unit of work."""
    write_json(path, value, indent=1, ensure_ascii=False)


def source_manifests(paths: Iterable[Path]) -> list[Manifest]:
    """Return the manifests of the finished stages that wrote some files, one per folder.

    A stage stores them in its own manifest, so that every corpus can be traced back to the dumps,
    but not the lists of their files, which are its inputs.
    """
    folders = {path.resolve().parent for path in paths}  # of the target, if it is a link
    found = [read_manifest(f / MANIFEST) for f in folders if (f / MANIFEST).exists()]
    for manifest in found:
        manifest.pop("outputs", None)
    return sorted(found, key=lambda manifest: json.dumps(manifest.get("inputs"), sort_keys=True))


def print_counts(manifest: Manifest) -> None:
    """Print the rows in, the rows out and the rejected rows by reason."""
    counts = f"{manifest['rows_in']:,} rows in, {manifest['rows_out']:,} out"
    say(counts, label=manifest["stage"])
    for reason, count in sorted(manifest["rejected"].items(), key=lambda item: -item[1]):
        say(f"  {count:>12,}  {reason}")
    if manifest["rows_used"] != manifest["rows_out"]:
        say(f"  {manifest['rows_used']:>12,}  merged into the rows out")
