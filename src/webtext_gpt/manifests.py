"""Manifests: JSON objects that hold a hash of themselves, by which altered ones are refused."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from webtext_gpt.errors import UserError

CHECKSUM = "manifest_sha256"
"""Key of the hash. Manifests of earlier versions do not have it."""


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest with the hash of its other keys."""
    return {**manifest, CHECKSUM: _hash(manifest)}


def refuse_altered(path: Path, manifest: Mapping[str, Any], advice: str) -> None:
    """Raise UserError if a manifest was altered after it was written.

    Args:
        path: Its file, for the message.
        manifest: Contents of the file.
        advice: End of the message: how to repair it.
    """
    if CHECKSUM in manifest and manifest[CHECKSUM] != _hash(manifest):
        raise UserError(f"{path} was altered: it differs from the hash in it; {advice}")


def first_problem(error: ValidationError) -> str:
    """Return the key and the problem of the first error that pydantic found."""
    first = error.errors(include_url=False)[0]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    found = "" if first["type"] in ("missing", "value_error") else f", found {first['input']!r:.80}"
    return f"{key.removeprefix('.')}: {first['msg']}{found}".removeprefix(": ")


def _hash(manifest: Mapping[str, Any]) -> str:
    rest = json.loads(json.dumps({k: v for k, v in manifest.items() if k != CHECKSUM}))
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
