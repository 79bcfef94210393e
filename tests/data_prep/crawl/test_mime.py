import pytest

from data_prep.crawl.mime import declared_type, page_type, sniffed_type


@pytest.mark.parametrize(
    ("header", "kind", "charset"),
    [
        ("text/html; charset=utf-8", "text/html", "utf-8"),
        ("Text/HTML;Charset=UTF-8", "text/html", "UTF-8"),
        ('text/html;charset="utf-8"', "text/html", "utf-8"),
        ("text/html; charset='utf-8'", "text/html", "utf-8"),
        ("text/html ; x=1; charset=gbk ; y=2", "text/html", "gbk"),
        ("text/html, text/html; charset=utf-8", "text/html", "utf-8"),
        ("text/html; charset=utf-8, text/html", "text/html", "utf-8"),  # Fetch Standard's example
        ("text/html;charset=gbk, text/plain", "text/plain", ""),
        ("text/html;charset=gbk, */*", "text/html", "gbk"),
        ('text/plain; x="a,b;charset=c"', "text/plain", ""),
        ("text/html;", "text/html", ""),
        ("", "", ""),
        ("html", "", ""),
        ("text/", "", ""),
        ("*/*", "", ""),
        ("unknown/unknown", "", ""),
        ("application/unknown", "", ""),
        ("image/png", "image/png", ""),
    ],
)
def test_declared_types(header: str, kind: str, charset: str) -> None:
    assert declared_type(header) == (kind, charset)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!DOCTYPE html>...", "text/html"),
        (b"\r\n\t <!doctype HTML>...", "text/html"),
        (b"<html>", "text/html"),
        (b"<HTML lang=en>", "text/html"),
        (b"<p>x", "text/html"),
        (b"<!-- a comment", "text/html"),
        (b"<br>", "text/html"),
        (b"<px>", "text/plain"),  # no tag of the standard's table
        (b"<html", "text/plain"),  # nor an end of the tag
        (b"\xef\xbb\xbf<html>", "text/html"),
        (b"<?xml version='1.0'?><rss>", "text/xml"),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html><html xmlns='x'>", "application/xhtml+xml"),
        (b"Plain words.", "text/plain"),
        (b"caf\xe9 \x85", "text/plain"),
        (b"", "text/plain"),
        (b"  \n ", "text/plain"),
        (b"\xff\xfeh\0i\0", "text/plain"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", ""),
        (b"%PDF-1.7", ""),
        (b"GIF89a......", ""),
        (b"PK\x03\x04", ""),
        (b"words\0", ""),
        (b"w" * 1445 + b"\0", "text/plain"),  # beyond the bytes that count
    ],
)
def test_sniffed_types(body: bytes, kind: str) -> None:
    assert sniffed_type(body) == kind
    assert page_type("", body) == (kind, "", True)
    assert page_type("*/*; charset=utf-8", body)[0] == kind
    assert page_type("text/html; charset=gbk", body) == ("text/html", "gbk", False)


def test_apache_said_text_plain_of_files_that_it_did_not_know() -> None:
    assert page_type("text/plain", b"\x89PNG\0")[0] == ""
    assert page_type("text/plain; charset=UTF-8", b"PK\x03\x04")[0] == ""
    assert page_type("text/plain", b"words") == ("text/plain", "", False)
    assert page_type("text/plain;charset=gbk", b"\0")[0] == "text/plain"
