import bz2
import gzip
import json
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from data_prep.links import build_links, rules_of
from webtext_gpt.errors import UserError

from .conftest import corpus_bytes, manifest_of

Stage = Callable[..., subprocess.CompletedProcess[str]]


def row(number: int, url: str, score: Any = 5, **more: Any) -> dict[str, Any]:
    base = {"id": f"p{number}", "url": url, "score": score, "created_utc": 1000 + number}
    return {**base, "subreddit": "a", "is_self": False, **more}


def lines_of(rows: list[Any]) -> bytes:
    return b"".join(
        r + b"\n" if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in rows
    )


ROWS: list[Any] = [
    row(1, "http://a.com/x", 3),
    row(2, "https://www.a.com/x/?utm_source=z", "7", subreddit="b", created_utc="900"),
    row(3, "http://a.com/x#y", 2, subreddit="c", created_utc=800.0),
    row(4, "http://b.org/", 10, over_18=True),
    row(5, "http://b.org/y", 3, subreddit="Bad"),
    row(6, "http://www.reddit.com/r/x", 50),
    row(7, "http://self.com/", 50, is_self=True),
    row(8, "http://i.imgur.com/x", 50),
    row(9, "http://c.com/x.png", 50),
    row(10, "http://en.wikipedia.org/wiki/X", 50),
    row(11, "notaurl", 50),
    row(12, "http://c.com/z", 2),
    b"{broken",
    b'{"id": "q", "url": "http://c.com/", "created_utc": 1}',
    row(1, "http://a.com/x", 4),
    row(13, "http://d.com/blocked", 9),
    row(14, "http://e.com/", None),
]


def table_of(folder: Path) -> list[dict[str, Any]]:
    parts = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return [r for part in parts for r in part.to_pylist()]


def build(tmp_path: Path, rows: list[Any], *overrides: str, name: str = "out") -> Path:
    dump = tmp_path / f"{name}.ndjson"
    dump.write_bytes(lines_of(rows))
    out = tmp_path / name
    build_links([str(dump)], out, rules_of(overrides), workers_at_once=1)
    return out


def test_every_row_is_kept_or_counted(tmp_path: Path) -> None:
    out = build(
        tmp_path,
        ROWS,
        "over_18=false",
        "blocked_subreddits=[r/bad]",
        "urls.blocked_domains=[d.com]",
    )
    manifest = manifest_of(out)
    assert manifest["rows_in"] == 17
    assert manifest["rejected"] == {
        "low karma": 2, "over 18": 1, "blocked subreddit": 1, "reddit": 1, "self post": 1,
        "non-text host": 1, "media or binary file": 1, "wikipedia": 1, "malformed URL": 1,
        "malformed row": 3, "repeated post": 1, "blocked domain": 1,
    }  # fmt: skip
    assert (manifest["rows_used"], manifest["rows_out"]) == (2, 1)
    (link,) = table_of(out)
    del link["id"]
    assert link == {
        "url": "http://a.com/x", "domain": "a.com", "karma": 7, "posts": 2,
        "subreddits": ["a", "b"], "first_seen": 900,
    }  # fmt: skip


def test_karma_can_be_summed_over_the_posts_of_a_url(tmp_path: Path) -> None:
    rows = [row(1, "http://a.com/", 2), row(2, "http://a.com", 2), row(3, "http://b.com", 2)]
    out = build(tmp_path, rows, "karma=sum")
    (link,) = table_of(out)
    assert (link["karma"], link["posts"]) == (4, 2)
    assert manifest_of(out)["rejected"] == {"low karma": 1}


def test_block_lists_can_be_files(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("# mine\nb.com\n\n")
    out = build(tmp_path, [row(1, "http://x.b.com/"), row(2, "http://c.com/")],
                f"urls.blocked_domains={names}")  # fmt: skip
    assert manifest_of(out)["rejected"] == {"blocked domain": 1}


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst", ".two-frames.zst"])
def test_every_compression_gives_the_same_links(tmp_path: Path, suffix: str) -> None:
    data = lines_of(ROWS * 50)
    half = len(data) // 2  # in the middle of a row
    wide = zstandard.ZstdCompressionParameters.from_level(3, window_log=31)
    packed = {
        "": data,
        ".gz": gzip.compress(data[:half]) + gzip.compress(data[half:]),
        ".bz2": bz2.compress(data),
        ".xz": lzma.compress(data) + b"\0\0\0\0",
        ".zst": zstandard.ZstdCompressor(compression_params=wide).compressobj().compress(data),
        ".two-frames.zst": zstandard.compress(data[:half]) + zstandard.compress(data[half:]),
    }
    if suffix == ".zst":
        compressor = zstandard.ZstdCompressor(compression_params=wide).compressobj()
        packed[suffix] = compressor.compress(data) + compressor.flush()
    dump = tmp_path / f"RS{suffix}"
    dump.write_bytes(packed[suffix])
    build_links([str(dump)], tmp_path / "out", rules_of([]), workers_at_once=1)
    plain = build(tmp_path, ROWS * 50, name="plain")
    assert manifest_of(tmp_path / "out")["rows_in"] == 17 * 50
    assert corpus_bytes(tmp_path / "out") == corpus_bytes(plain)


def many_dumps(folder: Path, files: int, rows: int) -> list[str]:
    names = []
    for number in range(files):
        some = [
            row(number * rows + i, f"http://site{i % 97}.com/{i * i % 1009}", i % 11)
            for i in range(rows)
        ]
        path = folder / f"RS_{number}.zst"
        path.write_bytes(zstandard.compress(lines_of(some)))
        names.append(str(path))
    return names


@pytest.mark.slow
def test_order_and_workers_change_nothing(tmp_path: Path) -> None:
    names = many_dumps(tmp_path, 3, 500)
    build_links(names, tmp_path / "one", rules_of([]), workers_at_once=1)
    build_links(names[::-1], tmp_path / "two", rules_of([]), workers_at_once=2)
    assert corpus_bytes(tmp_path / "one") == corpus_bytes(tmp_path / "two")


def test_many_parts_hold_the_same_rows_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = many_dumps(tmp_path, 2, 500)
    build_links(names, tmp_path / "one", rules_of([]), workers_at_once=1)
    monkeypatch.setattr("data_prep.links.POSTS_PER_PART", 100)
    build_links(names, tmp_path / "many", rules_of([]), workers_at_once=1)
    assert len(list((tmp_path / "many").glob("*.parquet"))) > 3
    assert table_of(tmp_path / "one") == table_of(tmp_path / "many")


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_bytes(
    tmp_path: Path, stage: Stage, killed: Callable[..., int]
) -> None:
    names = many_dumps(tmp_path, 4, 30_000)
    dumps = f"dumps=[{','.join(names)}]"
    done = stage("links", dumps, f"out={tmp_path / 'calm'}")
    assert done.returncode == 0, done.stderr
    assert "120,000 rows in" in done.stdout
    out = tmp_path / "rough"
    assert killed("links", dumps, f"out={out}", "workers=1", kills=4, shortest=0.4, longest=1.5)
    assert corpus_bytes(out) == corpus_bytes(tmp_path / "calm")
    assert manifest_of(out)["rejected"] == manifest_of(tmp_path / "calm")["rejected"]


def test_finished_dumps_are_not_read_again(tmp_path: Path) -> None:
    names = many_dumps(tmp_path, 2, 100)
    bad = tmp_path / "RS_bad.zst"
    bad.write_bytes(zstandard.compress(b"a,b\n1,2\n"))
    with pytest.raises(UserError, match="none of the first 2 rows is a Reddit submission"):
        build_links([*names, str(bad)], tmp_path / "out", rules_of([]), workers_at_once=1)
    done = sorted((tmp_path / "out/_work").glob("posts-*.parquet"))
    assert len(done) == 2  # the longest files come first, so both were read before the bad one
    stamps = [path.stat().st_mtime_ns for path in done]
    with pytest.raises(UserError, match="RS_bad"):
        build_links([*names, str(bad)], tmp_path / "out", rules_of([]), workers_at_once=1)
    assert [path.stat().st_mtime_ns for path in done] == stamps


@pytest.mark.slow
def test_a_truncated_dump_keeps_the_rows_before_the_cut_and_says_so(
    tmp_path: Path, stage: Stage
) -> None:
    rows = [row(i, f"http://site.com/{i}") for i in range(5000)]
    for name, packed in {
        "cut.zst": zstandard.compress(lines_of(rows)),
        "cut.xz": lzma.compress(lines_of(rows)),
        "cut.gz": gzip.compress(lines_of(rows)),
        "cut.bz2": bz2.compress(lines_of(rows), 1),
    }.items():
        dump, out = tmp_path / name, tmp_path / f"{name}-out"
        dump.write_bytes(packed[: len(packed) * 3 // 4])
        for _ in range(2):  # the second time, everything is finished already
            done = stage("links", f"dumps=[{dump}]", f"out={out}", "workers=1")
            assert done.returncode == 1, name
            assert name in done.stderr
            assert "the file ends inside a" in done.stderr
            assert "rows before were kept" in done.stderr
        if name != "cut.zst":  # a single zstd block may hold all rows
            assert 0 < manifest_of(out)["rows_out"] < 5000, name


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("RS.zst", b"plain text", "named .zst, but is not compressed, it begins with b'plain te'"),
        ("RS.xz", b"", "named .xz, but is empty"),
        ("RS.zst", zstandard.compress(b"x" * 1000)[:12], "no row could be read"),
        ("RC.ndjson", b'{"id": "c1", "body": "a comment", "score": 3}\n', "is a Reddit submission"),
        ("RS.csv", b"url,score\nhttp://a.com,3\n", "is a Reddit submission"),
    ],
)
def test_files_that_are_not_dumps_are_refused_by_name(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        build_links([str(tmp_path / name)], tmp_path / "out", rules_of([]), workers_at_once=1)
    assert name in str(error.value)


def test_other_corpora_are_not_overwritten(tmp_path: Path) -> None:
    out = build(tmp_path, ROWS)
    before = corpus_bytes(out)
    dump = tmp_path / "out.ndjson"
    with pytest.raises(UserError, match="min_karma is 3 there, 5 here"):
        build_links([str(dump)], out, rules_of(["min_karma=5"]))
    dump.write_bytes(lines_of(ROWS[:3]))
    with pytest.raises(UserError, match="inputs differ"):
        build_links([str(dump)], out, rules_of([]))
    assert corpus_bytes(out) == before
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        build_links([str(dump)], foreign, rules_of([]))
    with pytest.raises(UserError, match="dumps=.* does not exist"):
        build_links([str(tmp_path / "none.zst")], tmp_path / "new", rules_of([]))


def test_an_overlong_row_is_one_malformed_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webtext_gpt.data.lines.MAX_ROW_BYTES", 1000)
    monkeypatch.setattr("webtext_gpt.data.lines.BATCH_BYTES", 100)
    monkeypatch.setattr("webtext_gpt.data.lines.READ_BYTES", 64)
    rows = [row(1, "http://a.com/"), b"x" * 5000, row(2, "http://b.com/")]
    manifest = manifest_of(build(tmp_path, rows))
    assert manifest["rejected"] == {"malformed row": 1}
    assert manifest["rows_out"] == 2


def test_real_vintages_by_hand(tmp_path: Path, realdata: Path) -> None:
    """Counted by hand: of 31 rows, 12 are self posts, 14 score under 3, one is on redgifs."""
    build_links(
        [str(realdata / "reddit/submissions_2005_2024_vintages.ndjson")],
        tmp_path / "v", rules_of([]), workers_at_once=1,
    )  # fmt: skip
    manifest = manifest_of(tmp_path / "v")
    assert manifest["rows_in"] == 31
    assert manifest["rejected"] == {"self post": 12, "low karma": 14, "non-text host": 1}
    assert sorted(r["url"] for r in table_of(tmp_path / "v"))[1:] == [
        "http://www.downingstreetmemo.com/",
        "http://www.paulgraham.com/nerds.html",
        "http://www.wired.com/news/culture/0,1284,67982,00.html?tw=wn_tophead_4",
    ]


def test_real_2005_dump_by_hand(tmp_path: Path, realdata: Path) -> None:
    """Counted by hand: 103 rows, all links to pages; 20 score under 3; no URL is repeated."""
    build_links([str(realdata / "reddit/RS_v2_2005-06.xz")], tmp_path / "v", rules_of([]),
                workers_at_once=1)  # fmt: skip
    manifest = manifest_of(tmp_path / "v")
    assert manifest["rejected"] == {"low karma": 20}
    assert manifest["rows_out"] == 83


def test_real_2013_sample(tmp_path: Path, realdata: Path) -> None:
    """The data's README states 226,051 rows, and 159,277 links with at least 3 karma."""
    build_links([str(realdata / "reddit/submissions_2013_sample.ndjson.zst")],
                tmp_path / "v", rules_of([]), workers_at_once=1)  # fmt: skip
    manifest = manifest_of(tmp_path / "v")
    assert manifest["rows_in"] == 226_051
    before_urls = {"self post", "low karma", "malformed row", "over 18"}
    of_urls = sum(n for reason, n in manifest["rejected"].items() if reason not in before_urls)
    assert manifest["rows_used"] + of_urls == 159_277
