"""Records of a web archive (WARC or ARC) as they are stored, even if the archive is damaged.

A record is accepted if its length leads to the next record or to the end. If it does not, reading
continues at the next record that can be found: in a plain archive at the next line that begins a
record, in a compressed one (a gzip member for each record) at the next such member.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from data_prep.crawl.streams import (
    GZIP,
    GzipSource,
    PlainSource,
    Source,
    Window,
    inflated,
    source_of,
)

WRONG_LENGTH = "wrong record length"

_WARC = rb"WARC/\d\.\d+[ \t]*\r?\n"
# url, address, date, type and, in version 2, more fields; then the length. The url and the type may
# hold spaces. Word by word, because bytes that are no record would take long one by one.
_ARC = (
    rb"[A-Za-z][A-Za-z0-9+.-]*:(?:[^ \r\n]{0,8192}+ ){1,64}?\d{14} "
    rb"(?:[^ \r\n]{0,1024}+ ){0,16}?\d+[ \t]*\r?\n"
)
# The same amid other bytes, which may not end with a line. A field follows, so that it is no text.
_WARC_WITHIN = _WARC + rb"(?=[A-Za-z][A-Za-z-]*:)"
_ARC_WITHIN = rb"(?:https?|ftp|dns|filedesc)" + _ARC.removeprefix(rb"[A-Za-z][A-Za-z0-9+.-]*")
_ARC_FIELDS = re.compile(rb"(.+?) \S+ \d{14} (?:[^\r\n]* )?(\d{1,18})\s*$")
_EMPTY_LINE = re.compile(rb"\r?\n\r?\n")
_SEARCHED = 1 << 18  # bytes that are searched for a gzip member at a time
_MEMBER_HEAD = 1 << 14  # stored bytes of a member that are decompressed to see its contents
_STEP = 1 << 8  # stored bytes at a time
_SILENT = 1 << 10  # maximum stored bytes that may give no decompressed byte
_FIRST_LINE = 1 << 14  # decompressed bytes that hold the first line of a record
_BLANK_TO_END = re.compile(rb"[\r\n]*\Z")
_LENGTH = re.compile(r"[0-9]{1,18}")
_LINES = 1 << 16  # maximum bytes of a record's header


@dataclass(frozen=True)
class Record:
    """A stored record.

    Attributes:
        kind: WARC-Type. Records of ARC files are `response` or `arc_header`.
        headers: The other fields of its header, names in lower case.
        block: Its contents; None if they are longer than asked for.
        faults: Faults that were found in it.
    """

    kind: str
    headers: dict[str, str] = field(default_factory=dict)
    block: bytes | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lost:
    """A part of an archive that cannot be read.

    Attributes:
        size: Its length, in bytes of the file.
        is_record: Whether a record is known to begin there.
    """

    size: int
    is_record: bool


def stored_records(path: Path, most: int) -> Iterator[Record | Lost]:
    """Yield the records of an archive, with blocks of up to `most` bytes, and its lost parts."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        source = source_of(file, path.name)
        window = Window(source)
        is_arc = window.peek(11) == b"filedesc://" or ".arc" in path.suffixes
        while True:
            parser = _Parser(source, window, is_arc, most)
            yield from parser.records()
            if not (damage := window.damage):
                return
            following = size
            if isinstance(source, GzipSource):
                following = _next_member(file, damage.member + 1, size, parser.starts)
            is_whole = parser.read_to <= damage.begun  # no record of the member was read
            begin = damage.member if is_whole else min(damage.offset, following - 1)
            yield Lost(following - begin, parser.in_record)
            if following == size:
                return
            source = GzipSource(file, following)
            window = Window(source)


def _next_member(file: IO[bytes], at: int, size: int, starts: re.Pattern[bytes]) -> int:
    """Return where the next gzip member with a record begins, or `size`."""
    while at < size:
        file.seek(at)
        block = file.read(_SEARCHED + _MEMBER_HEAD)
        found = block.find(GZIP)
        while 0 <= found < _SEARCHED:
            if starts.match(_begin_of_member(block[found : found + _MEMBER_HEAD])):
                return at + found
            found = block.find(GZIP, found + 1)
        at += _SEARCHED
    return size


def _begin_of_member(stored: bytes) -> bytes:
    """Decompress the first bytes of what may be a gzip member, after any empty lines."""
    decompressor, found = zlib.decompressobj(31), b""
    for at in range(0, len(stored), _STEP):
        block, is_damaged = inflated(decompressor, stored[at : at + _STEP], _LINES)
        found = (found + block).lstrip(b"\r\n")
        is_silent = not found and at > _SILENT
        if is_damaged or is_silent or decompressor.eof or len(found) > _FIRST_LINE:
            break
    return found


class _Parser:
    """Finds records in decompressed bytes.

    Attributes:
        starts: Matches the first line of a record.
        in_record: Whether the damage is in a record whose first line has been read.
        read_to: Position up to which records were found.
    """

    def __init__(self, source: Source, window: Window, is_arc: bool, most: int) -> None:
        self._source, self._window, self._is_arc, self._most = source, window, is_arc, most
        self.starts = re.compile(_WARC + b"|" + _ARC if is_arc else _WARC)
        self._next = re.compile(_WARC_WITHIN + b"|" + _ARC_WITHIN if is_arc else _WARC_WITHIN)
        self._header_end = re.compile(_EMPTY_LINE.pattern + b"|" + self._next.pattern)
        self._follows = re.compile(rb"[\r\n]*(?:" + self.starts.pattern + b")")
        self._terminator = b"\n" if is_arc else b"\r\n\r\n"
        self.in_record = False
        self.read_to = 0

    def records(self) -> Iterator[Record | Lost]:
        """Yield the records, and the parts between them, up to the end or the first damage."""
        window = self._window
        while True:
            self._skip_blank()
            start = window.position
            if not window.peek(1):
                return
            is_record = bool(window.match(self.starts, _LINES))
            header = self._header() if is_record else None
            if header is not None:
                found = self._with_block(start, *header)
            else:
                end, is_next = self._find(start + 1)
                is_lost = is_next or not window.damage
                found = Lost(self._source.in_file(end - start), is_record) if is_lost else None
            if found is None:
                self.in_record = is_record
                return
            if isinstance(found, Record):
                self.read_to = window.position
            yield found

    def _skip_blank(self) -> None:
        while (some := self._window.peek(64)) and some[0] in b"\r\n":
            self._window.seek(self._window.position + len(some) - len(some.lstrip(b"\r\n")))

    def _header(self) -> tuple[Record, int | None] | None:
        """Read a record's header; return the record and its length, or None if it is broken."""
        window = self._window
        if not (start := window.match(self.starts, _LINES)):
            return None
        first = start[0]
        if not first.startswith(b"WARC/"):
            window.seek(window.position + len(first))
            return _arc_record(first)
        end = window.search(self._header_end, _LINES, len(first.rstrip(b"\r\n")))
        lines = window.peek(end[1]) if end else b""
        if not lines.endswith(b"\n") or not end or lines[end[0] : end[1]].strip(b"\r\n"):
            return None
        window.seek(window.position + len(lines))
        return _warc_record(lines[len(first) : end[0]])

    def _with_block(self, start: int, record: Record, length: int | None) -> Record | Lost | None:
        """Read the block of a record whose header begins at `start`; None if it is damaged."""
        window, begin = self._window, self._window.position
        declared = begin + (length or 0)
        if declared - begin <= self._most:
            window.held(declared - begin + _LINES)  # at once, so that nothing is read again
        window.seek(declared)
        is_whole = length is not None and window.position == declared
        if is_whole and self._leads_on():
            return replace(record, block=self._between(begin, declared))
        end, is_next = self._find(begin)
        if not is_next and window.damage:
            return None
        if is_whole and end >= declared:  # the damage may be after the record
            window.seek(declared)
            if window.peek(len(self._terminator)) == self._terminator:
                return replace(record, block=self._between(begin, declared))
        window.seek(max(end - len(self._terminator), begin))
        is_ended = window.peek(len(self._terminator)) == self._terminator
        is_cut = not is_next and not is_whole and isinstance(self._source, PlainSource)
        if is_cut and (self._is_arc or not is_ended):
            window.seek(end)
            return Lost(end - start, True)
        block = self._between(begin, end - is_ended * len(self._terminator))
        window.seek(end)
        return replace(record, block=block, faults=(WRONG_LENGTH,))

    def _between(self, begin: int, end: int) -> bytes | None:
        """Read the bytes between two positions and move on; None if they are too many."""
        window = self._window
        if end - begin <= self._most:
            window.seek(begin)
            return window.read(end - begin)
        window.seek(end)
        return None

    def _leads_on(self) -> bool:
        """Return whether a record begins here, after empty lines, or the archive ends."""
        window = self._window
        if window.match(self._follows, _LINES):
            return True
        if damage := window.damage:  # at worst, that of the next gzip member
            return damage.begun >= window.position
        return bool(window.match(_BLANK_TO_END, _LINES))

    def _find(self, position: int) -> tuple[int, bool]:
        """Move to the next record, or to the end; return the position, and whether it is one."""
        window = self._window
        window.seek(position)
        size = _LINES  # the next record is usually near
        while True:
            if found := window.search(self._next, size):
                window.seek(window.position + found[0])
                return window.position, True
            if (held := window.held(size)) < size:
                window.seek(window.position + held)
                return window.position, False
            if size > _LINES:
                window.seek(window.position + size - _LINES)
            size = 1 << 20


def _warc_record(lines: bytes) -> tuple[Record, int | None]:
    headers: dict[str, str] = {}
    name = ""
    for line in lines.decode("utf-8", "replace").split("\n"):
        if line[:1] in (" ", "\t") and name:
            headers[name] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower() if colon else ""
        if name:
            headers.setdefault(name, value.strip())
    length = _LENGTH.fullmatch(headers.get("content-length", ""))
    return Record(headers.get("warc-type", "").lower(), headers), int(length[0]) if length else None


def _arc_record(line: bytes) -> tuple[Record, int] | None:
    fields = _ARC_FIELDS.match(line)
    if not fields:
        return None
    url = fields[1].decode("utf-8", "replace")
    kind = "arc_header" if url.startswith("filedesc:") else "response"
    return Record(kind, {"warc-target-uri": url}), int(fields[2])
