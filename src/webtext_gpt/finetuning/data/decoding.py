"""Decode the lines of a text file; advise on the encoding if it is not the task's."""

import codecs
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from webtext_gpt.data.diagnosis import decodes, diagnose
from webtext_gpt.data.rows import Report, decoded
from webtext_gpt.errors import UserError
from webtext_gpt.files import CONVERT
from webtext_gpt.signatures import head_of, refuse_other_kind, wide_encoding

_MARKS = {  # byte order mark: encoding. UTF-32's little-endian one begins with UTF-16's
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_WIDE = {"utf-16": 2, "utf-32": 4}
"""Supported encodings that are not supersets of ASCII, with the bytes of a code unit."""


def check_encoding(encoding: str) -> None:
    """Refuse an encoding that is unknown, or neither a superset of ASCII nor UTF-16 or UTF-32.

    Raises:
        UserError: names the encoding.
    """
    try:
        name = codecs.lookup(encoding).name
        readable = name[:6] in _WIDE or b"\n".decode(encoding) == "\n"
    except (LookupError, UnicodeError):
        readable = False
    if not readable:
        raise UserError(
            f"task.encoding={encoding} is not a superset of ASCII, as utf-8, latin-1 and cp1252 "
            "are, nor utf-16; choose one of those, or save the file as UTF-8"
        )


def has_mark(file: Path) -> bool:
    """Return whether a file begins with a byte order mark."""
    with file.open("rb") as stream:
        return stream.read(4).startswith(tuple(_MARKS))


def decoded_lines(
    file: Path,
    encoding: str,
    has_settings: bool = True,
    on_replaced: Report | None = None,
    on_utf8: Report | None = None,
) -> Iterator[str]:
    """Yield decoded lines, each ending in a line feed, without a byte order mark.

    A byte order mark decides the encoding, as in browsers. Line ends are LF, CRLF, or CR if the
    file has no other.

    Args:
        file: the file, which is read line by line.
        encoding: encoding of a file without a byte order mark; see `check_encoding`.
        has_settings: whether the caller has the settings `task.*`, for messages.
        on_replaced: called for each line with bytes that are replaced by U+FFFD because they are
            not in the encoding; `None` refuses such a line.
        on_utf8: called at the end of a file that is read in another encoding, if most of its lines
            that are not ASCII are UTF-8, with the first of these lines and their number.

    Raises:
        UserError: the file is empty, no text, or not in the encoding.
    """
    head = head_of(file)
    if not head:
        raise UserError(f"{file} is empty")
    mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    encoding = _MARKS[mark] if mark else _unmarked(file, head, encoding, has_settings)
    in_doubt = not mark and codecs.lookup(encoding).name[:6] not in ("utf-8", *_WIDE)
    utf8 = Counter[bool]()  # non-ASCII lines, by whether they are UTF-8
    first = ""
    with file.open("rb") as stream:
        stream.seek(len(mark))
        for number, raw in enumerate(_raw_lines(stream, encoding), start=1):
            place = f"{file}, line {number}"
            if in_doubt and not raw.isascii():
                is_utf8 = decodes(raw, "utf-8")
                utf8[is_utf8] += 1
                first = first or (place if is_utf8 else "")
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError as error:
                if on_replaced is None:
                    bad = error.object[error.start]
                    advice = _advice(file, encoding) if has_settings else CONVERT
                    raise UserError(f"{place} is not {encoding}: byte {bad:#04x}; {advice}") from (
                        error
                    )
                text = decoded(raw, encoding, place, on_replaced)
            if "\0" in text:
                hint = "; if it is UTF-16, set task.encoding=utf-16" if has_settings else ""
                raise UserError(f"{place} holds a NUL byte, so the file is not text{hint}")
            if number == 1 and not text.endswith("\n") and "\r" in text:
                yield from (f"{line}\n" for line in text.removesuffix("\r").split("\r"))
            else:
                yield text.removesuffix("\n").removesuffix("\r") + "\n"
    if on_utf8 is not None and utf8[True] > utf8[False]:
        on_utf8(first, utf8[True])


def _unmarked(file: Path, head: bytes, encoding: str, has_settings: bool) -> str:
    """Return the encoding of a file without a byte order mark; refuse files in another one."""
    name = codecs.lookup(encoding).name
    if name[:6] in _WIDE:
        if b"\0" not in head:
            raise UserError(
                f"{file} is not {name}: it has neither a byte order mark nor zero bytes; set "
                "another task.encoding"
            )
        width = _WIDE[name[:6]]
        is_big = head[::width].count(0) > head[width - 1 :: width].count(0)
        return f"{name}-{'be' if is_big else 'le'}" if name in _WIDE else name
    if has_settings and (wide := wide_encoding(head)):
        raise UserError(f"{file} is in {wide}, not {encoding}; set task.encoding=utf-16")
    refuse_other_kind(file, head, "text with delimited cells")
    return encoding


def _raw_lines(stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Yield undecoded lines with their line feeds."""
    name = codecs.lookup(encoding).name
    if name[:6] not in _WIDE:
        yield from stream
        return
    width, feed, line = _WIDE[name[:6]], "\n".encode(encoding), b""
    while piece := stream.readline():
        line += piece
        line += stream.read(-len(line) % width)  # the rest of a code unit that holds a 0x0A
        if line.endswith(feed):
            yield line
            line = b""
    if line:
        yield line


def _advice(file: Path, encoding: str) -> str:
    """Return advice on a file that is not in the given encoding."""
    replace = "task.on_error=replace reads U+FFFD for the bytes"
    name = codecs.lookup(encoding).name
    if name[:6] in _WIDE:
        return f"the file is damaged; {replace}"
    with file.open("rb") as stream:
        found = diagnose(stream)
    if found == "UTF-8":
        return "the file is UTF-8: set task.encoding=utf-8"
    if found == "damaged UTF-8":
        if name != "utf-8":
            return f"the file is damaged UTF-8: set task.encoding=utf-8; {replace}"
        return f"most of the file is UTF-8, so it is damaged; repair it, or {replace}"
    if found in ("unknown", name) or (name, found) == ("cp1252", "latin-1"):
        return f"set its encoding, such as task.encoding=gb18030 or cp1251; {replace}"
    return (
        f"if it is Western European text in another encoding, set task.encoding={found}, and "
        f"otherwise its own, such as gb18030 or cp1251; {replace}"
    )
