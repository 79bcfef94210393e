"""The tokenizers in JavaScript beside those in Python."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.explorer.tokenizer_rules import tokenizer_rules
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary, load_gpt2, train_bpe


def strange_texts(n: int) -> list[str]:
    """Return texts of accents, emoji, odd spaces, controls, contractions and end-of-text."""
    parts = [
        *("the", "The", " cat's", "we'll", "'S", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\x85"),
        *("\u00a0", "\u2003", "\u3000", "\ufeff", "\u200b", "\u180e", "\x00", "\x1f", "\x7f"),
        *(
            "café",
            "cafe\u0301",
            "ß",
            "Ǆ",
            "ﬁ",
            "東京",
            "한글",
            "عربي",
            "हिन्दी",
            "ไทย",
            "½",
            "²",
            "٣",
        ),
        *("😀", "👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "𐐷", "\U0001e900", "\U0010ffff", "\ufffd"),
        *("<|endoftext|>", "<|end", "…", "—", "“", "€", "1,234", "007", "_", "()", "</script>"),
        *(
            "\u0378",
            "\U00033479",
            "\U0001dff0",
            "\ua7cb",
            "\U00010d40",
        ),  # in few versions of Unicode
    ]
    draw = random.Random(0)
    return ["", *("".join(draw.choices(parts, k=draw.randint(1, 9))) for _ in range(n - 1))]


def _encoded(run_modules: Callable[..., Any], tokenizer: Tokenizer, texts: list[str]) -> Any:
    return run_modules(
        """
        const { makeTokenizer } = modules["local/tokenizer.js"];
        const tokenizer = makeTokenizer(JSON.parse(given[0]));
        return JSON.stringify([
          JSON.parse(given[1]).map((text) => tokenizer.encode(text)),
          tokenizer.tokens.map((_, id) => tokenizer.token(id)),
        ]);
        """,
        json.dumps(tokenizer_rules(tokenizer)),
        json.dumps(texts),
    )


def _check_tokenizer(
    run_modules: Callable[..., Any], tokenizer: Tokenizer, texts: list[str]
) -> None:
    ids, tokens = json.loads(_encoded(run_modules, tokenizer, texts))
    for text, found in zip(texts, ids, strict=True):
        assert found == tokenizer.encode(text), ascii(text)
        assert bytes(b for number in found for b in tokens[number]["bytes"]) == text.encode()
    assert [token["id"] for token in tokens] == list(range(tokenizer.vocab_size))
    alone = [[number] for number in range(tokenizer.vocab_size)]
    assert [token["text"] for token in tokens] == tokenizer.decode_batch(alone)
    assert tokens[tokenizer.end_of_text]["bytes"] == []


def test_byte_level_ids_are_those_of_python(run_modules: Callable[..., Any]) -> None:
    texts = strange_texts(400)
    _check_tokenizer(run_modules, train_bpe(texts[:100], 700), texts)


@pytest.mark.slow
def test_gpt2s_ids_are_those_of_python(run_modules: Callable[..., Any], realdata: Path) -> None:
    _check_tokenizer(run_modules, load_gpt2(realdata / "tokenizer"), strange_texts(400))


def test_character_ids_are_those_of_python(run_modules: Callable[..., Any]) -> None:
    texts = strange_texts(400)
    tokenizer = build_char_vocabulary(texts)
    _check_tokenizer(run_modules, tokenizer.with_tokens(["<|start|>"]), texts)


def test_every_character_is_split_as_in_python(run_modules: Callable[..., Any]) -> None:
    """All code points below the last letter, spaces and numbers among letters."""
    points = [chr(c) for c in range(0x34000) if not 0xD800 <= c < 0xE000]
    texts = ["a".join(points[i : i + 2000]) for i in range(0, len(points), 2000)]
    tokenizer = train_bpe(["aé½\x85 \ufeff"], 257)
    rules = json.dumps(tokenizer_rules(tokenizer))
    script = """
      const { makeTokenizer } = modules["local/tokenizer.js"];
      const { pattern } = makeTokenizer(JSON.parse(given[0]));
      return JSON.parse(given[1]).map((text) => text.match(pattern).map((p) => [...p].length));
    """
    found = run_modules(script, rules, json.dumps(texts))
    for text, lengths in zip(texts, found, strict=True):
        pieces = tokenizer._backend.pre_tokenizer.pre_tokenize_str(text)
        assert lengths == [end - start for _, (start, end) in pieces]


@pytest.mark.parametrize(
    ("vocabulary", "text", "message"),
    [
        ("bytes", "😀a\ud83d", "character 2 is half of a surrogate pair and has no UTF-8 bytes"),
        ("bytes", "\ude00", "character 0 is half of a surrogate pair and has no UTF-8 bytes"),
        ("characters", "a\ud83d", "character 1 is half of a surrogate pair and has no UTF-8 bytes"),
        (
            "characters",
            "ab😀",
            "character 2, '😀', is not one of the 2 characters of this vocabulary",
        ),
    ],
)
def test_texts_that_cannot_be_encoded_are_refused_as_in_python(
    run_modules: Callable[..., Any], vocabulary: str, text: str, message: str
) -> None:
    tokenizer = train_bpe(["ab"], 257) if vocabulary == "bytes" else build_char_vocabulary(["ab"])
    with pytest.raises(ValueError, match=message):
        tokenizer.encode(text)
    with pytest.raises(AssertionError, match=message):
        _encoded(run_modules, tokenizer, [text])
