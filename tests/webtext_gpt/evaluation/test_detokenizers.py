"""Detokenizers produce ordinary running text and lose nothing."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webtext_gpt.evaluation.detokenizers import (
    MARK,
    ONE_BILLION_WORDS,
    PTB,
    WIKITEXT,
    Detokenizer,
)

ALL = {"wikitext": WIKITEXT, "ptb": PTB, "1bw": ONE_BILLION_WORDS}


@pytest.mark.parametrize(
    ("tokenized", "running"),
    [
        (" \n", "\n"),
        (" = = Career = = \n", "== Career ==\n"),
        (' He said , " don \'t ! " \n', 'He said, "don\'t!"\n'),
        (" a guest @-@ starring role \n", "a guest-starring role\n"),
        (" 1 @,@ 234 @.@ 5 km / h \n", "1,234.5 km/h\n"),
        (" ( 1 ) , [ b ] ; c : d ? \n", "(1), [b]; c: d?\n"),
        (" in 2000 \u2013 2005 , $ 3 million or 5 % \n", "in 2000\u20132005, $3 million or 5%\n"),
        (" Mr. Smith of the U.S. left . \n", "Mr. Smith of the U.S. left.\n"),
        (" the ships ' <unk> 's guns \n", "the ships' <unk>'s guns\n"),
        (" L 'Italia and O 'Doherty ... \n", "L'Italia and O'Doherty...\n"),
    ],
)
def test_wikitext(tokenized: str, running: str) -> None:
    assert WIKITEXT.detokenize(tokenized) == running
    assert WIKITEXT.tokenize(running) == tokenized


@pytest.mark.parametrize(
    ("tokenized", "running"),
    [
        ("no it was n't black monday\n", "no it wasn't black monday\n"),
        ("he 's paid $ N million or N % of <unk> 's\n", "he's paid $N million or N% of <unk>'s\n"),
        ("mr. o'brien ca n't\n", "mr. o'brien can't\n"),
    ],
)
def test_ptb(tokenized: str, running: str) -> None:
    assert PTB.detokenize(tokenized) == running
    assert PTB.tokenize(running) == tokenized


def test_one_billion_words() -> None:
    tokenized = "\" We do n't know , \" said Dr. Lee ( 41 ) -- Friday 's well-known 1.5 guest .\n"
    running = "\"We don't know,\" said Dr. Lee (41) -- Friday's well-known 1.5 guest.\n"
    assert ONE_BILLION_WORDS.detokenize(tokenized) == running
    assert ONE_BILLION_WORDS.tokenize(running) == tokenized


@pytest.mark.parametrize(
    "tokenized",
    [
        "no spaces around",
        " ",
        "  \n",
        "\n",
        " a  b \n",
        " pre-war , 4,000 \n",  # tokens that `tokenize` would split
        f" {MARK} {MARK}{MARK}a \n",
        f"{MARK}{MARK} \n",
        " last line without its end ",
        " a\r b \x0b c \n",
    ],
)
@pytest.mark.parametrize("name", ALL)
def test_odd_lines_survive_the_round_trip(name: str, tokenized: str) -> None:
    assert ALL[name].tokenize(ALL[name].detokenize(tokenized)) == tokenized


_TOKENS = [
    "@-@",
    "@,@",
    "@.@",
    "=",
    '"',
    "'",
    "'s",
    "n't",
    ".",
    "...",
    ",",
    "(",
    ")",
    "$",
    "%",
    "/",
    "\u2013",
    "U.S.",
    "Mr.",
    "a-b",
    "1,000",
    "1.5",
    "x",
    "12",
    "",
    MARK,
    "<unk>",
    "don't",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*_TOKENS, "\n"]) | st.text(max_size=4), max_size=12))
@pytest.mark.parametrize("name", ALL)
def test_any_text_survives_the_round_trip(name: str, tokens: list[str]) -> None:
    text = " ".join(tokens)
    detokenizer: Detokenizer = ALL[name]
    assert detokenizer.tokenize(detokenizer.detokenize(text)) == text


@pytest.mark.parametrize("file", ["wikitext2_test.raw", "wikitext2_valid.tokens"])
def test_wikitext2_survives_the_round_trip(realdata: Path, file: str) -> None:
    original = (realdata / "evalsets" / file).read_text(encoding="utf-8")
    running = WIKITEXT.detokenize(original)
    assert WIKITEXT.tokenize(running) == original
    assert running.count(MARK) < 50  # among more than 200,000 words
    assert running.count(" ,") < 100  # among 11,000 commas
