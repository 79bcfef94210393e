"""Copies of each bucket in the cache: their sizes, their removal, and their lock."""

import shutil
from functools import cache
from pathlib import Path

from webtext_gpt.locks import InUse, unused

MARK = ".in-use"
"""File in the folder of a bucket's copies that processes lock while they use them."""


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
def hold(bucket: Path) -> InUse:
    """Mark the copies of a bucket as in use until this process ends: see `data/cache.py`."""
    bucket.mkdir(parents=True, exist_ok=True)
    mark = bucket / MARK
    mark.touch()
    return InUse(mark)
