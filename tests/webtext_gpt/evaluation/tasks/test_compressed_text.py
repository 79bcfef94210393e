"""Bits per byte of enwik8 and per character of text8."""

import gzip
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.tasks.compressed_text import ENWIK8, TEXT8


def test_bits_per_byte_and_per_character(
    measure: Callable[..., Measurement],
    log_probability: Callable[[str, str], float],
    tmp_path: Path,
) -> None:
    text = "é the cat sat on the mat"
    (tmp_path / "enwik8_test.txt").write_text(text)
    bits = -log_probability("", text) / math.log(2)
    figures = measure("enwik8", tmp_path).metrics
    assert figures == pytest.approx({"bits_per_byte": bits / 25}, rel=1e-4)
    (tmp_path / "text8").write_text("x" * 19 * 20 + "the cat saw the dog ")  # the last 1/20
    bits = -log_probability("", "the cat saw the dog ") / math.log(2)
    figures = measure("text8", tmp_path).metrics
    assert figures == pytest.approx({"bits_per_character": bits / 20}, rel=1e-4)


def test_an_empty_file_is_refused(measure: Callable[..., Measurement], tmp_path: Path) -> None:
    (tmp_path / "text8_test.txt").write_text("")
    with pytest.raises(UserError, match="is empty"):
        measure("text8", tmp_path)


@pytest.mark.parametrize("name", ["enwik8", "enwik8.zip", "enwik8.gz", "enwik8/enwik8"])
def test_the_published_file_is_split_at_a_character(tmp_path: Path, name: str) -> None:
    data = ("x" * 373 + "\u20ac" + "\r\n\u00e9t\u00e9 in enwik8 \u20ac").encode()
    data = data[:-2]  # ends inside a character, as a file cut by bytes may
    data = b"y" * (400 - len(data)) + data
    assert len(data) == 400
    cut = data[380:]  # the last twentieth begins inside the first euro sign
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    if name.endswith(".zip"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("enwik8", data)
    else:
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert ENWIK8.test_text(tmp_path) == cut.decode(errors="ignore")
    assert cut[0] & 0xC0 == 0x80
    assert cut[-1] == 0xE2


def test_an_unfinished_download_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text8").write_bytes(b"x" * 2_000_000)
    with pytest.raises(UserError, match=r"text8 is cut short: it has 2,000,000 of 100,000,000"):
        TEXT8.test_text(tmp_path)
    (tmp_path / "text8").rename(tmp_path / "text8_test.txt")
    assert len(TEXT8.test_text(tmp_path)) == 2_000_000


def test_a_test_set_cut_by_bytes_is_read(tmp_path: Path) -> None:
    data = "\u20acuros".encode()
    for part in (data[1:], data[2:], data[2:] + data[:2]):
        (tmp_path / "enwik8_test.txt").write_bytes(part)
        assert ENWIK8.test_text(tmp_path) == "uros"
    for data in (b"one \xff two", b"\x80" * 9):
        (tmp_path / "text8_test.txt").write_bytes(data)
        with pytest.raises(UserError, match=r"text8_test\.txt is not UTF-8 near byte"):
            TEXT8.test_text(tmp_path)
