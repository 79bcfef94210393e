"""Each kind of setting: values it reads, and messages about those it refuses."""

import math
from typing import Any

import pytest

from webtext_gpt.settings.kinds import (
    Count,
    Kind,
    Number,
    OneOf,
    PathText,
    Switch,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import (
    Either,
    Listed,
    Named,
    split_items,
)

STEPS = Whole(1, 100_000, unit="steps")
RATE = Number(0, below=1)
WORDS = OneOf(("auto", "fp32", "bf16"), instead={"half": "fp16 is not offered"})


@pytest.mark.parametrize("value", [True, 1, "true", "yes", "on", "1", "True", "YES", " on "])
def test_true(value: object) -> None:
    assert Switch().read(value) is True


@pytest.mark.parametrize("value", [False, 0, "false", "no", "off", "0", "False", "NO", " off "])
def test_false(value: object) -> None:
    assert Switch().read(value) is False


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        *((STEPS, value, 1000) for value in (1000, 1e3, "1000", "1_000", "1e3", " 1000 ", "+1000")),
        (Whole(), "-3", -3),
        (Whole(), str(2**63 + 1), 2**63 + 1),
        *((Count(1), value, 1_500_000) for value in ("1.5M", "1.5m", "1500k", "1_500_000", 1.5e6)),
        (Count(1), "2G", 2_000_000_000),
        (Whole(1, null="all"), "null", None),
        (Whole(1, null="all"), None, None),
        (Whole(1, null="all"), "None", None),
        *((RATE, value, 0.5) for value in (0.5, "0.5", ".5", "5e-1", " 0.5")),
        (Number(), 3, 3.0),
        (WORDS, "bf16", "bf16"),
        (OneOf(("true", "warn")), True, "true"),
        (OneOf(("a", "b"), unlisted=("c",)), "c", "c"),
        (Text(empty=True), "", ""),
        *((Text(), text, text) for text in ("null", " a ", "[a,b]", '"a"', "~", "1e3", "a\nb")),
        (Text(), 5, "5"),
        (Text(null="none"), "null", None),
        (Text(null="none"), "none", "none"),
        (Text(null="none"), "~", "~"),
        (PathText(), "\udcff", "\udcff"),  # bytes that are not UTF-8 can name a file
        (Listed(Text()), "a,b", ["a,b"]),
        (Listed(Text()), "[a,b]", ["a", "b"]),
        (Listed(Text()), r"""[ a b ,"c,d",'e]', "f\"g" , it's]""",
         ["a b", "c,d", "e]", 'f"g', "it's"]),
        (Listed(Text()), '[" a ",[b,c],{d: e,f}]', [" a ", "[b,c]", "{d: e,f}"]),
        (Listed(Text()), ["a,b", 5], ["a,b", "5"]),
        (Listed(Text(), empty=True), "[]", []),
        (Listed(Text(), null="none"), "~", ["~"]),
        (Listed(Text(), null="none"), "null", None),
        (Listed(Whole(0)), "1,2", [1, 2]),
        (Listed(Whole(0)), "[1, 1e2]", [1, 100]),
        (Listed(Whole(0)), 7, [7]),
        (Listed(Whole(0), null="none"), "~", None),
        (Listed(Number(), length=2), "[0.9,0.95]", [0.9, 0.95]),
        (Named(Number()), "{a: 1, 'b c': 2}", {"a": 1.0, "b c": 2.0}),
        (Named(Text(null="none"), names=("train",)), {"train": None}, {"train": None}),
        (Named(Listed(Text())), {"a": ["x"], "b": "y"}, {"a": ["x"], "b": ["y"]}),
        (Named(Text()), """{"a": "b,c", d: 'e: "f"'}""", {"a": "b,c", "d": 'e: "f"'}),
        (Named(Text()), "{}", {}),
        (Either((OneOf(("all",)), Whole(0))), "all", "all"),
        (Either((OneOf(("all",)), Whole(0))), "3", 3),
        (Either((Whole(1), Listed(Whole(0), bare=False))), "[0]", [0]),
    ],
)  # fmt: skip
def test_values_that_are_read(kind: Kind, value: object, read: Any) -> None:
    found = kind.read(value)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        *((Switch(), v, "expected true or false") for v in ("2", "y", "", "null", None, 0.0, [1])),
        *((STEPS, v, "expected a whole number of steps, 1 to 100,000") for v in ("0", "1.5", "-1")),
        *((STEPS, v, "expected a whole number") for v in ("ten", "", "1e-3x", "nan", "inf")),
        (STEPS, "1e999", "expected a whole number"),
        *((STEPS, v, "expected a whole number") for v in (True, None, [1], {}, math.nan, "null")),
        (Whole(1, null="all"), "0", "expected a whole number, 1 or above, or null (all)"),
        (STEPS, "2**16", "; give the result, 65536"),
        (STEPS, "2^10", "; give the result, 1024"),
        (STEPS, "8 * 1024", "; give the result, 8192"),
        (STEPS, "8x1024", "; give the result, 8192"),
        (STEPS, "100,000", "; give 100_000"),
        (RATE, "1/4", "; give the result, 0.25"),
        (RATE, "10%", "; give the fraction, 0.1"),
        *((RATE, v, "a number, 0 or above and below 1") for v in ("1", "-0.1", "nan", "inf")),
        *((RATE, v, "expected a number") for v in ("1e-3x", "", True, None, [0.5], 10**400)),
        (Number(above=0, most=1), "0", "expected a number, above 0 and 1 or below"),
        (WORDS, "half", "expected auto, fp32 or bf16; fp16 is not offered"),
        (WORDS, "fp23", "expected auto, fp32 or bf16; did you mean fp32?"),
        (WORDS, "FP32", "expected auto, fp32 or bf16"),
        (OneOf(("a", "b"), unlisted=("core",)), "cor", "expected a or b; did you mean core?"),
        (WORDS, ["auto"], "expected auto, fp32 or bf16"),
        (WORDS, None, "expected auto, fp32 or bf16"),
        (Text("a name"), "", "expected a name; it is empty"),
        (Text("a name"), True, "expected a name; in YAML, put it in quotes"),
        (Text("a name"), ["a"], "expected a name"),
        (Text("a name"), None, "expected a name"),
        (Text("a name"), "a\udcff", "expected a name; it is not valid UTF-8"),
        (Text("cpu or cuda:N", pattern=r"cpu|cuda:\d"), "cuda:x", "expected cpu or cuda:N"),
        (PathText(), "", "expected a path; it is empty"),
        (PathText(), "a\0b", "expected a path; it holds a NUL character"),
        (Listed(PathText()), "", "expected a path or a list of them, [a,b]; it is empty"),
        (Listed(PathText()), "[a,]", "expected a path or a list of them, [a,b]; it is empty"),
        (Listed(Text()), "[]", "expected a list [a,b] of values, each text; give at least one"),
        (Listed(Text()), "['a]", "a quote is not closed; an item that holds one is put in quotes"),
        (Listed(Text()), "[a[]", "bracket is not closed; an item that holds one is put in quotes"),
        (Listed(Whole(0)), "[1", "a bracket is not closed"),
        (Listed(Whole(0)), "[1,x]", "each a whole number, 0 or above"),
        (Listed(Whole(0)), "[2**3]", "; give the result, 8"),
        (Listed(WORDS), "[fp23]", "; did you mean fp32?"),
        (Listed(Number(), length=2), "0.9", "expected a list [a,b] of 2 values, each a number"),
        (Listed(Whole(0), bare=False), "1", "expected a list"),
        (Listed(Whole(0), bare=False), 1, "expected a list"),
        (Named(Whole()), "a", "expected values by name, KEY.NAME=..., each a whole number"),
        (Named(Whole()), "{a}", "expected values by name"),
        (Named(Whole()), "{a: '1}", "a quote is not closed"),
        (Named(Whole()), {"a": "x"}, "a=x: expected a whole number"),
        (Named(Text(), names=("train", "test")), {"dev": "x"}, "KEY.train|test=..."),
        (Either((OneOf(("all",)), Whole(0))), "al", "expected all, or a whole number, 0 or above"),
    ],
)  # fmt: skip
def test_values_that_are_refused(kind: Kind, value: object, words: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the words follow
        kind.read(value)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_path_that_exists_is_one_item(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("[a,b]", "a,b", "'c'"):
        (tmp_path / name).touch()
        assert Listed(PathText()).read(name) == [name]
    assert Listed(PathText()).read("[a,c]") == ["a", "c"]
    assert Listed(PathText()).read("x" * 5000) == ["x" * 5000]  # too long for a file's name


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("a", ["a"]),
        ("a,,b", ["a", "", "b"]),
        (r'"\n"', [r"\n"]),
        (r'"\\n"', [r"\\n"]),
        (r'"a\\"', ["a\\"]),
        (r'"\\\"",b', ['\\"', "b"]),
        (r"a\,b", ["a\\", "b"]),
        ('"it\'s",\'say "so"\'', ["it's", 'say "so"']),
    ],
)
def test_items_of_a_list(text: str, items: list[str]) -> None:
    assert split_items(text) == items
