"""List the files of an address: a file, the files of a folder, or those that a pattern matches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from webtext_gpt.errors import UserError
from webtext_gpt.remote.addresses import PATTERN_CHARACTERS
from webtext_gpt.remote.stores import (
    NotThereError,
    absence_of,
    first_answer,
    open_store,
    reaching,
)

MANIFEST = "manifest.json"
PLAN = "_work/plan.json"
"""File that a stage's folder holds until the stage is finished."""

How = Literal["named", "matched", "inside"]
Info = Mapping[str, Any]
"""A store's description of a file: `name`, `size`, `type` and more."""


def exists(address: str, key: str = "") -> bool:
    """Return whether a remote file or folder exists, or a pattern matches something.

    Raises:
        UserError: the store cannot be reached or refuses.
    """
    store, root = open_store(address, key)
    store.invalidate_cache()
    try:
        first_answer(address, lambda: store.info(root))
    except NotThereError:
        with reaching(address):
            return is_pattern(root) and bool(store.glob(root))
    return True


def is_pattern(text: str) -> bool:
    """Return whether a text has characters of a glob pattern."""
    return any(character in text for character in PATTERN_CHARACTERS)


def base_of(address: str) -> str:
    """Return the folder that a pattern is searched in: the parts before the first wildcard.

    Raises:
        UserError: the bucket is a pattern.
    """
    parts = address.split("/")
    first = next(at for at, part in enumerate(parts) if is_pattern(part))
    if first < 3:
        raise UserError(f"{address}: the bucket cannot be a pattern; name it")
    return "/".join(parts[:first])


def list_address(store: Any, root: str, address: str, key: str) -> tuple[How, dict[str, Info]]:
    """Return how an address names files, and the store's description of each.

    Their names are relative to the address, or to the base of a pattern; "" for a file itself.
    """
    shown = f"{key}={address}" if key else address
    store.invalidate_cache()
    try:
        info = first_answer(address, lambda: store.info(root))
    except NotThereError as error:
        if not is_pattern(root):
            raise UserError(f"{shown} {absence_of(str(error))}") from error
        with reaching(address):
            found = store.glob(root, detail=True)
        named = _relative(found, store._strip_protocol(base_of(address)), address)
        if not named:
            raise UserError(f"{shown} matches no file") from error
        return "matched", named
    if info["type"] != "directory":
        return "named", {"": info}
    with reaching(address):
        return "inside", _relative(store.find(root, detail=True), root, address)


def _relative(found: Mapping[str, Info], root: str, address: str) -> dict[str, Info]:
    """Return the visible files of a listing by their names relative to a folder."""
    relative = {}
    for name, info in found.items():
        if info["type"] != "file" or name.endswith("/"):
            continue
        if not name.startswith(f"{root}/"):
            raise UserError(f"{address}: the store lists {name}, which is not below it")
        inside = name[len(root) + 1 :]
        if "/." in address or not any(part.startswith(".") for part in inside.split("/")):
            relative[inside] = info
    return relative


def place_in(folder: Path, name: str, address: str) -> Path:
    """Return the place of a file in the cache.

    Raises:
        UserError: its name would lead out of the folder.
    """
    parts = name.split("/") if name else []
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UserError(f"{address}: the store has a file {name!r}, which no disk can have")
    return folder.joinpath(*parts)


def refuse_unfinished(names: set[str], address: str) -> None:
    """Raise UserError if the names in a folder show that a stage has not finished it."""
    for plan in (name for name in names if f"/{name}".endswith(f"/{PLAN}")):
        folder = plan[: -len(PLAN)]
        if f"{folder}{MANIFEST}" not in names:
            raise UserError(
                f"{address}/{folder}".rstrip("/") + " is not finished: the stage that makes it is "
                "running or was stopped; run its command again, or delete the folder"
            )
