"""Copies of remote files in the cache, each as the store had it when it was last asked.

A copy stands at a path that repeats its address: `remote/s3/BUCKET/FOLDER/NAME`. Beside it,
`.NAME.remote` records the size and version that the store gave for it, so that a file is downloaded
once, and again only when it has changed. Its folder's manifest is copied with it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from webtext_gpt.errors import UserError
from webtext_gpt.files import remove, replaced, write_json
from webtext_gpt.locks import InUse, unused
from webtext_gpt.progress import progress_bar
from webtext_gpt.remote.addresses import (
    PATTERN_CHARACTERS,
    checked_address,
    mirrored,
    remote_cache,
)
from webtext_gpt.remote.stores import (
    NotThereError,
    absence_of,
    first_answer,
    open_store,
    reaching,
)

MANIFEST = "manifest.json"
PLAN = "_work/plan.json"
"""What a stage has in its folder until it is finished."""
MARK = ".in-use"
"""File in the folder of a bucket's copies that processes lock while they use them."""
AT_ONCE = 8
"""Files that are transferred at a time."""
VERSIONS = ("ETag", "etag", "generation", "md5Hash", "blob_id", "mtime", "LastModified", "created")
"""Keys under which stores tell the version of a file, the surest first."""

How = Literal["named", "matched", "inside"]
Info = Mapping[str, Any]
"""What a store says of a file: `name`, `size`, `type` and more."""


@dataclass(frozen=True)
class Copies:
    """What an address names.

    Attributes:
        path: its place in the cache; a pattern has none.
        files: places of its files, sorted. Those that were not taken are not there.
        how: how the address gives them.
    """

    path: Path
    files: list[Path]
    how: How


def copy_of(address: str, key: str = "") -> Path:
    """Return the copy of a remote file, or of a folder with all its files, brought up to date.

    Raises:
        UserError: see `fetch`.
    """
    return fetch(address, key).path


def fetch(
    address: str,
    key: str = "",
    takes: Callable[[Path, How], bool] = lambda _path, _how: True,
    *,
    ignored: Callable[[Path], bool] = lambda _: False,
    recursive: bool = True,
) -> Copies:
    """Bring the copies of a remote file, of a folder's files, or of those that a pattern matches.

    Names that begin with a dot are left out in folders and patterns, as on disk.

    Args:
        address: names what exists literally; only then are `*`, `?`, `[...]` and `**` a pattern.
        key: the setting that gives it, for messages.
        takes: whether a file is downloaded, by its place in the cache.
        ignored: files and folders that are passed by. It is asked when manifests are there.
        recursive: whether a folder also stands for the files in its folders.

    Raises:
        UserError: the address names nothing, or a folder whose stage is not finished; the store
            cannot be reached or refuses; a file changes while it is read; or the disk lacks room.
    """
    address = checked_address(address, key)
    store, root = open_store(address, key)
    how, found = _listing(store, root, address, key)
    base = _base(address) if how == "matched" else address
    place = mirrored(base)
    copies = {_place(place, name, base): info for name, info in found.items()}
    if how == "inside":
        _refuse_unfinished(set(found), address)
        _remove_stale(place, set(copies))
        manifests = {path: info for path, info in copies.items() if path.name == MANIFEST}
    else:
        manifests = _manifests_beside(store, copies, address)
    _bring(store, manifests, address)

    def is_listed(path: Path) -> bool:
        if how != "inside":
            return True
        parents = [p for p in path.parents if p != place and p.is_relative_to(place)]
        return (recursive or not parents) and not any(map(ignored, (path, *parents)))

    listed = [path for path in sorted(copies) if is_listed(path)]
    _bring(store, {path: copies[path] for path in listed if takes(path, how)}, address)
    return Copies(mirrored(address), listed, how)


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
            return _is_pattern(root) and bool(store.glob(root))
    return True


def version_of(info: Info) -> list[Any] | None:
    """Return the size and version of a file; None if the store does not tell versions."""
    version = next((info[name] for name in VERSIONS if info.get(name)), None)
    if isinstance(version, datetime):  # a store may list numbers, and then give dates
        version = version.timestamp()
    return None if version is None else [info["size"], str(version)]


def record(path: Path, info: Info) -> None:
    """Record which version of a remote file a path holds."""
    write_json(_record_of(path), version_of(info))


def recorded(path: Path) -> list[Any] | None:
    """Return the version that a path holds, None if it is unknown."""
    try:
        found = json.loads(_record_of(path).read_text("utf-8"))
    except FileNotFoundError:  # never copied, or another process is replacing it
        return None
    return found if isinstance(found, list) and path.is_file() else None


def _record_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.remote")


def _is_pattern(text: str) -> bool:
    return any(character in text for character in PATTERN_CHARACTERS)


def _base(address: str) -> str:
    """Return the folder in which a pattern is looked for: its parts before the first pattern.

    Raises:
        UserError: the bucket is a pattern.
    """
    parts = address.split("/")
    first = next(at for at, part in enumerate(parts) if _is_pattern(part))
    if first < 3:
        raise UserError(f"{address}: the bucket cannot be a pattern; name it")
    return "/".join(parts[:first])


def _listing(store: Any, root: str, address: str, key: str) -> tuple[How, dict[str, Info]]:
    """Return how an address gives files, and what the store says of each.

    Their names are relative to the address, or to the base of a pattern; "" for a file itself.
    """
    shown = f"{key}={address}" if key else address
    store.invalidate_cache()
    try:
        info = first_answer(address, lambda: store.info(root))
    except NotThereError as error:
        if not _is_pattern(root):
            raise UserError(f"{shown} {absence_of(str(error))}") from error
        with reaching(address):
            found = store.glob(root, detail=True)
        named = _relative(found, store._strip_protocol(_base(address)), address)
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


def _place(folder: Path, name: str, address: str) -> Path:
    """Return the place of a file in the cache.

    Raises:
        UserError: its name would lead out of the folder.
    """
    parts = name.split("/") if name else []
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise UserError(f"{address}: the store has a file {name!r}, which no disk can have")
    return folder.joinpath(*parts)


def _refuse_unfinished(names: set[str], address: str) -> None:
    for plan in (name for name in names if f"/{name}".endswith(f"/{PLAN}")):
        folder = plan[: -len(PLAN)]
        if f"{folder}{MANIFEST}" not in names:
            raise UserError(
                f"{address}/{folder}".rstrip("/") + " is not finished: the stage that makes it is "
                "running or was stopped; run its command again, or delete the folder"
            )


def _remove_stale(folder: Path, current: set[Path]) -> None:
    """Remove copies of files that the store no longer has."""
    for note in folder.rglob(".*.remote") if folder.is_dir() else ():
        path = note.with_name(note.name[1 : -len(".remote")])
        if path not in current:
            remove(path)
            remove(note)


def _manifests_beside(store: Any, copies: Mapping[Path, Info], address: str) -> dict[Path, Info]:
    """Return the manifests in the folders of some files; forget the copies of others."""
    folders = {path.parent: info["name"].rpartition("/")[0] for path, info in copies.items()}
    manifests = {}
    for place, folder in folders.items():
        with reaching(address):
            try:
                manifests[place / MANIFEST] = store.info(f"{folder}/{MANIFEST}")
            except (FileNotFoundError, PermissionError):  # S3 refuses whom it may not tell
                remove(place / MANIFEST)
                remove(_record_of(place / MANIFEST))
    return manifests


def _bring(store: Any, files: Mapping[Path, Info], address: str) -> None:
    """Download the files whose copies are not of the store's version."""
    if files:
        _hold(remote_cache().joinpath(*next(iter(files)).relative_to(remote_cache()).parts[:2]))
    due = {path: info for path, info in files.items() if _is_due(path, info)}
    needed = sum(info["size"] or 0 for info in due.values())
    if not due:
        return
    remote_cache().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(remote_cache()).free
    if needed > free:
        raise UserError(
            f"{address}: {needed / 1e9:,.1f} GB are to be downloaded, and {remote_cache()} has "
            f"room for {free / 1e9:,.1f} GB; let WEBTEXT_GPT_CACHE name a folder on a larger disk"
        )
    with (
        progress_bar("downloading", total=needed, unit="B", unit_scale=True) as bar,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        scheme = address.partition("://")[0]
        for size in pool.map(lambda path: _download(store, path, due[path], scheme), due):
            bar.update(size)


def _is_due(path: Path, info: Info) -> bool:
    version = version_of(info)
    return version is None or recorded(path) != version or path.stat().st_size != info["size"]


def _download(store: Any, path: Path, info: Info, scheme: str) -> int:
    """Download a file, unless another process has done so meanwhile; return its size.

    Raises:
        UserError: the store has another version afterwards than before, or gives another size.
    """
    name = info["name"]
    address = f"{scheme}://{name.lstrip('/')}"
    locks = remote_cache() / "locks"
    locks.mkdir(exist_ok=True)
    with FileLock(locks / f"{_lock_name(path)}"):
        if not _is_due(path, info):
            return int(info["size"])
        remove(_record_of(path))  # the copy that is replaced has no version for a moment
        with replaced(path) as partial, reaching(address):
            store.get_file(name, str(partial))
            size = partial.stat().st_size
            store.invalidate_cache()
            now = store.info(name)
            if version_of(now) != version_of(info) or info["size"] not in (None, size):
                raise UserError(
                    f"{address} changed while it was read ({info['size']:,} bytes when it was "
                    f"listed, {size:,} read, {now['size']:,} now); start again when nothing writes "
                    "to it"
                )
        record(path, info)
    return size


def _lock_name(path: Path) -> str:
    place = str(path.relative_to(remote_cache()))
    return f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.lock"


def buckets(remote: Path) -> dict[Path, int]:
    """Return the folders of copies in the folder `REMOTE` of a cache, and their sizes in bytes."""
    found = (mark.parent for mark in sorted(remote.glob(f"*/*/{MARK}")))
    return {
        bucket: sum(p.stat().st_size for p in bucket.rglob("*") if p.is_file()) for bucket in found
    }


def remove_copies(bucket: Path) -> bool:
    """Remove the copies of a bucket's files and return True, unless a process uses them."""
    with unused(bucket / MARK) as is_unused:
        if is_unused:
            shutil.rmtree(bucket)
        return is_unused


@cache
def _hold(bucket: Path) -> InUse:
    """Mark the copies of a bucket as in use until this process ends: see `data/cache.py`."""
    bucket.mkdir(parents=True, exist_ok=True)
    mark = bucket / MARK
    mark.touch()
    return InUse(mark)
