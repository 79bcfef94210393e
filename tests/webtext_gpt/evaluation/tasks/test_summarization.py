"""CNN/Daily Mail summaries."""

from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.summarization import sentences


def test_rouge_of_the_first_three_sentences(
    scorer: Scorer,
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    scripted: Callable[[dict[str, str]], list[str]],
    tmp_path: Path,
) -> None:
    row = {"article": "the cat " * 60, "highlights": "The cat sat .\nThe dog ran ."}
    write_rows(tmp_path / "cnn_dailymail_test.jsonl", [row])
    scorer.block_size = 140
    seen = scripted({"TL;DR:": " The cat sat. The dog ran.\nA bird! And more. And more."})
    # The summary has 8 words, 6 of which are the reference's 6: 2 * 6 / (8 + 6).
    figures = measure("cnn_dailymail", tmp_path).metrics
    assert figures["rouge1"] == pytest.approx(100 * 12 / 14)
    assert figures["rougeL"] == pytest.approx(100 * 12 / 14)
    assert figures["rouge2"] == pytest.approx(100 * 2 * 5 / (7 + 5))
    assert seen[0].startswith("the cat the cat")
    assert len(scorer.tokenizer.encode(seen[0])) <= 40  # leaves room for 100 tokens
    assert sentences("One. Two?  Three!\nFour") == ["One.", "Two?", "Three!", "Four"]


def test_a_context_without_room_for_the_prompt_is_refused(
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    tmp_path: Path,
) -> None:
    write_rows(tmp_path / "cnn_dailymail_test.jsonl", [{"article": "a", "highlights": "b"}])
    with pytest.raises(UserError, match="context of 64"):
        measure("cnn_dailymail", tmp_path)
