"""`documents.py` on archives that are not as they should be."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from .conftest import corpus_bytes, manifest_of
from .crawl.archives import url_of, warc, written

Stage = Callable[..., subprocess.CompletedProcess[str]]
SENTENCE = "The quick brown fox jumps over the lazy dog while the old man in the café reads his"


def texts(out: Path) -> dict[str, str]:
    rows = [r for p in sorted(out.glob("documents-*")) for r in pq.read_table(p).to_pylist()]
    return {row["url"]: row["text"] for row in rows}


def test_every_case_is_read_as_its_description_says(
    tmp_path: Path, cases: Path, call: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    archives = cases / "warc"
    names = {path.stem for path in archives.iterdir()}
    assert len(names) == 8
    out = tmp_path / "out"
    arguments = (f"pages=[{archives}]", f"out={out}", "workers=1", "text.min_tokens=10")
    done = call("data_prep/documents.py", *arguments)
    assert done.returncode == 0, done.stderr
    manifest = manifest_of(out)
    assert manifest["rows_in"] == 16
    assert manifest["broken"] == []
    assert manifest["repaired"] == {
        "charset does not fit the bytes": 2,  # hdr-latin1-body-utf8, hdr-utf8-body-cp1252
        "cut gzip body": 1,
        "no content type": 1,
        "says chunked and is not": 1,
        "says gzip and is not": 1,
        "unknown charset": 1,
    }
    assert done.stdout.count("  repaired: ") == 6
    rows = [r for p in out.glob("documents-*") for r in pq.read_table(p).to_pylist()]
    (whole,) = {row["text"] for row in rows if row["url"].endswith("/good")}
    assert SENTENCE in whole
    assert "newspaper — “what a day,” he says" in whole
    found = {row["url"].rpartition("/")[2]: row["text"] for row in rows}
    cut = found.pop("gzip-truncated", "")
    assert found == dict.fromkeys(names - {"gzip-truncated"} | {"good"}, whole)
    assert whole.startswith(cut[:100])


def long_page(number: int) -> bytes:
    words = "The harbour was quiet when the first boats came back with the catch of the morning. "
    return (
        f"<html><body><article><p>Page {number}. {words * 12}</p></article></body></html>".encode()
    )


@pytest.mark.slow
def test_damaged_archives_are_named_and_the_exit_code_says_if_most_is_lost(
    tmp_path: Path, stage: Stage
) -> None:
    bodies = [long_page(n) for n in range(20)]
    good, _ = warc(20, packed=True, bodies=bodies)
    written(tmp_path, "good.warc.gz", good)
    flipped, places = warc(19, packed=True, bodies=bodies)
    middle = sum(places[5]) // 2
    flipped = flipped[:middle] + b"xx" + flipped[middle + 2 :]
    written(tmp_path, "flipped.warc.gz", flipped)
    small = stage("documents", f"pages=[{tmp_path}]", f"out={tmp_path / 'small'}", "workers=1")
    assert small.returncode == 0, small.stderr
    manifest = manifest_of(tmp_path / "small")
    assert (manifest["rows_in"], manifest["rows_out"]) == (39, 38)
    assert manifest["broken"] == ["flipped.warc.gz"]
    (damage,) = manifest["damage"]
    begin, end = places[5]
    assert damage == {
        "name": "flipped.warc.gz", "bytes": len(flipped), "places": 1, "records_before": 5,
        "lost_bytes": end - begin,
    }  # fmt: skip
    assert "flipped.warc.gz: damaged after 5 records" in small.stdout
    assert url_of(5) in texts(tmp_path / "small")  # of the other archive
    # most of an archive is gone: the other archives are done first, and again nothing is repeated
    half = len(good) // 3
    written(tmp_path, "lost.warc.gz", good[:half] + bytes(len(good) - half))
    arguments = ("documents", f"pages=[{tmp_path}/*.warc.gz]", f"out={tmp_path / 'most'}")
    lost = stage(*arguments, "workers=1")
    assert lost.returncode == 1
    assert "lost.warc.gz: damaged after" in lost.stderr
    assert "flipped.warc.gz" not in lost.stderr
    manifest = manifest_of(tmp_path / "most")
    assert manifest["broken"] == ["flipped.warc.gz", "lost.warc.gz"]
    assert manifest["rows_out"] > 38
    before = corpus_bytes(tmp_path / "most")
    again = stage(*arguments, "workers=1")
    assert (again.returncode, again.stderr) == (1, lost.stderr)
    assert corpus_bytes(tmp_path / "most") == before
