import pytest
import webencodings

from data_prep.extraction.decoding import codec_of, decode

MISFIT = ("charset does not fit the bytes",)
PUNCTUATION = "café — “what a day,” he said…"


@pytest.mark.parametrize(
    ("text", "codec", "label"),
    [
        (PUNCTUATION, "utf-8", "utf-8"),
        (PUNCTUATION, "utf-8", "unicode-1-1-utf-8"),
        (PUNCTUATION, "cp1252", "ISO-8859-1"),
        (PUNCTUATION, "cp1252", "us-ascii"),
        (PUNCTUATION, "cp1252", " latin1 "),
        ("ığüş — çö", "cp1254", "iso-8859-9"),
        ("Привет, мир", "koi8-r", "koi8-r"),
        ("Привет, мир", "cp1251", "x-cp1251"),
        ("Привет, мир", "mac-cyrillic", "x-mac-ukrainian"),
        ("שלום עולם", "iso8859-8", "iso-8859-8-i"),
        ("สวัสดี", "cp874", "tis-620"),
        ("日本語テキスト①", "cp932", "shift_jis"),  # ① only in Microsoft's table
        ("日本語テキスト", "euc-jp", "euc-jp"),
        ("日本語テキスト", "iso2022_jp", "iso-2022-jp"),
        ("你好世界 龥", "gb18030", "gb2312"),
        ("中文網頁", "big5", "big5-hkscs"),
        ("한국어 똠방각하", "cp949", "ks_c_5601-1987"),  # 똠 only in Microsoft's table
        ("hé — 日本", "utf-16-le", "utf-16"),
        ("hé — 日本", "utf-16-be", "utf-16be"),
    ],
)
def test_labels_of_the_encoding_standard(text: str, codec: str, label: str) -> None:
    body = f"<p>{text}</p>".encode(codec)
    assert decode(body, "text/html", label) == (f"<p>{text}</p>", ())
    if not label.startswith("utf-16"):
        tag = f"<meta charset='{label}'>".encode()
        assert decode(tag + body).text.endswith(f"<p>{text}</p>")


def test_every_name_of_the_standard_has_a_codec() -> None:
    names = set(webencodings.LABELS.values()) - {"replacement"}
    assert len(names) >= 39
    for name in names - {"utf-16le", "utf-16be"}:
        assert codec_of(name)
        assert decode(b"plain", "text/plain", name) == ("plain", ())


@pytest.mark.parametrize("label", ["utf8mb4", "none", "", "charset", "punycode", "rot13", "cp500"])
def test_unknown_labels_are_no_label(label: str) -> None:
    faults = ("unknown charset",) if label else ()
    assert decode(PUNCTUATION.encode(), charset=label) == (PUNCTUATION, faults)
    body = b"<meta charset=windows-1251>" + "Привет".encode("cp1251")
    assert decode(body, charset=label).text.endswith("Привет")


def test_a_byte_order_mark_wins_over_the_header_and_that_over_meta() -> None:
    utf8 = PUNCTUATION.encode()
    assert decode(b"\xef\xbb\xbf" + utf8, charset="windows-1251") == (PUNCTUATION, ())
    for codec in ("utf-16-le", "utf-16-be"):
        body = ("\ufeff" + PUNCTUATION).encode(codec)
        assert decode(body, charset="utf-8") == (PUNCTUATION, ())
    body = b"<meta charset=windows-1251>" + "Ω".encode("cp1253")
    assert decode(body, charset="windows-1253") == ("<meta charset=windows-1251>Ω", ())
    assert decode(body).text.endswith("Щ")  # byte D9 of windows-1251
    assert decode(body, "text/plain").text.endswith(("Ω", "Ù", "Щ"))


@pytest.mark.parametrize(
    ("head", "is_found"),
    [
        (b"<meta charset=windows-1251>", True),
        (b"<META CharSet = 'Windows-1251' />", True),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">', True),
        (b"<meta content='text/html;charset=windows-1251' http-equiv=content-type>", True),
        (b"<meta content='text/html; charset=windows-1251'>", False),  # no http-equiv
        (b"<!-- <meta charset=koi8-r> --><meta charset=windows-1251>", True),
        (b"<script>'<meta charset=koi8-r>'</script><meta charset=windows-1251>", True),
        (b"<meta charset=utf8mb4><meta charset=windows-1251>", True),
        (b"<meta name=x content='>'><meta charset=windows-1251>", True),
        (b"<style>" + b"x" * 9000 + b"</style><meta charset=windows-1251>", True),
        (b"<body><meta charset=koi8-r>", False),
        (b"<?xml version='1.0' encoding='windows-1251'?>", True),
    ],
)
def test_declarations_in_the_page(head: bytes, is_found: bool) -> None:
    body = head + b"<p>" + "Привет".encode("cp1251")
    found = decode(body)
    assert found.text.endswith("Привет") or not is_found
    assert found.faults == ()
    plain = decode(body, charset="windows-1251")
    assert plain.text.endswith("Привет")


def test_meta_cannot_say_utf_16() -> None:
    head = "<meta charset=utf-16>"
    assert decode((head + PUNCTUATION).encode()) == (head + PUNCTUATION, ())


def test_what_the_bytes_contradict_is_not_believed() -> None:
    for label in ("iso-8859-1", "windows-1251", "us-ascii", "gbk"):
        assert decode(PUNCTUATION.encode(), charset=label) == (PUNCTUATION, MISFIT)
        cut = (PUNCTUATION * 2 + "é").encode()[:-1]
        assert decode(cut, charset=label).text.startswith(PUNCTUATION * 2)
    assert decode(PUNCTUATION.encode("cp1252"), charset="utf-8") == (PUNCTUATION, MISFIT)
    body = b"<meta charset=windows-1251>" + "Привет".encode("cp1251")
    assert decode(body, charset="utf-8").text.endswith("Привет")
    assert decode(b"caf\xe9", charset="iso-8859-1") == ("café", ())


def test_single_bad_bytes_are_replaced() -> None:
    body = (PUNCTUATION * 3).encode() + b" \xff " + PUNCTUATION.encode()
    for label in ("utf-8", ""):
        assert decode(body, charset=label) == (f"{PUNCTUATION * 3} \ufffd {PUNCTUATION}", MISFIT)


def test_bytes_without_a_character_become_controls_in_windows_encodings() -> None:
    # Encoding Standard, index-windows-1252: 81, 8D, 8F, 90 and 9D stand for themselves
    assert decode(b"a\x81\x8d\x8f\x90\x9d\x80\xe9", charset="latin1") == (
        "a\x81\x8d\x8f\x90\x9d€é", (),
    )  # fmt: skip
    # index-windows-1253: D2 has no character
    assert decode(b"\xd2 \xe1\xe2\xe3\xe4", charset="windows-1253") == ("\ufffd αβγδ", MISFIT)


def test_japanese_with_escape_sequences_is_guessed() -> None:
    text = "日本語のテキストです。これは文です。"
    assert decode(text.encode("iso2022_jp")).text == text
