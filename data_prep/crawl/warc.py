"""Pages from web archives: WARC or ARC, plain or compressed, even if damaged."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from fastwarc.warc import WarcRecord

TEXTUAL = ("text/html", "application/xhtml+xml", "text/plain")

_PAGES = ("response", "resource", "conversion")


@dataclass(frozen=True)
class Page:
    """An archived page; transfer and content encodings of `body` are already undone."""

    url: str
    content_type: str
    charset: str
    body: bytes


def archived_pages(path: Path, max_bytes: int) -> Iterator[Page | str]:
    """Yield the page of each record of an archive, or the reason why the record has none.

    A body longer than `max_bytes`, compressed or not, is not held in memory. If the archive is
    truncated or damaged, the last item is `broken archive`.
    """
    records = _arc_records(path, max_bytes) if _is_arc(path) else _warc_records(path, max_bytes)
    try:
        yield from _within_size(records, max_bytes)
    except (OSError, EOFError, ValueError, zlib.error):
        yield "broken archive"


def _within_size(records: Iterator[Page | str], max_bytes: int) -> Iterator[Page | str]:
    for record in records:
        if isinstance(record, str):
            yield record
        elif len(record.body) > max_bytes:
            yield "too large"
        else:
            yield record


def _warc_records(path: Path, max_bytes: int) -> Iterator[Page | str]:
    from fastwarc.warc import ArchiveIterator

    with path.open("rb") as file:
        for record in ArchiveIterator(file, parse_http=False):
            kind = str(record.record_type)
            if kind not in _PAGES:
                yield "not a page"
            elif record.content_length > max_bytes:
                yield "too large"
            else:
                yield _warc_page(record, kind, max_bytes)


def _warc_page(record: "WarcRecord", kind: str, max_bytes: int) -> Page | str:  # noqa: PLR0911
    declared = record.content_length
    record.freeze()
    if record.content_length < declared:
        return "broken record"
    url = (record.headers.get("WARC-Target-URI") or "").strip("<> ")
    content_type, charset = record.headers.get("Content-Type") or "", ""
    if kind == "response":
        try:
            record.parse_http(auto_decode="all")
        except (OSError, ValueError):
            return "broken record"
        if record.http_headers is None:
            return "not a page"
        if record.http_headers.status_code != 200:
            return "status is not 200"
        content_type, charset = record.http_content_type or "", record.http_charset or ""
    content_type = content_type.partition(";")[0].strip().lower()
    if content_type not in TEXTUAL or not url.startswith(("http:", "https:")):
        return "not a textual page"
    try:
        body = record.reader.read(max_bytes + 1)
    except (OSError, ValueError):
        return "broken record"
    return Page(url, content_type, charset, body)


def _is_arc(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(2)
    try:
        with gzip.open(path) if head == b"\x1f\x8b" else path.open("rb") as file:
            return file.read(11) == b"filedesc://"
    except (OSError, EOFError, zlib.error):
        return False  # the WARC reader reports the damage


def _arc_records(path: Path, max_bytes: int) -> Iterator[Page | str]:
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    with path.open("rb") as file:
        try:
            for record in ArchiveIterator(file, arc2warc=True):
                if record.rec_type != "response" or record.http_headers is None:
                    yield "not a page"
                    continue
                if record.http_headers.get_statuscode() != "200":
                    yield "status is not 200"
                    continue
                declared = record.http_headers.get_header("Content-Type") or ""
                content_type, _, more = declared.partition(";")
                if content_type.strip().lower() not in TEXTUAL:
                    yield "not a textual page"
                    continue
                charset = more.partition("charset=")[2].strip("\"' ")
                url = record.rec_headers.get_header("WARC-Target-URI") or ""
                body = _read(record.content_stream(), max_bytes + 1)
                yield Page(url, content_type.strip().lower(), charset, body)
        except ArchiveLoadFailed:
            yield "broken archive"


def _read(stream: IO[bytes], most: int) -> bytes:
    """Read up to `most` bytes of a stream whose reads may return less than requested."""
    blocks, left = [], most
    while left and (block := stream.read(min(left, 1 << 16))):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)
