"""Bits per byte of held-out documents, against a loop of one forward pass per token."""

import math
from collections.abc import Callable
from statistics import fmean

import pytest

from webtext_gpt.evaluation.benchmark import Options
from webtext_gpt.evaluation.corpora.heldout import METRIC, benchmark_of
from webtext_gpt.evaluation.corpora.inputs import HeldOutSet
from webtext_gpt.evaluation.scoring import Scorer


def test_bits_per_byte_are_those_of_all_documents_together(
    scorer: Scorer, log_probability: Callable[[str, str], float]
) -> None:
    texts = ["the cat sat", "the dog saw the cat on the mat", "caf\u00e9"]
    measured = benchmark_of(HeldOutSet("news", texts, [""] * 3)).run(scorer, None, Options(limit=1))
    bits = [-log_probability("", text) / math.log(2) for text in texts]
    assert measured.metrics[METRIC] == pytest.approx(sum(bits) / (11 + 30 + 5), rel=1e-5)
    assert fmean(measured.per_example[METRIC]) == pytest.approx(measured.metrics[METRIC])
    rate = sum(bits) / 46  # each document differs from the mean by its bits beyond those expected
    expected = [rate + 3 / 46 * (b - n * rate) for b, n in zip(bits, (11, 30, 5), strict=True)]
    assert measured.per_example[METRIC] == pytest.approx(expected, rel=1e-5)
    assert (measured.examples, measured.counts["bytes"]) == (3, 46)
