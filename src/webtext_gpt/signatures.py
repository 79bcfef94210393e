"""Recognize files by their first bytes, for messages that say what a file is and what to do."""

import codecs
import shlex
import zipfile
from pathlib import Path
from typing import NamedTuple

from webtext_gpt.errors import UserError

HEAD_BYTES = 4096
"""Number of bytes that is enough to recognize a file."""


A_MODEL = "a model is a run folder, a .ckpt file, or a folder or hub name in Hugging Face's format"
"""Advice in messages about a path that holds no model."""


class Kind(NamedTuple):
    """Kind of a file, completing "FILE is ...", and what to do about it."""

    name: str
    advice: str = ""


def _packed(method: str, program: str) -> Kind:
    return Kind(f"compressed with {method}", f"decompress it first: {program} < {{file}} > NEW")


def _encoded(encoding: str) -> Kind:
    command = f"iconv -f {encoding} -t UTF-8 {{file}} > NEW"
    return Kind(f"in {encoding}", f"convert it to UTF-8: {command}")


_BINARY = {
    b"\x1f\x8b": _packed("gzip", "gunzip"),
    b"\x28\xb5\x2f\xfd": _packed("zstd", "unzstd"),
    b"\xfd7zXZ\0": _packed("xz", "unxz"),
    b"BZh": _packed("bzip2", "bunzip2"),
    b"\xd0\xcf\x11\xe0": Kind("an old Excel or Word document", "save its table as CSV UTF-8"),
    b"PK\x03\x04": Kind("a zip archive", "unpack it first: unzip {file}"),
    b"7z\xbc\xaf\x27\x1c": Kind("a 7z archive", "unpack it first: 7z x {file}"),
    b"\x89PNG\r\n": Kind("a PNG image"),
    b"\xff\xd8\xff": Kind("a JPEG image"),
    b"GIF8": Kind("a GIF image"),
    b"MThd": Kind("a MIDI file", "for music there is data=midi, and generate.py prompt={file}"),
    b"%PDF-": Kind("a PDF document", "extract its text first: pdftotext {file}"),
    b"PAR1": Kind("a Parquet file", "let its name end in .parquet"),
    b"ARROW1": Kind("an Arrow file", "write it as Parquet or JSONL"),
    b"SQLite format 3\0": Kind("an SQLite database", "export its texts as JSONL or CSV"),
    b"\x93NUMPY": Kind("a NumPy array"),
    b"\x89HDF\r\n": Kind("an HDF5 file"),
    b"\x7fELF": Kind("a program"),
    b"GGUF": Kind("a GGUF model", "that format is only written; name the model it was made from"),
    **{bytes([0x80, protocol]): Kind("a Python pickle") for protocol in range(2, 6)},
}
_OFFICE = Kind("an Excel workbook or another Office document", "save its table as CSV UTF-8")
_TAR = Kind("a tar archive", "unpack it first: tar -xf {file}")
_LFS = b"version https://git-lfs.github.com/spec/"
_POINTER = Kind("a Git LFS pointer", "the content was not downloaded: run git lfs pull")


def kind_of(head: bytes) -> Kind | None:
    """Return the kind of a file that begins with `head`; `None` for text and unknown bytes."""
    if head.startswith(_LFS) and b"\noid " in head:
        return _POINTER
    if is_text(head):  # a text may begin with the letters of a signature
        return None
    if head[257:262] == b"ustar":
        return _TAR
    if head.startswith(b"PK\x03\x04") and head[30:49] == b"[Content_Types].xml":
        return _OFFICE
    if encoding := wide_encoding(head):
        return _encoded(encoding)
    return next((kind for magic, kind in _BINARY.items() if head.startswith(magic)), None)


def wide_encoding(head: bytes) -> str | None:
    """Return UTF-32 or UTF-16, by its byte order mark or by the zero bytes of Latin letters."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    even, odd = head[::2], head[1::2]
    for encoding, letters, zeros in (("UTF-16LE", even, odd), ("UTF-16BE", odd, even)):
        if len(zeros) >= 8 and zeros.count(0) > 0.7 * len(zeros) and not letters.count(0):
            return encoding
    return None


def is_text(head: bytes) -> bool:
    """Return whether the beginning of a file is UTF-8 without NUL and other control characters."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return not any(byte < 32 and byte not in b"\t\n\v\f\r\x1b" for byte in head)


def head_of(file: Path) -> bytes:
    """Return the first bytes of a file."""
    with file.open("rb") as stream:
        return stream.read(HEAD_BYTES)


def other_kind(file: Path, head: bytes, expected: str) -> str | None:
    """Return a message if a file is of a known kind that holds no plain text.

    Args:
        file: the file.
        head: its first bytes.
        expected: what it should be, after "not": `text`.
    """
    kind = kind_of(head)
    if kind is None or expected in kind.name:  # a damaged Parquet file is a Parquet file
        return None
    return f"{file} is {_advised(kind, file, f', not {expected}')}"


def refuse_other_kind(file: Path, head: bytes, expected: str = "text") -> None:
    """Refuse a compressed file, an image or another kind of file that holds no plain text.

    Raises:
        UserError: says what the file is and what to do.
    """
    if problem := other_kind(file, head, expected):
        raise UserError(problem)


def why_unreadable(file: Path) -> str | None:
    """Return why a file holds no tensors, to follow "FILE cannot be read: "; `None` if unknown."""
    head = head_of(file)
    if not head:
        return "it is empty; copy or download it again"
    if b"<html" in head[:512].lower():
        return "it is a web page; download the model again"
    if head.startswith(b"PK"):
        cut = "it is cut short, since its end is missing; copy or download it again"
        return None if zipfile.is_zipfile(file) else cut
    if (kind := kind_of(head)) is not None:
        return f"it is {_advised(kind, file)}"
    if is_text(head):
        return f"it is a text file; {A_MODEL}"
    return None


def _advised(kind: Kind, file: Path, contrast: str = "") -> str:
    advice = kind.advice.format(file=shlex.quote(str(file)))
    return f"{kind.name}{contrast}" + (f"; {advice}" if advice else "")
