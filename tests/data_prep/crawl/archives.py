"""Archives made for tests, the same in every run, with the place of each record."""

import io
import random
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

WORDS = ["harbour", "boats", "the", "and", "morning", "a", "catch", "storm", "quiet", "nets"]


def body_of(number: int, words: int = 300) -> bytes:
    draw = random.Random(number)
    text = " ".join(draw.choice(WORDS) for _ in range(draw.randint(20, words)))
    return f"<html><body><p>Page {number}. {text}</p></body></html>".encode()


def warc(
    count: int, *, packed: bool, bodies: list[bytes] | None = None
) -> tuple[bytes, list[tuple[int, int]]]:
    """Return a WARC of responses, and where each record begins and ends."""
    file = io.BytesIO()
    writer = WARCWriter(file, gzip=packed)
    places = []
    for number in range(count):
        body = bodies[number] if bodies else body_of(number)
        http = StatusAndHeaders(
            "200 OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1"
        )
        begin = file.tell()
        writer.write_record(
            writer.create_warc_record(
                url_of(number),
                "response",
                io.BytesIO(body),
                http_headers=http,
                warc_headers_dict={
                    "WARC-Record-ID": f"<urn:uuid:{number:032d}>",
                    "WARC-Date": "2020-01-01T00:00:00Z",
                },
            )
        )
        places.append((begin, file.tell()))
    return file.getvalue(), places


def arc(count: int) -> tuple[bytes, list[tuple[int, int]]]:
    """Return an ARC (version 1) of responses behind its header, and where each record is."""
    about = b"1 0 Tests\nURL IP-address Archive-date Content-type Archive-length\n"
    data = b"filedesc://t.arc 0.0.0.0 20200101000000 text/plain %d\n%b\n" % (len(about), about)
    places = []
    for number in range(count):
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body_of(number)
        head = b"%b 1.2.3.4 20200101000000 text/html %d\n" % (url_of(number).encode(), len(block))
        places.append((len(data), len(data) + len(head) + len(block) + 1))
        data += head + block + b"\n"
    return data, places


def url_of(number: int) -> str:
    return f"http://x.com/{number:03d}"


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path
