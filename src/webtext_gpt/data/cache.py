"""Cache of the token shards that `train.py` builds from text: its entries, their sizes, removal.

It also holds the copies of remote files, one folder per bucket: see `webtext_gpt.remote.mirror`.

An entry is a folder `KIND-HASH`, made by `webtext_gpt.data.prepare` under the hidden name
`.KIND-HASH.partial`, while `KIND-HASH.lock` is locked. A process that reads an entry holds a shared
lock on its manifest. Folders that are not of this form, or hold other files, are left alone.

    python -m webtext_gpt.data.cache [empty=true]
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("cache")

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from webtext_gpt.data.shards import MANIFEST, TOKENIZER
from webtext_gpt.files import PARTIAL
from webtext_gpt.locks import unused
from webtext_gpt.paths import local_path, shown
from webtext_gpt.remote.addresses import REMOTE
from webtext_gpt.remote.buckets import buckets, remove_copies
from webtext_gpt.remote.uploads import unfinished_folders

if TYPE_CHECKING:
    from webtext_gpt.cli import Call
    from webtext_gpt.settings.cache import Cache

_NAME = r"[a-z0-9_]+-[0-9a-f]{16}"
_ENTRY = re.compile(_NAME)
_LEFT = re.compile(rf"\.({_NAME}){re.escape(PARTIAL)}")
_FILE = re.compile(rf"(tokens|documents)-\d+\.bin|{re.escape(MANIFEST)}|{re.escape(TOKENIZER)}")
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Entry:
    """One entry of a cache.

    Attributes:
        folder: its folder.
        size: size of its files in bytes.
        built: time at which it was finished, in seconds since 1970.
        source: description of the text and the tokenizer that it was made from.
    """

    folder: Path
    size: int
    built: float
    source: str


def lock_of(folder: Path) -> FileLock:
    """Return the lock of an entry, held by the process that makes, opens or removes it."""
    return FileLock(folder.parent / f"{folder.name}.lock")


def entries(cache: Path) -> list[Entry]:
    """Return the entries of a cache, the newest first."""
    found = []
    for path in cache.iterdir() if cache.is_dir() else ():
        with suppress(FileNotFoundError):  # another process has just removed it
            if _is_entry(path):
                found.append(_entry(path))
    return sorted(found, key=lambda entry: (-entry.built, entry.folder.name))


def remove(entry: Entry) -> bool:
    """Remove an entry and return True, unless a process makes, opens or reads it."""
    with _locked(entry.folder) as is_ours:
        if not is_ours or not entry.folder.is_dir():
            return False
        with unused(entry.folder / MANIFEST) as is_unused:
            if not is_unused:
                return False
            # Renamed first: if this process is killed, nobody opens what is left of the entry, and
            # the next build clears it away.
            partial = entry.folder.with_name(f".{entry.folder.name}{PARTIAL}")
            entry.folder.replace(partial)
            shutil.rmtree(partial)
    return True


def clear_leftovers(cache: Path) -> None:
    """Remove what killed builds have left in a cache; builds in progress are left alone."""
    for path in cache.iterdir() if cache.is_dir() else ():
        name = _LEFT.fullmatch(path.name)
        if name and path.is_dir() and not path.is_symlink():
            with _locked(path.with_name(name[1])) as is_ours:
                if is_ours:
                    shutil.rmtree(path, ignore_errors=True)


def size_text(size: int) -> str:
    """Return a size in bytes as text: `61.6 MB`."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} B"


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock an entry inside the block if no other process has; yield whether it is locked."""
    lock = lock_of(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _is_entry(folder: Path) -> bool:
    return (
        _ENTRY.fullmatch(folder.name) is not None
        and folder.is_dir()
        and not folder.is_symlink()
        and (folder / MANIFEST).is_file()
        and all(_FILE.fullmatch(file.name) and file.is_file() for file in folder.iterdir())
    )


def _entry(folder: Path) -> Entry:
    size = sum(file.stat().st_size for file in folder.iterdir())
    built = (folder / MANIFEST).stat().st_mtime
    try:
        source = _origin(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["source"])
    except (ValueError, KeyError, TypeError, AttributeError):
        source = "damaged"
    return Entry(folder, size, built, source)


def _origin(provenance: dict[str, Any]) -> str:
    """Return a few words on the text and the tokenizer that an entry was made from."""
    source, tokenizer = provenance["source"], provenance["tokenizer"]
    kind = source["kind"]
    what = str(kind)
    if kind == "files":
        names = [shown(name) for name, _ in source["files"]]
        what = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"
    elif kind == "hub":
        what = f"{source['name']} of the hub"
    size = f", {tokenizer['vocab_size']:,} ids" if "vocab_size" in tokenizer else ""
    return f"{what}; {tokenizer.get('recipe', 'a given tokenizer')}{size}"


def main(settings: "Cache", call: "Call") -> None:
    """List the entries of the cache, or empty it."""
    cache = local_path(settings.cache_dir, "cache_dir")
    found = entries(cache)
    copies = buckets(cache / REMOTE)
    total = size_text(sum(entry.size for entry in found) + sum(copies.values()))
    print(f"{cache}: {len(found)} {'entry' if len(found) == 1 else 'entries'}, {total}")
    for entry in found:
        days = (time.time() - entry.built) / 86400
        age = f"{days:.0f} days old" if days >= 2 else f"{days * 24:.0f} hours old"
        state = ""
        if settings.empty:
            state = "removed" if remove(entry) else "kept: a process is using it"
        print(f"{size_text(entry.size):>9}  {entry.folder.name}  {state}".rstrip())
        print(f"{'':11}{entry.source}; {age}")
    for bucket, size in copies.items():
        state = ""
        if settings.empty:
            state = "removed" if remove_copies(bucket) else "kept: a process is using it"
        name = f"copies of {bucket.parent.name}://{bucket.name}"
        print(f"{size_text(size):>9}  {name}  {state}".rstrip())
    for folder in unfinished_folders(cache / REMOTE):
        print(f"unfinished: {folder}; run the command that makes it again, or delete the folder")
    clear_leftovers(cache)
