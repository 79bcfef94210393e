import gzip
import random
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from data_prep.crawl.body import undo_codings

PAGE = b"<html><body>" + b" ".join(b"<p>line %d</p>" % n for n in range(3000)) + b"</body></html>"
MOST = 10**6


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def chunked(body: bytes, size: int = 1000) -> bytes:
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress,
    "br": brotli.compress, "zstd": zstandard.compress,
}  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "codings"),
    [
        *((pack(PAGE), [name]) for name, pack in PACKERS.items()),
        (raw_deflate(PAGE), ["deflate"]),
        (gzip.compress(PAGE), [" GZip "]),
        (gzip.compress(PAGE[:100]) + gzip.compress(PAGE[100:]), ["gzip"]),
        (gzip.compress(PAGE) + b"\0\0junk", ["gzip"]),
        *((pack(PAGE) + b"\0\0junk", [name]) for name, pack in PACKERS.items()),
        *((pack(PAGE) + b"\0\0junk" * 200, [name]) for name, pack in PACKERS.items()),
        (b"".join(gzip.compress(PAGE[at : at + 10]) for at in range(0, len(PAGE), 10)), ["gzip"]),
        (gzip.compress(b"") * 5000 + gzip.compress(PAGE), ["gzip"]),
        (zstandard.compress(PAGE[:9]) + b"\x50\x2a\x4d\x18\1\0\0\0x" + zstandard.compress(PAGE[9:]),
         ["zstd"]),
        (brotli.compress(gzip.compress(PAGE)), ["gzip", "br"]),
        (gzip.compress(zlib.compress(PAGE)), ["deflate", "gzip"]),
        (chunked(gzip.compress(PAGE)), ["gzip", "chunked"]),
        (chunked(PAGE), ["", "chunked"]),
        (chunked(PAGE).replace(b"\r\n", b"\n"), ["chunked"]),
        (b"3;name=value\r\nabc\r\n 2 \r\nde\r\n0\r\nTrailer: x\r\n\r\n", ["identity", "chunked"]),
        (PAGE, ["identity"]),
        (b"", ["gzip"]),
        (b"", ["chunked"]),
    ],
)  # fmt: skip
def test_codings_that_are_true(stored: bytes, codings: list[str]) -> None:
    body, faults = undo_codings(stored, codings, MOST)
    assert faults == []
    assert body in (PAGE, b"abcde", b"")
    assert bool(body) == bool(stored)


@pytest.mark.parametrize("coding", PACKERS)
def test_a_body_that_is_not_what_it_says_is_kept_as_it_is(coding: str) -> None:
    name = coding.removeprefix("x-")
    assert undo_codings(PAGE, [coding], MOST) == (PAGE, [f"says {name} and is not"])
    # the other codings are undone all the same
    packed = gzip.compress(PAGE)
    both = [coding, "gzip"] if name != "gzip" else ["gzip", "gzip"]
    assert undo_codings(packed, both, MOST) == (PAGE, [f"says {name} and is not"])


@pytest.mark.parametrize("coding", PACKERS)
@pytest.mark.parametrize("seed", range(5))
def test_a_cut_body_gives_what_can_be_decoded(coding: str, seed: int) -> None:
    text = "".join(random.Random(seed).choices("abcdefghij <>/p\n", k=60_000)).encode()
    stored = PACKERS[coding](text)
    body, faults = undo_codings(stored[: len(stored) * 3 // 4], [coding], MOST)
    assert faults == [f"cut {coding.removeprefix('x-')} body"]
    assert text.startswith(body)
    if coding != "zstd":  # its blocks hold up to 128 kB
        assert len(body) > 0.6 * len(text)


def test_a_damaged_body_gives_what_comes_before() -> None:
    text = "".join(random.Random(0).choices("abcdefghij <>/p\n", k=60_000)).encode()
    stored = bytearray(gzip.compress(text))
    stored[len(stored) // 2 : len(stored) // 2 + 50] = bytes(50)
    body, faults = undo_codings(bytes(stored), ["gzip"], MOST)
    assert faults == ["damaged gzip body"]
    assert body[:20_000] == text[:20_000]
    assert undo_codings(gzip.compress(text)[:5], ["gzip"], MOST) == (b"", ["cut gzip body"])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_wrong_checksum_costs_nothing_of_the_page(coding: str) -> None:
    stored = PACKERS[coding](PAGE[:300])
    damaged = stored[:-4] + bytes(4)
    assert undo_codings(damaged, [coding], MOST) == (PAGE[:300], [f"damaged {coding} body"])


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("pack", [*PACKERS.values(), raw_deflate])
def test_a_coding_that_is_another_one(coding: str, pack: Callable[[bytes], bytes]) -> None:
    body, faults = undo_codings(pack(PAGE), [coding], MOST)
    assert body == PAGE
    assert faults in ([], [f"says {coding} and is not"])


def test_chunks_that_are_untrue() -> None:
    assert undo_codings(PAGE, ["chunked"], MOST) == (PAGE, ["says chunked and is not"])
    whole = chunked(PAGE)
    assert undo_codings(whole[:5000], ["chunked"], MOST)[1] == ["cut chunked body"]
    assert PAGE.startswith(undo_codings(whole[:5000], ["chunked"], MOST)[0])
    assert undo_codings(whole[:-5], ["chunked"], MOST) == (PAGE, ["cut chunked body"])
    body, faults = undo_codings(b"5\r\nabcde\r\n3\r\nfghij\r\n0\r\n\r\n", ["chunked"], MOST)
    assert (body[:8], faults) == (b"abcdefgh", ["badly chunked body"])
    assert body.endswith(b"ij\r\n0\r\n\r\n")


def test_codings_that_are_not_said_and_unknown_ones() -> None:
    assert undo_codings(zstandard.compress(PAGE), [], MOST) == (PAGE, ["zstd without saying so"])
    assert undo_codings(gzip.compress(PAGE), [], MOST) == (PAGE, ["gzip without saying so"])
    assert undo_codings(PAGE, ["utf-8"], MOST) == (PAGE, ["unknown content coding"])


@pytest.mark.parametrize("coding", PACKERS)
def test_a_bomb_ends_at_the_limit(coding: str) -> None:
    bomb = PACKERS[coding](b"<p>x</p>" * 10_000_000)
    body, faults = undo_codings(bomb, [coding], MOST)
    assert len(body) == MOST
    assert faults == []
