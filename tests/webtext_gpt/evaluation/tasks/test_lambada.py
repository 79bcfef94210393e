"""LAMBADA on a few passages."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.scoring import Score, Scorer
from webtext_gpt.evaluation.tasks.lambada import STOP_WORDS, stop_word_tokens
from webtext_gpt.tokenizer import Tokenizer


def test_perplexities_of_the_last_word_and_token(
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    log_probability: Callable[[str, str], float],
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    passages = ["the cat saw the dog", "and the dog sat on the mat", "a cat, a dog and zebras\n"]
    write_rows(tmp_path / "lambada_test.jsonl", [{"text": text} for text in passages])
    words, tokens = [], []
    for text in passages:
        context, _, word = text.rstrip().rpartition(" ")
        words.append(log_probability(context, " " + word))
        ids = tokenizer.encode(text.rstrip())
        tokens.append(log_probability(tokenizer.decode(ids[:-1]), tokenizer.decode(ids[-1:])))
    figures = measure("lambada", tmp_path).metrics
    assert figures["perplexity"] == pytest.approx(math.exp(-sum(words) / 3), rel=1e-4)
    assert figures["last_token_perplexity"] == pytest.approx(math.exp(-sum(tokens) / 3), rel=1e-4)
    assert measure("lambada", tmp_path, limit=2).examples == 2


def test_accuracies_with_and_without_the_filter(
    scorer: Scorer,
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One word of one token, predicted with the filter only; one of two, its last token right."""
    write_rows(tmp_path / "lambada_test.jsonl", [{"text": t} for t in ("a the cat", "the zcat")])
    cat, the = tokenizer.encode(" cat")[0], tokenizer.encode(" the")[0]
    word = tokenizer.encode(" zcat")
    zeros = torch.zeros(len(word), dtype=torch.float64)
    wrong_start = torch.tensor([the, *word[1:]])
    scores = [
        Score(zeros[:1], torch.tensor([the]), torch.tensor([cat])),
        Score(zeros, wrong_start, wrong_start),
    ]
    monkeypatch.setattr(scorer, "score", lambda windows, banned, progress: scores)
    assert measure("lambada", tmp_path).metrics == {
        "perplexity": 1,
        "accuracy": 0,
        "accuracy_stop_words": 50,
        "last_token_perplexity": 1,
        "last_token_accuracy": 50,
        "last_token_accuracy_stop_words": 100,
    }


def test_stop_words_are_function_words(tokenizer: Tokenizer) -> None:
    banned = stop_word_tokens(tokenizer)
    assert {tokenizer.decode([i]) for i in banned.nonzero()[:, 0].tolist()} >= {" the", " and"}
    assert not banned[tokenizer.encode(" cat")[0]]
    assert not banned[tokenizer.encode("a")[0]]  # without a space, it is inside a word
    assert {"the", "was", "him", "would"} < STOP_WORDS
    assert STOP_WORDS.isdisjoint({"man", "door", "time", "said"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ('{"text": "one"}\n', "line 1: the passage has no last word"),
        ('{"txt": "a b"}\n', "line 1 has no key 'text'"),
        ('{"text": "a b"}\n{"text": 5}\n', "^[^:]* line 2: 'text' is int, not text"),
    ],
)
def test_bad_data_is_refused(
    measure: Callable[..., Measurement], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "lambada_test.jsonl").write_text(text)
    with pytest.raises(UserError, match=message):
        measure("lambada", tmp_path)


ORIGINAL = """\ufefftom said , `` the cat did n't sit . '' `` yes , '' said the cat\r
  he saw that ann 's dog was on the mat \r
\r
"""


def test_the_original_release_is_detokenized_and_said(
    measure: Callable[..., Measurement],
    log_probability: Callable[[str, str], float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "lambada_test_plain_text.txt").write_text(ORIGINAL, newline="")
    (tmp_path / "lambada_control_test_data_plain_text.txt").write_text("another one\n")
    running = [
        ('tom said, "the cat didn\'t sit." "yes," said the', " cat"),
        ("he saw that ann's dog was on the", " mat"),
    ]
    tokens = [
        ("tom said , `` the cat did n't sit . '' `` yes , '' said the", " cat"),
        ("he saw that ann 's dog was on the", " mat"),
    ]
    for detokenize, passages in ((True, running), (False, tokens)):
        measured = measure("lambada", tmp_path, detokenize=detokenize)
        words = [log_probability(*passage) for passage in passages]
        assert measured.metrics["perplexity"] == pytest.approx(math.exp(-sum(words) / 2), rel=1e-4)
        assert measured.counts == {"original_release": 2}
        assert "lambada: the original release, tokenized and in lower" in capsys.readouterr().err
    (tmp_path / "lambada_test.jsonl").write_text('{"text": "the cat sat"}\n')
    measured = measure("lambada", tmp_path)  # OpenAI's version is preferred
    assert (measured.examples, measured.counts) == (1, {})
    assert "original" not in capsys.readouterr().err
