"""Completions of prompts, and prompts cut to a number of tokens."""

from webtext_gpt.evaluation import prompted
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.tokenizer import Tokenizer


def test_partial_characters_are_removed(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("é☃ the cat")  # two bytes and three bytes are five tokens
    assert prompted.cut_beginning(tokenizer, "é☃ the cat", len(ids) - 1) == "☃ the cat"
    assert prompted.cut_end(tokenizer, "the é☃", len(tokenizer.encode("the é☃")) - 1) == "the é"


def test_answers_do_not_depend_on_the_batch(scorer: Scorer) -> None:
    texts = prompted.answers(
        scorer, "x", ["the cat", "a", "the dog saw the"], max_new_tokens=5, batch_size=2
    )
    alone = prompted.answers(scorer, "x", ["a"], max_new_tokens=5, batch_size=2)
    assert texts[1] == alone[0]
    assert all(texts)
