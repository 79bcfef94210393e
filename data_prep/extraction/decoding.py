"""Bytes of a page to text, as browsers do it (WHATWG HTML, section 13.2.3, and Encoding Standard).

A byte order mark takes precedence over the Content-Type header, the header over `<meta>`, and that
over a guess. Browsers follow any declaration; here, one that the bytes contradict is ignored, since
pages whose header says ISO-8859-1 are often UTF-8.
"""

import codecs
import re
from typing import NamedTuple

_HEAD_BYTES = 1 << 16
"""Bytes searched for a declaration. Browsers accept one anywhere in the head, too."""

_MARKUP = re.compile(
    rb"<!--.*?(?:-->|\Z)"
    rb"|<(?:script|style|title)\b.*?(?:</(?:script|style|title)|\Z)"
    rb"|<meta(?P<meta>[\s/](?:\"[^\"]*\"|'[^']*'|[^>\"'])*)"
    rb"|(?P<body><body[\s>])",
    re.I | re.S,
)
_ATTRIBUTE = re.compile(rb"""([^\s/>="']+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']*)))?""")
_CHARSET = re.compile(rb"""charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))""", re.I)
_XML = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"']+)["']""")
_CODECS = {
    "big5": "big5hkscs", "euc-kr": "cp949", "gbk": "gb18030", "shift_jis": "cp932",
    "iso-8859-8-i": "iso8859-8", "macintosh": "mac-roman", "x-mac-cyrillic": "mac-cyrillic",
    "windows-874": "cp874", "x-user-defined": "cp1252",
}  # fmt: skip
"""Python's codec for each name of the Encoding Standard that means another codec in Python."""

_C1 = {0xDC00 + byte: byte if byte < 0xA0 else 0xFFFD for byte in range(0x80, 0x100)}
_NOT_ASCII = re.compile(r"[^\x00-\x7f\ufffd]")

UNKNOWN_LABEL = "unknown charset"
MISFIT = "charset does not fit the bytes"


class Decoded(NamedTuple):
    """Text of a page, and the faults of its encoding."""

    text: str
    faults: tuple[str, ...] = ()


def decode(body: bytes, content_type: str = "text/html", charset: str = "") -> Decoded:
    """Decode a page.

    Args:
        body: The page.
        content_type: Its content type. A `text/plain` page declares no encoding in its text.
        charset: The label in its Content-Type header, or "".
    """
    from w3lib.encoding import read_bom

    codec, mark = read_bom(body)
    if codec and mark:
        text, errors = _with_replacement(body[len(mark) :], codec)
        return Decoded(text, (MISFIT,) if errors else ())
    header = codec_of(charset)
    faults = (UNKNOWN_LABEL,) if charset and not header else ()
    inside = "" if content_type == "text/plain" else declared_inside(body, content_type)
    text, fits = _as_declared(body, [codec for codec in (header, inside) if codec])
    return Decoded(text, faults if fits else (*faults, MISFIT))


def codec_of(label: str) -> str:
    """Return the codec for a label of the Encoding Standard, "" if it is none.

    The standard's "replacement" encodings, which browsers refuse to decode, count as none.
    """
    import webencodings

    found = webencodings.lookup(label)
    if found is None or found.name == "replacement":
        return ""
    return _CODECS.get(found.name, found.name)


def declared_inside(body: bytes, content_type: str) -> str:
    """Return the codec that `<meta>` or the XML declaration of a page names, or ""."""
    head = body[:_HEAD_BYTES]
    xml = _XML.match(head)
    labels = [xml[1]] if xml else []
    at = len(labels) if content_type == "application/xhtml+xml" else 0
    labels[at:at] = _meta_labels(head)
    for label in labels:
        if codec := codec_of(label.decode("latin-1")):
            # A page in which ASCII letters can be read is not UTF-16.
            return "utf-8" if codec.startswith("utf-16") else codec
    return ""


def _meta_labels(head: bytes) -> list[bytes]:
    """Return the labels that `<meta>` tags name, in their order."""
    labels = []
    for tag in _MARKUP.finditer(head):
        if tag["body"]:
            break
        if tag["meta"] is None:
            continue
        attributes: dict[bytes, bytes] = {}
        for name, *values in _ATTRIBUTE.findall(tag["meta"]):
            attributes.setdefault(name.lower(), b"".join(values))
        named = _CHARSET.search(attributes.get(b"content", b""))
        if label := attributes.get(b"charset"):
            labels.append(label)
        elif named and attributes.get(b"http-equiv", b"").strip().lower() == b"content-type":
            labels.append(named[1] or named[2] or named[3])
    return labels


def _as_declared(body: bytes, declared: list[str]) -> tuple[str, bool]:
    """Decode with the first declared codec that fits; return whether the first one did."""
    text, errors = _with_replacement(body, "utf-8")
    letters = 0 if text.isascii() else len(_NOT_ASCII.findall(text))
    # Text in another encoding is hardly ever valid UTF-8. A page may be cut within a character.
    is_cut = len(codecs.utf_8_decode(body, "replace", False)[0]) < len(text)
    is_utf8 = letters > 5 * (errors - is_cut)
    for number, codec in enumerate(declared):
        if codec == "utf-8":
            if letters >= errors:
                return text, number == 0 and not errors
        elif codec.startswith("utf-16"):
            if b"\0" in body:
                other, faulty = _with_replacement(body, codec)
                return other, number == 0 and not faulty
        elif not is_utf8:
            other, faulty = _with_replacement(body, codec)
            if 2 * faulty <= len(_NOT_ASCII.findall(other)):
                return other, number == 0 and not faulty
    if is_utf8 or (not errors and b"\x1b$" not in body):  # an escape sequence of ISO-2022-JP
        return text, not errors and not declared
    other, faulty = _with_replacement(body, _guess(body))
    return other, not faulty and not declared


def _guess(body: bytes) -> str:
    """Guess the codec of a page that is not UTF-8."""
    from resiliparse.parse.encoding import detect_encoding

    guess = (detect_encoding(body) or "").lower()
    codec = codec_of(guess) or guess  # the detector returns names of codecs
    return codec if codec not in ("", "utf-8") else "cp1252"


def _with_replacement(body: bytes, codec: str) -> tuple[str, int]:
    """Decode as far as possible; return the text and the number of faulty places."""
    from w3lib.encoding import to_unicode

    try:
        return body.decode(codec), 0
    except UnicodeDecodeError:
        pass
    if codec.startswith(("windows-", "cp125", "cp874")):
        # In the Encoding Standard, bytes 0x80 to 0x9F without a character are control characters.
        text = body.decode(codec, "surrogateescape").translate(_C1)
    else:
        text = to_unicode(body, codec)
    return text, text.count("\ufffd")
