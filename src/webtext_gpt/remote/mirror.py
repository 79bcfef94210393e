"""Copies of remote files in the cache, each in the version that the store last reported.

The path of a copy repeats its address: `remote/s3/BUCKET/FOLDER/NAME`. Beside it, `.NAME.remote`
records the size and version that the store gave for it, so that a file is downloaded once, and
again only when it has changed. Its folder's manifest is copied with it.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from webtext_gpt.errors import UserError
from webtext_gpt.files import remove, replaced
from webtext_gpt.progress import progress_bar
from webtext_gpt.remote.addresses import (
    checked_address,
    mirrored,
    remote_cache,
)
from webtext_gpt.remote.buckets import hold
from webtext_gpt.remote.listing import (
    MANIFEST,
    How,
    Info,
    base_of,
    list_address,
    place_in,
    refuse_unfinished,
)
from webtext_gpt.remote.stores import open_store, reaching
from webtext_gpt.remote.versions import record, record_of, recorded, version_of

AT_ONCE = 8
"""Number of files transferred at the same time."""


@dataclass(frozen=True)
class Copies:
    """Copies of the files of an address.

    Attributes:
        path: path of the address in the cache; meaningless for a pattern.
        files: paths of its files, sorted. Those that were not taken do not exist.
        how: how the address names them.
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
    """Download a remote file, a folder's files, or those that a pattern matches; return the copies.

    Names that begin with a dot are left out in folders and patterns, as on disk.

    Args:
        address: a name with `*`, `?`, `[...]` or `**` is a pattern unless it exists literally.
        key: the setting that gives it, for messages.
        takes: returns whether a file is downloaded, given its path in the cache.
        ignored: returns whether a file or folder is skipped; called after manifests are copied.
        recursive: whether a folder also stands for the files in its folders.

    Raises:
        UserError: the address names nothing, or a folder whose stage is not finished; the store
            cannot be reached or refuses; a file changes while it is read; or the disk lacks room.
    """
    address = checked_address(address, key)
    store, root = open_store(address, key)
    how, found = list_address(store, root, address, key)
    base = base_of(address) if how == "matched" else address
    place = mirrored(base)
    copies = {place_in(place, name, base): info for name, info in found.items()}
    if how == "inside":
        refuse_unfinished(set(found), address)
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


def _remove_stale(folder: Path, current: set[Path]) -> None:
    """Remove copies of files that the store no longer has."""
    for note in folder.rglob(".*.remote") if folder.is_dir() else ():
        path = note.with_name(note.name[1 : -len(".remote")])
        if path not in current:
            remove(path)
            remove(note)


def _manifests_beside(store: Any, copies: Mapping[Path, Info], address: str) -> dict[Path, Info]:
    """Return the manifests in the folders of some files; drop copies of those that are gone."""
    folders = {path.parent: info["name"].rpartition("/")[0] for path, info in copies.items()}
    manifests = {}
    for place, folder in folders.items():
        with reaching(address):
            try:
                manifests[place / MANIFEST] = store.info(f"{folder}/{MANIFEST}")
            except (FileNotFoundError, PermissionError):  # S3 refuses whom it may not tell
                remove(place / MANIFEST)
                remove(record_of(place / MANIFEST))
    return manifests


def _bring(store: Any, files: Mapping[Path, Info], address: str) -> None:
    """Download the files whose copies are out of date."""
    if files:
        hold(remote_cache().joinpath(*next(iter(files)).relative_to(remote_cache()).parts[:2]))
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
        remove(record_of(path))  # the copy that is replaced has no version for a moment
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
