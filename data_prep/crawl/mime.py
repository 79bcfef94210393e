"""Content type of a response: its Content-Type header, or else its first bytes.

The rules are those of the MIME Sniffing Standard (https://mimesniff.spec.whatwg.org) as far as they
tell pages from other files. Among the packages, xtractmime 0.2 covers the standard, but raises an
IndexError for bodies that begin with white space and end soon after.
"""

import re

TEXTUAL = ("text/html", "application/xhtml+xml", "text/plain")
"""Content types of pages."""

HEAD_BYTES = 1445
"""Maximum bytes of a body that are examined (section 5.2, reading the resource header)."""

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TYPE = re.compile(rf"[ \t\r\n]*({_NAME}/{_NAME})[ \t\r\n]*(?:;|$)")
_PARAMETER = re.compile(r""";[ \t\r\n]*([^=;]*)(?:=("(?:[^"\\]|\\.)*"?|[^;]*))?""")
_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')  # not within quotes
_UNKNOWN = ("unknown/unknown", "application/unknown", "*/*")

# Section 7.1: the tags that make an unknown type text/html. A space or ">" follows.
_HTML = re.compile(
    rb"[\t\n\f\r ]*<(?:!--|(?:!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|"
    rb"TITLE|B|BODY|BR|P)[ >])",
    re.I,
)
_XML = re.compile(rb"[\t\n\f\r ]*<\?xml")
_XHTML = re.compile(rb"<html[\s>]", re.I)
_OTHERS = (b"%PDF-", b"%!PS-Adobe-", b"GIF87a", b"GIF89a")  # signatures without a binary byte
_BOMS = (b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf")
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")  # section 3, binary data bytes
# Section 5.1: Apache sent these for files that it did not know.
_APACHE = ("text/plain", "text/plain; charset=ISO-8859-1", "text/plain; charset=iso-8859-1",
           "text/plain; charset=UTF-8")  # fmt: skip


def declared_type(header: str) -> tuple[str, str]:
    """Return the content type that a Content-Type header declares, and its charset, each or "".

    In a list of types, as several headers make, the last valid one counts. Types that mean nothing,
    such as `*/*`, count as absent (Fetch Standard, "extract a MIME type").
    """
    kind = charset = ""
    for value in _COMMA.split(header) if "," in header else [header]:
        found = _TYPE.match(value)
        if not found or (essence := found[1].lower()) == "*/*":
            continue
        parameters = _PARAMETER.findall(value)
        labels = [text.strip(" \t\"'") for name, text in parameters if name.lower() == "charset"]
        if labels or essence != kind:
            charset = labels[0] if labels else ""
        kind = essence
    return ("", "") if kind in _UNKNOWN else (kind, charset)


def page_type(header: str, body: bytes) -> tuple[str, str, bool]:
    """Return the content type of a response, the label of its charset, and whether it was sniffed.

    The type is "" if neither the header nor the first bytes of the body tell it.
    """
    kind, charset = declared_type(header)
    if not kind:
        return sniffed_type(body), charset, True
    if header in _APACHE and not _is_text(body):
        return "", "", True
    return kind, charset, False


def sniffed_type(body: bytes) -> str:
    """Return the type of a page by its first bytes; "" if it is none (section 7.1)."""
    head = body[:HEAD_BYTES]
    start = head.removeprefix(b"\xef\xbb\xbf")
    if _HTML.match(start):
        return "text/html"
    if _XML.match(start):
        return "application/xhtml+xml" if _XHTML.search(start) else "text/xml"
    return "text/plain" if _is_text(head) and not head.startswith(_OTHERS) else ""


def _is_text(body: bytes) -> bool:
    return body.startswith(_BOMS) or not _BINARY.search(body[:HEAD_BYTES])
