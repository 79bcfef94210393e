"""Contents of files as benchmarks' authors publish them: plain, gzipped, or in a zip archive."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from webtext_gpt.errors import UserError
from webtext_gpt.files import decode_text
from webtext_gpt.signatures import HEAD_BYTES, refuse_other_kind

GZIP = ".gz"
ZIP = ".zip"
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError)
"""Errors that the decompressors raise; RuntimeError stands for an encrypted archive."""


def published_bytes(file: Path, members: Sequence[str] = ()) -> bytes:
    """Return the contents of a file, decompressed if its name ends in `.gz` or `.zip`.

    Args:
        file: the file.
        members: file names, the preferred one first, of which a zip archive has to contain one, in
            any folder.

    Raises:
        UserError: the file is damaged, contains none of `members`, or is of another kind.
    """
    try:
        if file.name.lower().endswith(GZIP):
            with gzip.open(file) as stream:
                data = stream.read()
        elif file.name.lower().endswith(ZIP):
            data = _member(file, members)
        else:
            data = file.read_bytes()
    except _DAMAGE as error:
        raise UserError(f"{file} is damaged ({error}); download it again") from error
    refuse_other_kind(file, data[:HEAD_BYTES])
    return data


def published_text(file: Path, members: Sequence[str] = ()) -> str:
    r"""Return the UTF-8 text of a file, with `\n` for `\r\n`; see `published_bytes`."""
    return decode_text(file, published_bytes(file, members)).replace("\r\n", "\n")


def published_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank with their numbers from 1, without white space around.

    Only newlines end a line, since the texts contain other line breaks of Unicode.
    """
    for number, line in enumerate(published_text(file).split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def _member(file: Path, members: Sequence[str]) -> bytes:
    with zipfile.ZipFile(file) as archive:
        names = {PurePosixPath(name).name: name for name in archive.namelist()}
        for member in members:
            if member in names:
                return archive.read(names[member])
    raise UserError(f"{file} contains none of {', '.join(members)}")
