"""Versions of remote files, as a store reports them and as the record beside a copy keeps them."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from webtext_gpt.files import write_json
from webtext_gpt.remote.listing import Info

VERSIONS = ("ETag", "etag", "generation", "md5Hash", "blob_id", "mtime", "LastModified", "created")
"""Keys under which stores report the version of a file, the most reliable first."""


def version_of(info: Info) -> list[Any] | None:
    """Return the size and version of a file; None if the store does not report versions."""
    version = next((info[name] for name in VERSIONS if info.get(name)), None)
    if isinstance(version, datetime):  # a store may list numbers, and then give dates
        version = version.timestamp()
    return None if version is None else [info["size"], str(version)]


def record(path: Path, info: Info) -> None:
    """Record which version of a remote file a path holds."""
    write_json(record_of(path), version_of(info))


def recorded(path: Path) -> list[Any] | None:
    """Return the version that a path holds, None if it is unknown."""
    try:
        found = json.loads(record_of(path).read_text("utf-8"))
    except FileNotFoundError:  # never copied, or another process is replacing it
        return None
    return found if isinstance(found, list) and path.is_file() else None


def record_of(path: Path) -> Path:
    """Return the file beside a copy that records its version."""
    return path.with_name(f".{path.name}.remote")
