"""Perplexity per word of WikiText-2, the Penn Treebank and One Billion Words."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement, Options
from webtext_gpt.evaluation.registry import BENCHMARKS
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer

Measure = Callable[..., Measurement]
Reference = Callable[[str, str], float]


@pytest.mark.parametrize("detokenize", [True, False])
def test_perplexity_per_word(
    measure: Measure,
    log_probability: Reference,
    tokenizer: Tokenizer,
    tmp_path: Path,
    detokenize: bool,
) -> None:
    (tmp_path / "wikitext2_test.raw").write_text(" \n = Cats = \n \n The cat , sat . \n")
    text = " \n = Cats = \n \n The cat , sat . \n"
    if detokenize:
        text = "\n= Cats =\n\nThe cat, sat.\n"
    measured = measure("wikitext2", tmp_path, detokenize=detokenize)
    total = log_probability("", text)
    n_tokens = len(tokenizer.encode(text))
    assert measured.counts["words"] == 8  # = Cats = The cat , sat .
    assert measured.counts["lines"] == 4
    assert measured.counts["bytes"] == len(text)
    assert measured.counts["tokens"] == n_tokens
    assert measured.metrics == pytest.approx(
        {
            "perplexity": math.exp(-total / 8),
            "perplexity_with_line_ends": math.exp(-total / 12),
            "token_perplexity": math.exp(-total / n_tokens),
            "bits_per_byte": -total / math.log(2) / len(text),
        },
        rel=1e-4,
    )


def test_rows_of_the_hub_equal_the_text(
    measure: Measure, write_rows: Callable[[Path, list[dict]], None], tmp_path: Path
) -> None:
    lines = " \n = Cats = \n \n The cat , sat . \n"
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "wikitext2_test.raw").write_text(lines)
    rows = ["", " = Cats = \n", "", " The cat , sat . \n"]
    write_rows(tmp_path / "wikitext2_test.jsonl", [{"text": row} for row in rows])
    assert measure("wikitext2", tmp_path) == measure("wikitext2", tmp_path / "text")


def test_limited_text_is_divided_by_its_own_words(
    measure: Measure, log_probability: Reference, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "ptb_test.txt").write_text(" the cat sat on the mat and the dog did n't \n" * 9)
    measured = measure("ptb", tmp_path, limit=1)
    n_tokens = measured.counts["tokens"]
    assert n_tokens == 64  # one window
    text = "the cat sat on the mat and the dog didn't\n" * 9
    scored = tokenizer.decode(tokenizer.encode(text)[:64])
    words = len(scored.replace("didn't", "did n't").split())
    assert measured.counts["words"] == words
    total = log_probability("", scored)
    assert measured.metrics["perplexity"] == pytest.approx(math.exp(-total / words), rel=1e-4)


def test_sentences_of_one_billion_words_are_documents(
    measure: Measure, log_probability: Reference, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "one_billion_words_test.txt").write_text("The cat sat .\nA dog , too .\n")
    measured = measure("one_billion_words", tmp_path)
    total = log_probability("", "The cat sat.") + log_probability("", "A dog, too.")
    n_tokens = len(tokenizer.encode("The cat sat.")) + len(tokenizer.encode("A dog, too."))
    assert measured.counts["tokens"] == n_tokens
    assert measured.metrics == pytest.approx(
        {
            "perplexity": math.exp(-total / 9),
            "token_perplexity": math.exp(-total / n_tokens),
            "bits_per_byte": -total / math.log(2) / 23,
        },
        rel=1e-4,
    )
    limited = measure("one_billion_words", tmp_path, limit=1)
    total = log_probability("", "The cat sat.")
    assert limited.metrics["perplexity"] == pytest.approx(math.exp(-total / 4), rel=1e-4)


def test_sentences_longer_than_the_context_are_scored_whole(
    measure: Measure, model: GPT, tokenizer: Tokenizer, log_probability: Reference, tmp_path: Path
) -> None:
    sentence = "the\u2028cat saw zebras " * 12 + "."  # U+2028 does not end a line here
    (tmp_path / "one_billion_words_test.txt").write_text(f"{sentence}\n" * 3)
    once = measure("one_billion_words", tmp_path, limit=1)
    whole = measure("one_billion_words", tmp_path)
    assert once.examples > 1
    assert whole.counts["lines"] == 3
    assert once.metrics == pytest.approx(whole.metrics)
    # With a stride of 1, each token is predicted from the 64 before it, as in the plain loop.
    step = Scorer(model, tokenizer, stride=1)
    figures = BENCHMARKS["one_billion_words"].run(step, tmp_path, Options(limit=1)).metrics
    total = log_probability("", sentence.replace(" .", "."))
    assert figures["perplexity"] == pytest.approx(math.exp(-total / 49), rel=1e-4)


def test_windows_line_ends_are_accepted(measure: Measure, tmp_path: Path) -> None:
    text = " \n = Cats = \n \n The cat , sat . \n"
    for name, ends in (("unix", "\n"), ("windows", "\r\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "wikitext2_test.raw").write_bytes(text.replace("\n", ends).encode())
    unix = measure("wikitext2", tmp_path / "unix")
    assert measure("wikitext2", tmp_path / "windows") == unix


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b c\n" * 9, "9 of 9 lines do not begin and end"),
        (" \n", "contains no text"),
    ],
)
def test_bad_data_is_refused(measure: Measure, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "wikitext2_test.raw").write_text(text)
    with pytest.raises(UserError, match=message):
        measure("wikitext2", tmp_path)
