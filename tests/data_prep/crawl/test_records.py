import gzip
import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed

from data_prep.crawl.records import Lost, Record, stored_records
from data_prep.crawl.warc import Damage, Page, archived_pages

from .archives import arc, body_of, url_of, warc, written

MOST = 10**6


def pages(path: Path) -> tuple[dict[str, bytes], Damage, list[str]]:
    """Bodies by URL, the damage, and the reasons and faults that were counted."""
    damage = Damage()
    bodies, counted = {}, []
    for item in archived_pages(path, MOST, damage):
        if isinstance(item, Page):
            assert item.url not in bodies
            bodies[item.url] = item.body
            counted += item.faults
        else:
            counted.append(item)
    return bodies, damage, counted


def test_as_many_records_as_warcio_reads(realdata: Path, capsys: pytest.CaptureFixture) -> None:
    """And the same blocks; of archives that warcio cannot read to the end, at least as many."""
    checked = 0
    for path in sorted((realdata / "web/warc").iterdir()):
        items = list(stored_records(path, MOST))
        theirs: list[tuple[str, bytes]] = []
        try:
            with path.open("rb") as file:
                for record in ArchiveIterator(file, no_record_parse=True, arc2warc=True):
                    theirs.append((record.rec_type, record.raw_stream.read()))
        except ArchiveLoadFailed:
            assert len(items) > len(theirs)
            continue
        assert len(items) == len(theirs), path.name
        checked += 1
        if path.name not in ("clipped.warc.gz", "example-trunc.warc"):
            pairs = [
                (i.block, b)
                for i, (_, b) in zip(items, theirs, strict=True)
                if i.kind != "arc_header"
            ]
            assert all(ours == block for ours, block in pairs), path.name
    assert checked == 22


DAMAGES = ("flip", "cut", "zeros")


@pytest.mark.parametrize("kind", ["warc", "warc.gz", "arc", "arc.gz"])
def test_damage_costs_only_the_records_that_it_hits(tmp_path: Path, kind: str) -> None:  # noqa: PLR0912
    """Flips, cuts and zeroed blocks: counted, or without effect; other pages are identical."""
    if kind.startswith("warc"):
        whole, places = warc(30, packed=kind.endswith("gz"))
    else:
        whole, places = arc(30)
        if kind.endswith("gz"):
            parts = [
                gzip.compress(whole[begin:end], mtime=0)
                for begin, end in [(0, places[0][0]), *places]
            ]
            whole, begin = parts[0], len(parts[0])
            for number, part in enumerate(parts[1:]):
                places[number] = (begin, begin := begin + len(part))
                whole += part
    good, damage, usual = pages(written(tmp_path, f"whole.{kind}", whole))
    assert good == {url_of(n): body_of(n) for n in range(30)}
    assert damage == Damage()
    outcomes: Counter[str] = Counter()
    for seed in range(60):
        draw = random.Random(f"{kind}{seed}")
        at, end = draw.randrange(len(whole)), len(whole)
        data = bytearray(whole)
        match DAMAGES[seed % 3]:
            case "flip":
                end = at + 1
                data[at] ^= 1 << draw.randrange(8)
            case "cut":
                del data[at:]
            case "zeros":
                end = min(at + draw.choice([16, 512, 4096]), len(whole))
                data[at:end] = bytes(end - at)
        found, damage, counted = pages(written(tmp_path, f"damaged.{kind}", bytes(data)))
        for number, (first, last) in enumerate(places):
            if last <= at or first >= end:
                assert found.get(url_of(number)) == good[url_of(number)], (seed, number)
        if counted != usual or damage.places:
            outcomes["counted"] += 1
            assert 0 <= damage.lost_bytes <= len(data) or not data
        elif found == good:
            outcomes["no effect"] += 1
        else:
            outcomes["not noticed"] += 1
            # Nothing guards the header of an uncompressed record, and nothing an uncompressed ARC.
            line = whole[whole.rfind(b"\n", 0, at) + 1 : at]
            in_url = kind == "warc" and line.startswith(b"WARC-Target-URI")
            at_a_boundary = DAMAGES[seed % 3] == "cut" and at in {
                p for place in places for p in place
            }
            assert in_url or at_a_boundary or kind == "arc", (seed, line)
    print(f"\n{kind}: {dict(outcomes)}")
    assert outcomes.total() == 60
    assert outcomes["counted"] >= (20 if kind == "arc" else 50)


def test_a_length_that_is_wrong_costs_no_record(tmp_path: Path) -> None:
    for packed in (False, True):
        for wrong in (b"0", b"7", b"100", b"99999", b"99999999999", b"", b"x", b"-1"):
            whole, places = warc(5, packed=False)
            begin, end = places[2]
            part = re.sub(rb"Content-Length: \d+", b"Content-Length: " + wrong, whole[begin:end])
            parts = [whole[slice(*place)] for place in places]
            parts[2] = part
            data = b"".join(map(gzip.compress, parts) if packed else parts)
            path = written(tmp_path, "a.warc.gz" if packed else "a.warc", data)
            found, damage, counted = pages(path)
            assert found == {url_of(n): body_of(n) for n in range(5)}, (packed, wrong)
            assert counted == ["wrong record length"]
            assert damage == Damage(1, 2, 0)


def test_garbage_between_records_is_named(tmp_path: Path) -> None:
    for packed in (False, True):
        whole, places = warc(5, packed=packed)
        at = places[2][0]
        data = whole[:at] + b"garbage " * 100 + whole[at:]
        found, damage, counted = pages(written(tmp_path, f"a.warc{'.gz' * packed}", data))
        assert len(found) == 5
        assert counted == ["broken archive"]
        assert damage == Damage(1, 2, 800)


def test_one_gzip_member_for_all_records_and_one_record_in_two(tmp_path: Path) -> None:
    whole, places = warc(30, packed=False)
    found, damage, _ = pages(written(tmp_path, "a.warc.gz", gzip.compress(whole)))
    assert (len(found), damage.places) == (30, 0)
    halves = gzip.compress(whole[: places[7][0] + 500]) + gzip.compress(whole[places[7][0] + 500 :])
    found, damage, _ = pages(written(tmp_path, "b.warc.gz", halves))
    assert (len(found), damage.places) == (30, 0)
    one = bytearray(gzip.compress(whole, mtime=0))
    one[len(one) // 2 : len(one) // 2 + 20] = bytes(20)
    found, damage, counted = pages(written(tmp_path, "c.warc.gz", bytes(one)))
    good = [n for n in range(30) if found.get(url_of(n)) == body_of(n)]
    assert good[:8] == list(range(8))
    assert len(good) < 22
    assert len(found) - len(good) <= counted.count("digest does not match")
    assert counted[-1].startswith("broken")
    assert damage.lost_bytes > 0


def test_a_length_that_is_right_is_believed_even_if_the_record_holds_an_archive(
    tmp_path: Path,
) -> None:
    inner, _ = warc(3, packed=False)
    whole, _ = warc(3, packed=False, bodies=[b"<p>a", inner, b"<p>b"])
    items = list(stored_records(written(tmp_path, "a.warc", whole), MOST))
    assert len(items) == 3
    small = list(stored_records(written(tmp_path, "b.warc", whole), 500))
    assert [isinstance(i, Record) and i.block is None for i in small] == [False, True, False]


def test_many_records_too_large_are_passed_over_in_linear_time(tmp_path: Path) -> None:
    bodies = [b"<p>" + b"x" * 20_000] * 200
    for packed in (False, True):
        whole, _ = warc(200, packed=packed, bodies=bodies)
        items = list(stored_records(written(tmp_path, f"a.warc{'.gz' * packed}", whole), 1000))
        assert [i.block for i in items if isinstance(i, Record)] == [None] * 200


def test_an_archive_of_garbage_is_one_lost_part(tmp_path: Path) -> None:
    garbage = random.Random(0).randbytes(300_000)
    for name in ("a.warc", "a.warc.gz", "a.arc", "a.arc.gz"):
        assert list(stored_records(written(tmp_path, name, garbage), MOST)) == [
            Lost(300_000, False)
        ]
        assert list(stored_records(written(tmp_path, name, b""), MOST)) == []


ARC_HEAD = b"filedesc://a.arc 0.0.0.0 20200101000000 text/plain 5\nabcde\n"
MEMBER = gzip.compress(
    b"WARC/1.0\r\nWARC-Type: request\r\nContent-Length: 1\r\n\r\nx\r\n\r\n", mtime=0
)


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"", b"WARC/1.0\r\n"),
        (b"", b"WARC/1.0\r\nA:"),
        (b"", b"WARC/1.0\r\nA:b\r\n\r\n"),
        (b"", b"WARC/1.0\r\nContent-Length: 999999\r\n\r\n"),
        (MEMBER, b"\x1f\x8b\x08"),
        (MEMBER, b"\x1f\x8b\x08\x08\1\1\1\1"),
        (ARC_HEAD, b"http://"),
        (ARC_HEAD, b"http:// 20200101000000 "),
    ],
)
def test_fragments_take_time_in_proportion_to_their_number(
    tmp_path: Path, begin: bytes, piece: bytes
) -> None:
    def seconds(size: int) -> float:
        name = "a.arc" if begin == ARC_HEAD else "a.warc"
        path = written(tmp_path, name, begin + piece * (size // len(piece)))
        start = time.process_time()
        items = list(stored_records(path, 10**6))
        assert items
        return time.process_time() - start

    size = 20_000 if begin == ARC_HEAD else 60_000
    # 0.1 to 2 s; without bounds, several times more, and some of them take minutes
    assert seconds(2 * size) < 4 * seconds(size) + 1
    assert seconds(2 * size) < 10
