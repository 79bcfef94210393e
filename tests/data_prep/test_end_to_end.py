"""From a dump, through a local web site, to unique documents and their report."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from data_prep.report import write_report
from webtext_gpt.errors import UserError

from .conftest import manifest_of
from .site import Site

Stage = Callable[..., subprocess.CompletedProcess[str]]

WORDS = [
    "harbour",
    "ferry",
    "morning",
    "captain",
    "letter",
    "window",
    "garden",
    "winter",
    "market",
    "bridge",
    "river",
    "stone",
    "music",
    "teacher",
    "village",
    "summer",
    "island",
    "doctor",
    "station",
    "mountain",
    "silver",
    "forest",
    "lantern",
]


def article(path: str) -> bytes:
    """Make English text from the number in a path; two numbers share little text."""
    number = int(path.rpartition("/")[2]) if path.rpartition("/")[2].isdigit() else 0
    if path.startswith("/mirror/"):
        number -= 1000  # nearly the page of another URL
    sentences = []
    for at in range(60):
        a, b, c = (WORDS[(number * k + at * j + at * at) % len(WORDS)]
                   for k, j in ((7, 3), (11, 5), (13, 2)))  # fmt: skip
        sentences.append(f"The {a} of number {number * 97 + at} was near the {b} and the {c}.")
    changed = "and then it ended." if path.startswith("/mirror/") else "and so it ended."
    body = "".join(f"<p>{' '.join(sentences[i : i + 10])}</p>" for i in range(0, 60, 10))
    return (
        f"<html><body><article>{body}<p>That is all, {changed}</p></article></body></html>".encode()
    )


@pytest.mark.slow
def test_from_dump_to_unique_documents(tmp_path: Path, stage: Stage) -> None:
    def run(name: str, *arguments: str) -> Path:
        out = tmp_path / name
        done = stage(name, f"out={out}", *arguments)
        assert done.returncode == 0, done.stderr
        return out

    with Site(article) as site:
        posts = [(f"/page/{n}", 10) for n in range(1, 21)]
        posts += [(f"/page/{n}?utm_source=x", 5) for n in range(1, 4)]  # repeated posts
        posts += [(f"/mirror/{n + 1000}", 5) for n in (4, 5)]  # near-duplicates: two words differ
        posts += [
            ("/page/99", 2),
            ("/x.png", 50),
            ("/missing", 9),
            ("/private/7", 9),
            ("/page/20/", 3),
        ]
        dump = tmp_path / "RS.zst"
        dump.write_bytes(zstandard.compress("".join(
            json.dumps({"id": f"p{n}", "url": site.root + path, "score": score, "created_utc": n,
                        "subreddit": "news", "is_self": False}) + "\n"
            for n, (path, score) in enumerate(posts)
        ).encode()))  # fmt: skip
        links = run("links", f"dumps=[{dump}]", "allow_private=true")
        pages = run("pages", f"links=[{links}]", "allow_private=true", "politeness.delay=0",
                    "politeness.per_host=8")  # fmt: skip
    documents = run("documents", f"pages=[{pages}]")
    dedup = run("dedup", f"documents=[{documents}]")

    assert manifest_of(links)["rejected"] == {"low karma": 1, "media or binary file": 1}
    assert manifest_of(links)["rows_out"] == 24  # 20 pages, 2 mirrors, missing, private
    assert manifest_of(pages)["rejected"] == {"http 404": 1, "robots.txt": 1}
    assert manifest_of(documents)["rejected"] == {"not a page": 22}  # request records
    assert manifest_of(dedup)["rejected"] == {"near duplicate": 2}
    rows = [r for p in dedup.glob("documents-*.parquet") for r in pq.read_table(p).to_pylist()]
    assert len(rows) == 20
    originals = {row["url"].removeprefix(site.root).rstrip("/") for row in rows}
    numbers = {int(path.rpartition("/")[2]) % 1000 for path in originals}
    assert numbers == set(range(1, 21))

    report = run("report", f"links={links}", f"pages={pages}", f"documents={documents}",
                 f"dedup={dedup}") / "report.md"  # fmt: skip
    text = report.read_text()
    for part in ("| low karma | 1 |", "| robots.txt | 1 |", "| near duplicate | 2 |", "| en | 20 |",
                 "| 127.0.0.1 | 20 | 100.00% |\n", "| near copies | 2 |"):  # fmt: skip
        assert part in text
    pictures = {path.name for path in report.parent.glob("*.png")}
    assert pictures == {"funnel.png", "domains.png", "lengths.png", "clusters.png"}


def test_domains_are_compared_with_webtexts(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    counts = {"rows_in": 3, "rows_used": 3, "rows_out": 3, "rejected": {}}
    (folder / "manifest.json").write_text(json.dumps({"stage": "documents", **counts}))
    table = pa.table({"text": ["a", "bb", "c"], "domain": ["github.com", "github.com", "x.org"]})
    pq.write_table(table, folder / "documents-0.parquet")
    (tmp_path / "top.txt").write_text("300 google\n100 github\n")
    report = write_report({"documents": folder}, tmp_path / "out", tmp_path / "top.txt")
    assert "| github.com | 2 | 66.67% | 25.00% (no. 2) |" in report.read_text()
    assert "| x.org | 1 | 33.33% | - |" in report.read_text()
    with pytest.raises(UserError, match="was made by documents, not links"):
        write_report({"links": folder}, tmp_path / "out")
    with pytest.raises(UserError, match=r"run data_prep/pages\.py first"):
        write_report({"pages": tmp_path}, tmp_path / "out")
    with pytest.raises(UserError, match="holds more than a report"):
        write_report({"documents": folder}, folder)


def test_webtexts_own_table_is_read(tmp_path: Path, realdata: Path) -> None:
    counts = {"rows_in": 1, "rows_used": 1, "rows_out": 1, "rejected": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"stage": "documents", **counts}))
    table = pa.table({"text": ["a"], "domain": ["archive.org"]})
    pq.write_table(table, tmp_path / "documents-0.parquet")
    domains = realdata / "reddit/webtext_top_domains.txt"
    report = write_report({"documents": tmp_path}, tmp_path / "out", domains)
    assert "(no. 2) |" in report.read_text()
