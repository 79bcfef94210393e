"""Bits per byte of enwik8 and per character of text8."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement


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
