"""Pages from web archives: WARC or ARC, plain or compressed, even if damaged."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.crawl.body import undo_codings
from data_prep.crawl.digests import is_altered
from data_prep.crawl.mime import TEXTUAL, page_type
from data_prep.crawl.records import WRONG_LENGTH, Lost, Record, stored_records

REPAIRED_FIELD = "X-Repaired"
"""WARC field in which our crawler records the faults of a body before it was stored."""

_PAGES = ("response", "resource", "conversion")
_ZEROS = bytes(32)  # no page has them, but disks and failed downloads
_STATUS = re.compile(rb"HTTP/\d+(?:\.\d+)?[ \t]+(\d{3})\b", re.I)
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:[ \t]*(.*)")
_BROKEN_HEADERS = "broken HTTP headers"


@dataclass(frozen=True)
class Page:
    """An archived page; transfer and content encodings of `body` are already undone.

    Attributes:
        url: Its URL.
        content_type: Its content type, as declared, or by its first bytes.
        charset: The label of its encoding in the Content-Type header, or "".
        body: Its bytes.
        faults: Faults that were repaired.
    """

    url: str
    content_type: str
    charset: str
    body: bytes
    faults: tuple[str, ...] = ()


@dataclass
class Damage:
    """Damage of an archive, filled in while it is read.

    Attributes:
        places: Number of damaged places.
        records_before: Records before the first of them.
        lost_bytes: Bytes of the file that could not be read as records.
    """

    places: int = 0
    records_before: int = 0
    lost_bytes: int = 0


def archived_pages(
    path: Path, max_bytes: int, damage: Damage | None = None
) -> Iterator[Page | str]:
    """Yield the page of each record of an archive, or the reason why the record has none.

    A body longer than `max_bytes`, compressed or not, is not held in memory. A damaged record is a
    `broken record`, a part of the archive in which no record can be recognized a `broken archive`.
    Other records are not affected.

    Args:
        path: The archive.
        max_bytes: Size up to which pages are read.
        damage: Filled in with the damage of the archive.
    """
    damage = Damage() if damage is None else damage
    for number, record in enumerate(stored_records(path, max_bytes)):
        if isinstance(record, Lost) or WRONG_LENGTH in record.faults:
            damage.records_before = damage.records_before if damage.places else number
            damage.places += 1
        if isinstance(record, Lost):
            damage.lost_bytes += record.size
            yield "broken record" if record.is_record else "broken archive"
        else:
            yield _page(record, max_bytes)


def _page(record: Record, max_bytes: int) -> Page | str:  # noqa: PLR0911 - one return per reason
    if record.kind not in _PAGES:
        return "not a page"
    if record.block is None:
        return "too large"
    url = record.headers.get("warc-target-uri", "").strip("<> ")
    is_web = url[:6].lower().startswith(("http:", "https:"))
    repaired = record.headers.get(REPAIRED_FIELD.lower(), "")
    faults = [*record.faults, *(repaired.split(", ") if repaired else ())]
    declared, body = record.headers.get("content-type", ""), record.block
    if record.kind == "response":
        status, headers, body, is_broken = _http(record.block)
        while status is not None and status // 100 == 1 and body[:5].upper() == b"HTTP/":
            status, headers, body, is_broken = _http(body)  # what follows an interim response
        if status is None and not is_web:
            return "not a page"
        if status not in (200, None):
            return "status is not 200"
        faults += [_BROKEN_HEADERS] if is_broken else []
        declared = headers.get("content-type", "")
        codings = [headers.get("content-encoding", ""), headers.get("transfer-encoding", "")]
        names = [name for coding in codings for name in coding.split(",")]
        body, found = undo_codings(body, names, max_bytes + 1)
        faults += found
    content_type, charset, is_sniffed = page_type(declared, body)
    if content_type not in TEXTUAL or not is_web:
        return "not a textual page"
    if len(body) > max_bytes:
        return "too large"
    if not record.faults and is_altered(record, record.block, body):
        faults.append("digest does not match")
    if _ZEROS in body:
        faults.append("zero bytes")
    if is_sniffed:
        faults.append("no content type")
    return Page(url, content_type, charset, body, tuple(dict.fromkeys(faults)))


def _http(block: bytes) -> tuple[int | None, dict[str, str], bytes, bool]:
    """Split a response into status (None if it has none), headers, body, and whether it is broken.

    Values of headers with the same name are joined by commas.
    """
    if block[:1] in (b"\r", b"\n") and _STATUS.match(block.lstrip()):
        block = block.lstrip()
    status = _STATUS.match(block)
    if not status and block[:5].upper() != b"HTTP/":
        return None, {}, block, True
    headers: dict[str, str] = {}
    at, name, is_broken, begins = block.find(b"\n") + 1, "", not status, 0
    while 0 < at < len(block):
        end = block.find(b"\n", at)
        line = block[at : end if end >= 0 else len(block)].rstrip(b"\r")
        field = _HEADER.match(line)
        if not line:
            begins = end + 1
            break
        if line[:1] in (b" ", b"\t") and name:
            headers[name] += " " + line.strip().decode("latin-1")
        elif field:
            name, value = field[1].decode("latin-1").lower(), field[2].strip().decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        else:
            is_broken, name = True, ""
            begins = begins or at  # the body, if no empty line ends the headers
            if line.lstrip().startswith(b"<"):
                begins = at
                break
        at = end + 1
    else:
        is_broken = True
    return int(status[1]) if status else None, headers, block[begins or len(block) :], is_broken
