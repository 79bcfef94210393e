"""Detokenizers produce ordinary running text and lose nothing."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webtext_gpt.evaluation.detokenizers import (
    CHILDRENS_BOOK,
    MARK,
    ONE_BILLION_WORDS,
    PTB,
    WIKITEXT,
    Detokenizer,
    count_marks,
)

ALL = {
    "wikitext": WIKITEXT,
    "ptb": PTB,
    "1bw": ONE_BILLION_WORDS,
    "cbt": CHILDRENS_BOOK,
}


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
        (" at 22 : 30 , 9 / 11 and 1 \u2044 3 \n", "at 22:30, 9/11 and 1\u20443\n"),
        (" his R & B \u2013 soul \n", "his R&B \u2013 soul\n"),
        (" the Wade \u2013 Giles system \n", "the Wade\u2013Giles system\n"),
        (
            " three children \u2014 two sons \u2014 left \n",
            "three children\u2014two sons\u2014left\n",
        ),
        (" 36 ° N and 5 ½ ° \n", "36°N and 5½°\n"),
        (" a T4.5 , the 1,500th et al. have \n", "a T4.5, the 1,500th et al. have\n"),
        (" <unk> @-@ style , 1 @,@ <unk> : <formula> \n", "<unk>-style, 1,<unk>: <formula>\n"),
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
        ("investors ' clubs and <unk> ' plans\n", "investors' clubs and <unk>' plans\n"),
        ("u.s. 's and smith inc. 's bid\n", "u.s.'s and smith inc.'s bid\n"),
        ("c$ N us$ N # N\n", "c$N us$N £N\n"),
        ("capital cities\\/abc rose N N\\/N\n", "capital cities/abc rose N N/N\n"),
        ("\\* actual at&t procter & gamble\n", "* actual at&t procter & gamble\n"),
        ("i can not say they 'd wan na\n", "i cannot say they'd wanna\n"),
    ],
)
def test_ptb(tokenized: str, running: str) -> None:
    assert PTB.detokenize(tokenized) == running
    assert PTB.tokenize(running) == tokenized


@pytest.mark.parametrize(
    ("tokenized", "running"),
    [
        ('" We don \'t know , " said Dr. Lee ( 41 ) .', '"We don\'t know," said Dr. Lee (41).'),
        ("They 're here -- Friday 's well-known 1.5 guest", None),
        ("He isn 't , she couldn 't've , I 'd and O 'Neill 'll", None),
        ("It 's 9 o 'clock , y 'all .", "It's 9 o'clock, y'all."),
        ("the workers ' rights and the Jones ' car", "the workers' rights and the Jones' car"),
        ("in the ' 80s and the 1990 's or 1990s", "in the '80s and the 1990's or 1990s"),
        ("rock ' n ' roll", "rock 'n' roll"),
        ("US $ 5 million , £ 3 , A $ 2 and 12 % more", "US$5 million, £3, A$2 and 12% more"),
        ("at 3 : 30 p.m. in the U.S. on Nov .", "at 3:30 p.m. in the U.S. on Nov."),
        ("10,000 and / or 5 / 7 at 60 ° C", "10,000 and/or 5/7 at 60°C"),
        ("AT & T , Johnson & Johnson and R & D", "AT&T, Johnson & Johnson and R&D"),
        ("see http : / / www.x.com / en / or a @ b.com", "see http://www.x.com/en/or a@b.com"),
        ("the No. 1 said no . 5 is No .", "the No. 1 said no. 5 is No."),
        ("Lance Inc. has etc. in Mass .", "Lance Inc. has etc. in Mass."),
        ("well ... I think : yes ; person ( s )", "well... I think: yes; person(s)"),
        ("the ' key ' word , he said .", "the 'key' word, he said."),
        ("the # 3 seed got ~ 10 or + 5", "the #3 seed got ~10 or +5"),
        # Sentences that begin or end within a quotation, and pairs within one.
        ('so they could be seen , " explains Lee .', 'so they could be seen," explains Lee.'),
        ('He said : " We need it .', 'He said: "We need it.'),
        ('One wall is enough . "', 'One wall is enough."'),
        ('I know , " he said , " but we will .', 'I know," he said, "but we will.'),
        ('the " reset " button and the " off " one', 'the "reset" button and the "off" one'),
    ],
)
def test_one_billion_words(tokenized: str, running: str | None) -> None:
    if running is None:  # only contractions and genitives
        running = tokenized.replace(" '", "'").replace(" ,", ",")
    assert ONE_BILLION_WORDS.detokenize(tokenized) == running
    assert ONE_BILLION_WORDS.tokenize(running) == tokenized


@pytest.mark.parametrize(
    ("tokenized", "running"),
    [
        ("`` I ca n't , '' said Nora .", '"I can\'t," said Nora.'),
        ("`` Oh !", '"Oh!'),  # the quotation ends in a later sentence
        ("You must wait . ''", 'You must wait."'),
        ("` You , ' he said , ` wo n't . '", "'You,' he said, 'won't.'"),
        ("he : ' I know , ' and she ; ' A man . '", "he: 'I know,' and she; 'A man.'"),
        ("` I 'm here , ' said the fox", "'I'm here,' said the fox"),
        ("the Camerons ' boat and the Giants ' feast", "the Camerons' boat and the Giants' feast"),
        ("`` ` Yes , ' he said , '' they told us", "\"'Yes,' he said,\" they told us"),
        ("a mahout , -- not a hunter -- I say --", "a mahout,--not a hunter--I say--"),
        ("-LRB- 3 -RRB- -LSB- a -RSB- -LCB- p1.jpg -RCB-", "(3) [a] {p1.jpg}"),
        ("I can not stay ; 't was so , 'T is n't", "I cannot stay; 'twas so, 'Tisn't"),
        ("let 'em go at ten o'clock , ma'am", "let 'em go at ten o'clock, ma'am"),
        ("Mrs. Griggs 's cat and I. '' said MR. TOAD", None),
        ("at 4:30 , 1,000 of them ... then", "at 4:30, 1,000 of them... then"),
        ("* * * *", "* * * *"),
    ],
)
def test_childrens_book(tokenized: str, running: str | None) -> None:
    if running is None:
        running = "Mrs. Griggs's cat and I.\" said MR. TOAD"
    assert CHILDRENS_BOOK.detokenize(tokenized) == running
    assert CHILDRENS_BOOK.tokenize(running) == tokenized


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
    "<formula>",
    "don't",
    "``",
    "''",
    "`",
    "-LRB-",
    "-",
    "--",
    "can",
    "not",
    "'t",
    "is",
    "'em",
    "I",
    "N",
    "#",
    "£",
    "c$",
    "\\/",
    "*",
    "&",
    ":",
    "@",
    "°",
    "\u2019",
    "\u2014",
    "_",
    "No",
    "No.",
    "The",
    "\ua78f",  # stands for <unk> while a word is split
    "\u0301",
    "\u00a0",
    "\u2028",
    "\U0001f600",
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
    assert count_marks(running) < 0.1 * len(original.split()) / 1000
    assert running.count(" ,") < 100  # among 11,000 commas


@pytest.mark.parametrize("name", ALL)
def test_marks_are_counted_by_word_and_line(name: str) -> None:
    text = f"no (mark) here\n{MARK}{MARK}b\n"
    marked = ALL[name].detokenize(text)
    assert ALL[name].tokenize(marked) == text
    assert count_marks(marked) == marked.count(f"{MARK}(mark)") + sum(
        line.startswith(MARK) for line in marked.split("\n")
    )


@pytest.mark.parametrize("name", ALL)
def test_a_long_line_takes_linear_time(name: str) -> None:
    tokens = ["a", "/", "b", "-", "(", '"', "'s", "``", "don't", ".", "\u2014"] * 2000
    start = time.process_time()
    ALL[name].detokenize(" ".join(tokens))
    assert time.process_time() - start < 10
