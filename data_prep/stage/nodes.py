"""Check of the code and the data on each node of a cluster."""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import xxhash

import data_prep
import webtext_gpt

SHARED_SECONDS = 10.0
"""Seconds that a network file system has to show a file of another machine."""


@cache
def code_hash() -> str:
    """Return a hash of this project's source, which all nodes need to have in common."""
    digest = xxhash.xxh3_64()
    for package in (data_prep, webtext_gpt):
        folder = Path(str(package.__file__)).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder.parent)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextlib.contextmanager
def node_check(files: Sequence[tuple[Path, int]], folder: Path) -> Iterator[Callable[[], str]]:
    """Yield a function that returns what a node lacks for the work on some files, or "".

    It may be sent to nodes that do not have this project. While the block runs, there is a hidden
    file in the folder, by which a node recognizes it.

    Args:
        files: Files that the node has to see, and their sizes in bytes.
        folder: Existing folder that the node has to write to.
    """
    mark = folder / f".{uuid.uuid4().hex}.partial"
    # One file of each folder: a node that sees it sees the others.
    seen = list({path.parent: (path, size) for path, size in files}.values())
    code, seconds = code_hash(), SHARED_SECONDS

    def look() -> str:
        import time

        try:
            import data_prep
            from data_prep.stage.nodes import code_hash, data_fault
        except ModuleNotFoundError as error:
            return (
                f"has no module {error.name}: install this project there, for the Python that "
                "runs Ray, or mount the checkout under the same path;"
            )
        if (theirs := code_hash()) != code:
            where = next(iter(data_prep.__path__))
            return (
                f"has other code of this project in {where} (hash {theirs}, here {code}): install "
                "the same version there;"
            )
        deadline = time.monotonic() + seconds
        while (fault := data_fault(seen, mark)) and time.monotonic() < deadline:
            time.sleep(0.5)
        return fault

    mark.write_text("")
    try:
        yield look
    finally:
        mark.unlink(missing_ok=True)


def data_fault(files: Sequence[tuple[Path, int]], mark: Path) -> str:
    """Return the fault of the data on this machine, or "".

    Args:
        files: Files to read, and their sizes in bytes.
        mark: File in the folder to write to.
    """
    for path, size in files:
        if not path.exists():
            return f"does not see {path.parent}: mount that folder there under the same path;"
        if path.stat().st_size != size:
            return (
                f"has another {path.name} in {path.parent}: mount the same folder there under "
                "that path;"
            )
    if not mark.exists():
        return f"does not see {mark.parent}: mount that folder there under the same path;"
    mine = mark.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        mine.write_text("")
        mine.unlink()
    except OSError as error:
        return f"cannot write to {mark.parent} ({error.strerror}): allow it;"
    return ""
