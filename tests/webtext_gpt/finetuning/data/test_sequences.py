"""Token sequences for fine-tuning: special tokens, truncation, and where learning starts."""

import numpy as np
import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.data.sequences import encode_completions, encode_texts
from webtext_gpt.model import ClassifierConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary

LETTERS = "abcdefgh|"
"""Characters 0 to 8 in code point order; end-of-text is 9."""
END, DELIMITER, EXTRACT = 9, 10, 11


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_char_vocabulary([LETTERS]).with_tokens(["<|delimiter|>", "<|extract|>"])


def _config(**options: object) -> ClassifierConfig:
    given = {"start_token_id": END, "delimiter_token_id": DELIMITER, "extract_token_id": EXTRACT}
    return ClassifierConfig(labels=("no", "yes"), pad_token_id=END, **{**given, **options})


def _lists(tokens: list[np.ndarray]) -> list:
    return [sequence.tolist() for sequence in tokens]


def test_new_tokens_take_the_next_ids_and_no_text_encodes_to_them(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 12
    assert (tokenizer.end_of_text, tokenizer.token_id("<|extract|>")) == (END, EXTRACT)
    assert tokenizer.with_tokens(["<|extract|>"]).to_json() == tokenizer.to_json()
    bytes_ = build_char_vocabulary(["<|extract|>"]).with_tokens(["<|extract|>"])
    assert len(bytes_.encode("<|extract|>")) == len("<|extract|>")


def test_a_text_is_put_between_start_and_extract(tokenizer: Tokenizer) -> None:
    encoded = encode_texts(tokenizer, _config(), 8, ["abc", ""])
    assert _lists(encoded.tokens) == [[END, 0, 1, 2, EXTRACT], [END, EXTRACT]]
    assert encoded.lengths.tolist() == [5, 2]
    assert encoded.starts.tolist() == [1, 1]
    assert encoded.truncated == 0
    bare = encode_texts(tokenizer, _config(start_token_id=None, extract_token_id=None), 8, ["ab"])
    assert _lists(bare.tokens) == [[0, 1]]


def test_pairs_have_a_delimiter_and_can_be_in_both_orders(tokenizer: Tokenizer) -> None:
    encoded = encode_texts(tokenizer, _config(), 8, ["ab"], ["c"])
    assert _lists(encoded.tokens) == [[END, 0, 1, DELIMITER, 2, EXTRACT]]
    both = encode_texts(tokenizer, _config(both_orders=True), 8, ["ab"], ["c"])
    assert _lists(both.tokens) == [
        [[END, 0, 1, DELIMITER, 2, EXTRACT], [END, 2, DELIMITER, 0, 1, EXTRACT]]
    ]
    assert both.lengths.tolist() == [6]


def test_a_long_text_loses_its_end(tokenizer: Tokenizer) -> None:
    encoded = encode_texts(tokenizer, _config(), 5, ["abcd", "abc"])
    assert _lists(encoded.tokens) == [[END, 0, 1, 2, EXTRACT]] * 2
    assert encoded.truncated == 1


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("abcdefgh", "ab", ("abcdef", "ab")),  # 8 of the 11 tokens are for text
        ("ab", "abcdefgh", ("ab", "abcdef")),
        ("abcdefgh", "hgfedcba", ("abcd", "hgfe")),
        ("abcdefgh", "hgfed", ("abcd", "hgfe")),
        ("abcd", "efgh", ("abcd", "efgh")),
    ],
)
def test_the_longer_text_of_a_pair_is_cut_first(
    tokenizer: Tokenizer, first: str, second: str, kept: tuple[str, str]
) -> None:
    (tokens,) = encode_texts(tokenizer, _config(), 11, [first], [second]).tokens
    assert tokenizer.decode(tokens[1:-1]) == f"{kept[0]}<|delimiter|>{kept[1]}"


def test_a_context_without_room_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="a context of 2 tokens has no room"):
        encode_texts(tokenizer, _config(), 2, ["a"])


def test_only_the_completion_is_learned(tokenizer: Tokenizer) -> None:
    encoded = encode_completions(tokenizer, 16, ["abc", ""], ["de", "f"], between="|")
    assert _lists(encoded.tokens) == [[0, 1, 2, 8, 3, 4, END], [8, 5, END]]
    assert encoded.starts.tolist() == [4, 1]
    nothing = encode_completions(tokenizer, 16, [""], ["f"], between="")
    assert _lists(nothing.tokens) == [[END, 5, END]]  # a first token needs one before it
    assert nothing.starts.tolist() == [1]


def test_long_prompts_lose_their_end_before_the_separator(tokenizer: Tokenizer) -> None:
    encoded = encode_completions(tokenizer, 8, ["abcdefgh"], ["ab"], between="|")
    assert tokenizer.decode(encoded.tokens[0]) == "abcd|ab<|endoftext|>"
    assert (encoded.starts.tolist(), encoded.truncated) == ([5], 1)
    both = encode_completions(tokenizer, 8, ["abcdefgh"], ["abcdefgh"], between="|")
    assert tokenizer.decode(both.tokens[0]) == "ab|abcd<|endoftext|>"  # half the context each
    short = encode_completions(tokenizer, 8, ["a"], ["abcdefgh"], between="|")
    assert tokenizer.decode(short.tokens[0]) == "a|abcde<|endoftext|>"
