import gzip
from pathlib import Path

import pytest

from data_prep.crawl.warc import Page, archived_pages

from .archives import written

HTML = b"<html><body><p>Words of a page.</p></body></html>"


def one(folder: Path, block: bytes, **fields: str) -> Page | str:
    """Read an archive of one record."""
    headers = {"WARC-Type": "response", "WARC-Target-URI": "http://a.com/",
               "Content-Type": "application/http; msgtype=response",
               **{name.replace("_", "-"): value for name, value in fields.items()}}  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    head = f"WARC/1.0\r\n{lines}Content-Length: {len(block)}\r\n\r\n".encode()
    (item,) = archived_pages(written(folder, "a.warc", head + block + b"\r\n\r\n"), 10_000)
    return item


@pytest.mark.parametrize(
    "head",
    [
        b"",  # HTTP/0.9, or an archive that left them out
        b"HTTP/1.1 OK\r\nContent-Type: text/html\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",  # no empty line
        b"HTTP/1.1 200 OK\r\nno header\r\nContent-Type: text/html\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\0\0\0\0\r\n\r\n",
    ],
)
def test_broken_http_headers_cost_no_page(tmp_path: Path, head: bytes) -> None:
    page = one(tmp_path, head + HTML)
    assert isinstance(page, Page)
    assert (page.content_type, page.body) == ("text/html", HTML)
    assert page.faults[0] == "broken HTTP headers"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\nContent-Type: text/html; charset=gbk\n\n",
        b"HTTP/1.1 200\r\ncontent-type :text/html;charset=gbk\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html;\r\n charset=gbk\r\n\r\n",
        b"HTTP/2 200 \r\nContent-Type: text/html\r\nContent-Type: text/html;charset=gbk\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Type: text/html;charset=gbk\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html;charset=gbk\r\n\r\n",
        b"http/1.0 200 OK\r\nContent-Length: 7\r\nContent-Type: text/html;charset=gbk\r\n\r\n",
    ],
)
def test_odd_http_headers_are_read(tmp_path: Path, head: bytes) -> None:
    assert one(tmp_path, head + HTML) == Page("http://a.com/", "text/html", "gbk", HTML)


def test_the_scheme_of_a_url_may_be_in_capitals(tmp_path: Path) -> None:
    page = one(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n" + HTML, WARC_Target_URI="HTTP://a.com/")
    assert isinstance(page, Page)


def test_a_length_of_thousands_of_digits_is_a_wrong_length(tmp_path: Path) -> None:
    record = (
        b"WARC/1.0\r\nWARC-Type: request\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n\r\n\r\n"
    )
    items = archived_pages(written(tmp_path, "a.warc", record * 2), 10_000)
    assert list(items) == ["not a page"] * 2
    record = b"http://a.com/ 1.2.3.4 20200101000000 text/html " + b"9" * 5000 + b"\nabc\n"
    items = archived_pages(written(tmp_path, "a.arc", record * 2), 10_000)
    assert set(items) == {"broken record"}


def test_codings_in_lists_and_in_several_headers(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    packed = gzip.compress(gzip.compress(HTML))
    for lines in (b"Content-Encoding: gzip, x-gzip\r\n", b"Content-Encoding: gzip\r\n" * 2):
        page = one(tmp_path, head + lines + b"\r\n" + packed)
        assert page == Page("http://a.com/", "text/html", "", HTML)
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    lines = b"Content-Encoding: gzip\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    assert one(tmp_path, head + lines + chunks) == Page("http://a.com/", "text/html", "", HTML)


def test_types_are_sniffed_for_every_kind_of_record(tmp_path: Path) -> None:
    for block, fields in (
        (b"HTTP/1.1 200 OK\r\n\r\n" + HTML, {}),
        (b"HTTP/1.1 200 OK\r\nContent-Type: */*\r\n\r\n" + HTML, {}),
        (b"HTTP/1.1 200 OK\r\nContent-Type: html\r\n\r\n" + HTML, {}),
        (HTML, {"WARC_Type": "resource", "Content_Type": ""}),
        (HTML, {"WARC_Type": "resource", "Content_Type": "unknown/unknown"}),
    ):
        page = one(tmp_path, block, **fields)
        assert page == Page("http://a.com/", "text/html", "", HTML, ("no content type",))
    assert one(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1a\n\0") == "not a textual page"
    plain = one(tmp_path, "Ünïcode".encode(), WARC_Type="conversion", Content_Type="text/plain")
    assert plain == Page("http://a.com/", "text/plain", "", "Ünïcode".encode())


def test_records_without_a_page(tmp_path: Path) -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    assert one(tmp_path, b"HTTP/1.1 404 Not Found\r\n\r\n" + HTML) == "status is not 200"
    assert one(tmp_path, ok + b"x" * 10_001) == "too large"
    bomb = gzip.compress(b"<p>x</p>" * 10_000)
    assert one(tmp_path, ok[:-2] + b"Content-Encoding: gzip\r\n\r\n" + bomb) == "too large"
    assert one(tmp_path, HTML, WARC_Type="request") == "not a page"
    assert one(tmp_path, b"1.2.3.4", WARC_Target_URI="dns:a.com", Content_Type="text/dns") == (
        "not a page"
    )
    assert one(tmp_path, ok + HTML, WARC_Target_URI="ftp://a.com/") == "not a textual page"


@pytest.mark.parametrize(
    ("digest", "faults"),
    [  # printf '<p>x' | md5sum, sha1sum, and openssl dgst -sha1 -binary | base32
        ("md5:76a224e3b0c96d7cb39499631a76185d", ()),
        ("sha1:56d3c79ae78879f1da77512b4ae862ff5485bcc6", ()),
        ("SHA-1:K3J4PGXHRB47DWTXKEVUV2DC75KILPGG", ()),
        ("sha1:K3J4PGXHRB47DWTXKEVUV2DC75KILPGA", ("digest does not match",)),
        ("unheard-of:abc", ()),
    ],
)
def test_a_digest_that_does_not_match_is_counted(
    tmp_path: Path, digest: str, faults: tuple[str, ...]
) -> None:
    for name in ("WARC_Block_Digest", "WARC_Payload_Digest"):
        fields = {"WARC_Type": "resource", "Content_Type": "text/html", name: digest}
        assert one(tmp_path, b"<p>x", **fields) == Page(
            "http://a.com/", "text/html", "", b"<p>x", faults
        )
