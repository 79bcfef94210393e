"""Exceptions for bad input and for a requested stop; the system's errors in plain words."""

import difflib
import errno
from collections.abc import Iterable, Iterator

FULL_ERROR = "HYDRA_FULL_ERROR"
"""Environment variable; `1` keeps the traceback of errors."""
EXIT_PREEMPTED = 75
"""Exit code of a run that a system signal stopped after saving: EX_TEMPFAIL."""


class UserError(ValueError):
    """Bad input. The message names the file, key or row, what was found, and what to do.

    Entry points print the message and exit. Other exceptions are bugs and keep their traceback.

    Attributes:
        exit_code: exit code of the process.
    """

    exit_code = 1


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a hint for a message about an unknown name, `did you mean A or B?`, or "".

    For the arguments see `close_names`.
    """
    near = close_names(name, known, cutoff=cutoff)
    return f"did you mean {' or '.join(near)}?" if near else ""


def close_names(
    name: str, known: Iterable[str], *, most: int = 2, cutoff: float = 0.6
) -> list[str]:
    """Return the known names that are similar to `name`, the most similar first.

    Args:
        name: what was given; its case and the white space around it do not count.
        known: the names that exist.
        most: maximum number of names.
        cutoff: least similarity, from 0 to 1, see `difflib.get_close_matches`.
    """
    folded: dict[str, str] = {}
    for other in known:
        folded.setdefault(other.strip().casefold(), other)
    near = difflib.get_close_matches(name.strip().casefold(), folded, n=most, cutoff=cutoff)
    return [folded[other] for other in near]


class Stopped(UserError):  # noqa: N818 - not an error
    """All processes of a run have agreed to stop, and its state is saved.

    Args:
        message: what was saved and how to resume.
        exit_code: `EXIT_PREEMPTED` after a system signal, 1 after Ctrl-C.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_PLAIN = {
    errno.ENOENT: "{file} does not exist",
    errno.EACCES: "no permission to use {file}",
    errno.EPERM: "no permission to use {file}",
    errno.EISDIR: "{file} is a folder, but a file is expected",
    errno.ENOTDIR: "{file}: a part of this path is a file, not a folder",
    errno.EEXIST: "{file} exists already",
    errno.ENOTEMPTY: "{file} is a folder that is not empty",
    errno.EROFS: "{file} is on a file system that cannot be written to",
    errno.ENOSPC: "the disk is full, and {file} is not written; free some space",
    errno.EDQUOT: "your disk quota is used up, and {file} is not written; free some space",
    errno.ENAMETOOLONG: "{file} is too long a name",
    errno.ELOOP: "{file} is a symbolic link that leads back to itself",
    errno.EMFILE: "too many open files, the last {file}; raise the limit with ulimit -n",
    errno.EIO: "{file} cannot be read or written: the disk reports an error",
    errno.ESTALE: "{file} was replaced on the network file system; start again",
}


def causes(error: BaseException | None, *, handled: bool = True) -> Iterator[BaseException]:
    """Yield an exception and those that led to it, each once.

    Args:
        error: the exception.
        handled: follow also those that were being handled when another was raised, which a
            `raise ... from ...` does not name.
    """
    seen: list[BaseException] = []
    while error is not None and not any(error is one for one in seen):
        seen.append(error)
        yield error
        error = error.__cause__ or (error.__context__ if handled else None)


def explain(error: OSError) -> str:
    """Return one line that names the file of a system error, and says what is wrong."""
    file = error.filename
    if file is None:
        return error.strerror or str(error)
    text = _PLAIN.get(error.errno or 0)
    name = str(file)
    return text.format(file=name) if text else f"{name}: {error.strerror or error}"
