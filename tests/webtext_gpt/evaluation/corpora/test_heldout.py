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
    ratio = measured.per_example[METRIC][1] / measured.per_example[METRIC][0]
    assert ratio == pytest.approx(bits[1] / bits[0], rel=1e-5)
    assert (measured.examples, measured.counts["bytes"]) == (3, 46)
