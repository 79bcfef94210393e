import gzip
import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from data_prep.crawl.warc import Page, archived_pages
from data_prep.documents import build_documents
from data_prep.extraction.page import TextRules, document_of, main_text, repaired
from data_prep.extraction.quality import bot_wall, c4_lines, gopher_fault, masked
from webtext_gpt.errors import UserError

from .conftest import corpus_bytes, manifest_of

Stage = Callable[..., subprocess.CompletedProcess[str]]

SENTENCES = (
    "The harbour was quiet when the first boats came back with the morning's catch. "
    "Nobody spoke of the storm that had kept them out for two long nights. "
    "An old man counted the masts and nodded to himself before he went inside. "
)


def article(number: int, body: str = SENTENCES * 6) -> bytes:
    paragraphs = "".join(f"<p>{body} Number {number}.</p>" for _ in range(2))
    return (
        f"<html><head><title>Page {number}</title></head><body><nav><a href='/'>Home</a></nav>"
        f"<article><h1>Page {number}</h1>{paragraphs}</article>"
        "<footer>Imprint</footer></body></html>"
    ).encode()


def archive(path: Path, pages: list[tuple[str, bytes] | tuple[str, bytes, dict[str, str]]]) -> str:
    """Write a WARC of responses with status 200; headers and `status` can be replaced."""
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=path.suffix == ".gz")
        for url, body, *more in pages:
            headers = {"Content-Type": "text/html; charset=utf-8", **(more[0] if more else {})}
            status = headers.pop("status", "200 OK")
            http = StatusAndHeaders(status, list(headers.items()), protocol="HTTP/1.1")
            writer.write_record(
                writer.create_warc_record(url, "response", io.BytesIO(body), http_headers=http)
            )
    return str(path)


def texts(out: Path) -> list[dict[str, Any]]:
    return [
        r for p in sorted(out.glob("documents-*.parquet")) for r in pq.read_table(p).to_pylist()
    ]


def test_every_page_is_kept_or_counted(tmp_path: Path) -> None:
    german = "Der Hafen war still, als die ersten Boote mit dem Fang des Morgens heimkehrten. " * 20
    wall = "<p>Please enable JavaScript and cookies to continue to this page.</p>"
    name = archive(tmp_path / "a.warc.gz", [
        ("http://www.a.co.uk/1", article(1)),
        ("http://a.com/short", article(2, "A few words.")),
        ("http://a.com/de", article(3, german)),
        ("http://a.com/wall", f"<html><body>{wall}</body></html>".encode()),
        ("http://a.com/404", article(4), {"status": "404 Not Found"}),
        ("http://a.com/x.png", b"\x89PNG", {"Content-Type": "image/png"}),
        ("http://a.com/big", b"x" * 300_000),
        ("http://a.com/bomb", gzip.compress(b"<p>x</p>" * 100_000), {"Content-Encoding": "gzip"}),
        ("http://a.com/empty", b""),
        ("http://a.com/plain", (SENTENCES * 8).encode(), {"Content-Type": "text/plain"}),
    ])  # fmt: skip
    build_documents([name], tmp_path / "out", TextRules(), keep_dropped=True,
                    max_page_bytes=200_000, workers_at_once=1)  # fmt: skip
    manifest = manifest_of(tmp_path / "out")
    assert manifest["rows_in"] == 10
    assert manifest["rejected"] == {
        "too short": 1, "language": 1, "bot wall or error page": 1, "status is not 200": 1,
        "not a textual page": 1, "too large": 2, "no text": 1,
    }  # fmt: skip
    first, plain = texts(tmp_path / "out")
    assert (first["url"], first["domain"], first["language"]) == (
        "http://www.a.co.uk/1", "a.co.uk", "en",
    )  # fmt: skip
    assert "Number 1." in first["text"]
    assert "Imprint" not in first["text"]
    assert plain["text"] == (SENTENCES * 8).strip()
    (side,) = (tmp_path / "out/dropped").glob("*.parquet")
    reasons = {row["url"]: row["reason"] for row in pq.read_table(side).to_pylist()}
    assert reasons["http://a.com/de"] == "language"
    assert len(reasons) == 4


FAULTY = """
import os, time
from data_prep.extraction.page import document_of

def judge(page, rules):
    if "crash" in page.url:
        os.abort()
    if "hang" in page.url:
        time.sleep(1000)
    if "memory" in page.url:
        bytearray(1 << 40)
    if "fail" in page.url:
        raise RuntimeError("a defect")
    return document_of(page, rules)
"""


@pytest.mark.slow
def test_a_page_that_breaks_its_worker_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(str(tmp_path))
    import faulty

    names = ["a", "crash", "b", "hang", "c", "memory", "d", "fail", "e"]
    name = archive(
        tmp_path / "a.warc", [(f"http://x.com/{n}", article(i)) for i, n in enumerate(names)]
    )
    build_documents([name], tmp_path / "out", TextRules(), page_seconds=4, extract=faulty.judge,
                    workers_at_once=2)  # fmt: skip
    assert manifest_of(tmp_path / "out")["rejected"] == {
        "extractor crashed or ran out of memory": 2, "extractor hung": 1,
        "extractor failed: RuntimeError": 1,
    }  # fmt: skip
    assert [row["url"][-1] for row in texts(tmp_path / "out")] == ["a", "b", "c", "d", "e"]
    del sys.modules["faulty"]


@pytest.mark.slow
def test_huge_deep_and_wide_pages_are_survived(tmp_path: Path) -> None:
    """The real extractor on pages that are too large, too deep or too wide."""
    name = archive(tmp_path / "a.warc", [
        ("http://x.com/100MB", b"<p>word</p>" * 9_500_000),
        ("http://x.com/deep", b"<div>" * 1_900_000 + b"text"),
        ("http://x.com/wide", b"<table>" + b"<tr><td>a</td></tr>" * 500_000),
        ("http://x.com/good", article(1)),
    ])  # fmt: skip
    build_documents([name], tmp_path / "out", TextRules(), page_seconds=15)
    manifest = manifest_of(tmp_path / "out")
    assert manifest["rejected"]["too large"] == 1
    assert [row["url"] for row in texts(tmp_path / "out")] == ["http://x.com/good"]
    assert sum(manifest["rejected"].values()) == 3


@pytest.mark.slow
def test_order_workers_and_kills_change_nothing(
    tmp_path: Path, stage: Stage, killed: Callable[..., int]
) -> None:
    names = [
        archive(tmp_path / f"{n}.warc.gz",
                [(f"http://x.com/{n}/{i}", article(n * 100 + i)) for i in range(40)])
        for n in range(6)
    ]  # fmt: skip
    build_documents(names, tmp_path / "one", TextRules(), workers_at_once=1)
    build_documents(names[::-1], tmp_path / "two", TextRules(), workers_at_once=2)
    assert corpus_bytes(tmp_path / "one") == corpus_bytes(tmp_path / "two")
    assert len(texts(tmp_path / "one")) == 240
    out = tmp_path / "rough"
    arguments = (f"pages=[{','.join(names)}]", f"out={out}", "workers=1")
    assert killed("documents", *arguments, kills=4, shortest=0.5, longest=1.3)
    assert corpus_bytes(tmp_path / "one") == corpus_bytes(out)
    other = stage("documents", *arguments, "text.min_tokens=5")
    assert other.returncode == 1
    assert "min_tokens is 128 there, 5 here" in other.stderr


def test_a_truncated_archive_gives_the_records_before_the_cut(tmp_path: Path) -> None:
    whole = Path(
        archive(tmp_path / "w.warc", [(f"http://x.com/{i}", article(i)) for i in range(9)])
    )
    cut = tmp_path / "cut.warc"
    cut.write_bytes(whole.read_bytes()[:-1000])
    build_documents([str(cut)], tmp_path / "out", TextRules(), workers_at_once=1)
    manifest = manifest_of(tmp_path / "out")
    assert manifest["broken"] == ["cut.warc"]
    assert manifest["rejected"] == {"broken record": 1}
    assert manifest["rows_out"] == 8


def test_files_that_are_not_archives_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.warc").write_bytes(b"hello, this is not an archive\n" * 10)
    with pytest.raises(UserError, match=r"x\.warc holds no WARC or ARC record"):
        build_documents([str(tmp_path / "x.warc")], tmp_path / "out", TextRules())
    (tmp_path / "x.warc").unlink()
    with pytest.raises(UserError, match="is a folder without a file in .warc, .warc.gz"):
        build_documents([str(tmp_path)], tmp_path / "new", TextRules())


@pytest.mark.slow
def test_every_real_archive_is_read(tmp_path: Path, realdata: Path) -> None:
    names = [str(p) for p in sorted((realdata / "web/warc").iterdir())]
    build_documents(names, tmp_path / "out", TextRules(min_tokens=1, language=""))
    manifest = manifest_of(tmp_path / "out")
    assert manifest["broken"] == ["clipped.warc.gz", "example-trunc.warc"]
    assert "broken archive" not in manifest["rejected"]
    assert manifest["rejected"]["broken record"] == 1
    assert manifest["repaired"]["wrong record length"] == 1  # in example-trunc.warc
    urls = {row["url"] for row in texts(tmp_path / "out")}
    assert "http://example.com/" in urls  # in a WARC, an ARC and a resource record


def test_arc_pages(realdata: Path) -> None:
    found = list(archived_pages(realdata / "web/warc/example.arc.gz", 10**6))
    (page,) = [item for item in found if isinstance(item, Page)]
    assert page.url == "http://example.com/"
    assert b"Example Domain" in page.body


def test_repair_by_hand() -> None:
    assert repaired("schÃ¶n e\u0301\x00\n\n \n\n\nb") == "schön é\n\nb"


@pytest.mark.parametrize(
    "text",
    [
        "Please enable JavaScript to view this page.",
        "This site uses cookies. Accept all cookies",
        "Verify you are human by completing the captcha below",
        "404 Not Found\nnginx",
        "The page you requested could not be found.",
        "Access denied",
    ],
)
def test_bot_walls(text: str) -> None:
    assert bot_wall(text)
    assert not bot_wall(SENTENCES + text.replace(text, "The robot walked."))


def test_a_long_article_about_captchas_is_no_bot_wall() -> None:
    assert not bot_wall(SENTENCES * 20 + "Solve the captcha, it said.")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (SENTENCES * 3, ""),
        ("word " * 20, "number of words"),
        ("of the a I " * 50, "length of words"),
        (SENTENCES * 3 + "# " * 60, "hashes"),
        ("123456 789012 and the " * 30, "words without letters"),
        ("Cats drink milk every morning. " * 30, "stop words"),
        ("- to the and of harbours boats\n" * 3 + "- with the and of boats\n" * 12, "bullets"),
    ],
)
def test_gopher_rules(text: str, fault: str) -> None:
    assert gopher_fault(text) == fault


def test_c4_rules() -> None:
    kept = SENTENCES.replace(". ", ".\n")
    assert (
        c4_lines(kept * 2 + "Read more\nShort one.\nThis needs JavaScript to work.")
        == (kept * 2).strip()
    )
    assert c4_lines(kept * 2 + "lorem ipsum") == ""
    assert c4_lines(kept * 2 + "function() { }") == ""
    assert c4_lines(kept) == ""  # only three sentences


def test_masks() -> None:
    text = (
        "Mail john.doe+x@mail.example.org or ping 8.8.8.8, not 192.168.0.1, 1.2.3.4.5 or 999.1.1.1"
    )
    assert masked(text) == (
        "Mail email@example.com or ping 192.0.2.1, not 192.168.0.1, 1.2.3.4.5 or 999.1.1.1"
    )


def test_rules_apply_only_if_set() -> None:
    page = Page("http://a.com/", "text/plain", "", (SENTENCES * 5 + " Ask me@x.org.").encode())
    assert document_of(page, TextRules()).text.endswith("Ask me@x.org.")
    assert document_of(page, TextRules(mask=True)).text.endswith("Ask email@example.com.")
    assert document_of(page, TextRules(language="de")).reason == "language"
    assert document_of(page, TextRules(gopher=True)).reason == ""


def shingles(text: str, n: int = 4) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text)
    return (
        Counter(tuple(words[i : i + n]) for i in range(max(len(words) - n + 1, 1)))
        if words
        else Counter()
    )


def test_main_text_of_gold_pages_reaches_f1_0_96(realdata: Path) -> None:
    """F1 of mean precision and mean recall over 4-grams, as the benchmark defines it."""
    truth = json.loads((realdata / "web/articles_ground_truth.json").read_text())
    precisions, recalls = [], []
    for name, entry in truth.items():
        body = gzip.decompress((realdata / f"web/articles/{name}.html.gz").read_bytes())
        found, gold = (
            shingles(main_text(Page(entry["url"], "text/html", "", body))),
            shingles(entry["articleBody"]),
        )
        shared = (found & gold).total()
        precisions.append(shared / found.total() if found else 0.0)
        recalls.append(shared / gold.total())
    precision, recall = sum(precisions) / len(truth), sum(recalls) / len(truth)
    assert len(truth) == 181
    assert 2 * precision * recall / (precision + recall) >= 0.96
