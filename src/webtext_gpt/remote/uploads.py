"""Folders that are made here and uploaded to an object store when they are finished.

A store has no rename, so the manifest, which is sent last, marks a folder there as complete. Until
then `_work/plan.json` describes the stage, as in a folder on disk.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from webtext_gpt.errors import UserError
from webtext_gpt.files import new_folder, remove
from webtext_gpt.paths import check_output_folder, local_path
from webtext_gpt.progress import progress_bar
from webtext_gpt.remote.addresses import (
    UNFINISHED,
    checked_address,
    is_address,
    mirrored,
    remote_cache,
    under,
)
from webtext_gpt.remote.listing import exists
from webtext_gpt.remote.mirror import AT_ONCE, copy_of
from webtext_gpt.remote.stores import NotThereError, first_answer, open_store, reaching
from webtext_gpt.remote.versions import record, recorded, version_of

WORK = "_work"
"""Name of the folder that a stage's folder holds until the stage is finished."""


class Upload:
    """A folder at an address, and the folder here in which it is made.

    Args:
        address: where the folder goes.
        key: the setting that gives it, for messages.

    Attributes:
        folder: the folder here, `remote/unfinished/...` in the cache.

    Raises:
        UserError: the address is malformed or of an unknown kind.
    """

    def __init__(self, address: str, key: str = "out") -> None:
        self.address = checked_address(address, key)
        self.folder = unfinished(self.address)
        self._store, self._root = open_store(self.address, key)

    def copy(self, name: str) -> Path | None:
        """Return a copy of one of the folder's files; None if it is not there.

        Raises:
            UserError: the store cannot be reached or refuses.
        """
        address = under(self.address, name)
        return copy_of(address) if exists(address) else None

    def holds_files(self) -> bool:
        """Return whether a file is at the address or below it; some stores have empty folders.

        Raises:
            UserError: the store cannot be reached or refuses.
        """
        if not exists(self.address):
            return False
        with reaching(self.address):
            return bool(self._store.find(self._root))

    def write(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file into the folder at the address.

        Raises:
            UserError: the bucket does not exist, or the store cannot be reached or refuses.
        """
        data = json.dumps(value, indent=1, ensure_ascii=False).encode()
        place = f"{self._root}/{name}"
        try:
            first_answer(self.address, lambda: self._store.pipe_file(place, data))
        except NotThereError as error:
            raise UserError(f"{self.address}: nothing can be written there: {error}") from error

    def remove(self, name: str) -> None:
        """Remove a file from the folder at the address, if it is there."""
        address = under(self.address, name)
        if exists(address):
            with reaching(address):
                self._store.rm_file(f"{self._root}/{name}")

    def send(self, files: Sequence[Path], last: Path) -> None:
        """Send files of the folder here, `last` after all others. Those that were sent stay.

        Raises:
            UserError: the store cannot be reached, refuses, or has a file of another size
                afterwards. Everything is still here.
        """
        first = [path for path in files if path != last]
        total = sum(path.stat().st_size for path in files)
        try:
            with (
                progress_bar("uploading", total=total, unit="B", unit_scale=True) as bar,
                ThreadPoolExecutor(AT_ONCE) as pool,
            ):
                for size in pool.map(self._send, first):
                    bar.update(size)
                bar.update(self._send(last))
        except UserError as error:
            raise UserError(
                f"{error}\nthe finished files are in {self.folder}; the same command sends the rest"
            ) from error

    def _send(self, path: Path) -> int:
        name = path.relative_to(self.folder).as_posix()
        place, address = f"{self._root}/{name}", under(self.address, name)
        size = path.stat().st_size
        with reaching(address):
            self._store.invalidate_cache()
            sent, there = recorded(path), self._store.exists(place)
            if sent and there and sent == version_of(self._store.info(place)):
                return size
            self._store.put_file(str(path), place)
            self._store.invalidate_cache()
            info = self._store.info(place)
        if info["size"] != size:
            raise UserError(f"{address} has {info['size']:,} bytes there, and {size:,} here")
        record(path, info)
        return size

    def keep_as_copy(self) -> None:
        """Turn the folder here into the cached copy of the address, for the next stage to read."""
        place = mirrored(self.address)
        remove(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        self.folder.replace(place)


def unfinished(address: str) -> Path:
    """Return the folder of the cache in which a remote folder is made."""
    return remote_cache() / UNFINISHED / mirrored(address).relative_to(remote_cache())


def unfinished_folders(remote: Path) -> list[Path]:
    """Return the folders of stages that are not sent yet, in the folder `REMOTE` of a cache."""
    return sorted(work.parent for work in (remote / UNFINISHED).rglob(WORK) if work.is_dir())


@contextmanager
def written_folder(out: str | Path, key: str = "out") -> Iterator[Path]:
    """Yield a folder to write to: `out`, or one whose files are sent to the address `out`.

    For folders that are written in one go and have no manifest.

    Raises:
        UserError: `out` cannot be written to; or see `Upload`.
    """
    if not is_address(out):
        folder = local_path(out, key)
        check_output_folder(folder, key)
        yield folder
        return
    upload = Upload(str(out), key)
    remove(upload.folder)
    with new_folder(upload.folder) as folder:
        yield folder
    files = sorted(path for path in upload.folder.rglob("*") if path.is_file())
    upload.send(files, files[-1])
    upload.keep_as_copy()


def sent_files(folder: Path) -> list[Path]:
    """Return the files of a stage's folder to upload: all but hidden ones and its `_work`."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name[0] != "."]
    return sorted(path for path in files if folder / WORK not in path.parents)
