"""Winograd schemas."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.tasks.winograd import N_SCHEMAS, read_collection, substitute

ROW = {
    "text": "Mark told Pete about his trip. He should have gone.",
    "pronoun": "He",
    "pronoun_loc": 31,
    "options": ["Mark", "Pete"],
    "label": 1,
}


def test_partial_and_full_scoring(
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    log_probability: Callable[[str, str], float],
    tmp_path: Path,
) -> None:
    begin = "Mark told Pete about his trip. "
    parts = [log_probability(begin + name, " should have gone.") for name in ("Mark", "Pete")]
    wholes = [log_probability("", f"{begin}{name} should have gone.") for name in ("Mark", "Pete")]
    rows = [{**ROW, "label": label} for label in (0, 1, 1)]
    write_rows(tmp_path / "winograd_test.jsonl", rows)
    shares = [100 / 3, 200 / 3]
    assert measure("winograd", tmp_path).metrics == pytest.approx(
        {
            "accuracy": shares[parts[1] > parts[0]],
            "accuracy_full": shares[wholes[1] > wholes[0]],
        }
    )


def test_candidates_replace_the_pronoun() -> None:
    row = {
        "text": "The city refused because they feared it.",
        "pronoun": "they",
        "pronoun_loc": 25,
        "options": ["The city", "Al Gore"],
    }
    assert substitute("x", row) == [
        ("The city refused because the city", " feared it."),
        ("The city refused because Al Gore", " feared it."),
    ]
    begins = {**row, "text": "It sat. They left.", "pronoun": "They", "pronoun_loc": 8}
    assert substitute("x", begins)[0] == ("It sat. The city", " left.")
    own = {**row, "text": "Ann took her bag.", "pronoun": "her", "pronoun_loc": 9}
    assert substitute("x", own)[1] == ("Ann took Al Gore's", " bag.")
    with pytest.raises(UserError, match="'they' is not at character 3"):
        substitute("x", {**row, "pronoun_loc": 3})
    with pytest.raises(UserError, match="pronoun_loc=3.5"):
        substitute("x", {**row, "pronoun_loc": 3.5})
    spaced = {**row, "text": "The city refused because of they ."}  # as on the hub
    assert substitute("x", {**spaced, "pronoun_loc": 28})[0][1] == "."


def schema(before: str, pronoun: str, after: str, answer: str = " A. ") -> str:
    return (
        f"<schema>\n<text>\n<txt1>{before}</txt1>\n<pron>{pronoun}</pron>\n<txt2>{after}</txt2>"
        "</text><quote><pron> it </pron></quote>\n<answers>\n<answer> The big\ncup </answer>\n"
        "<answer>Fran\xe7ois  </answer></answers>"
        f"<correctAnswer>{answer}</correctAnswer></schema>\n"
    )


def write_collection(folder: Path, *schemas: str) -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?>\n<collection>\n' + "".join(schemas)
    (folder / "WSCollection.xml").write_text(f"{text}</collection>\n", encoding="latin-1")


def test_the_authors_collection(tmp_path: Path) -> None:
    write_collection(
        tmp_path,
        schema("\r\nIt fell, so\r\nthey kept\n", " it ", "\n small.\r\n"),
        schema(" We saw", " them", ".", "B"),
        schema("\n", " It ", " is &quot;it&quot;.", " B.  "),
        schema("The man took ", " her  ", "hand"),
    )
    rows = list(read_collection([tmp_path / "WSCollection.xml"]))
    assert [row["text"] for _, row in rows] == [
        "It fell, so they kept it small.",
        "We saw them.",
        'It is "it".',
        "The man took her hand",
    ]
    assert [row["label"] for _, row in rows] == [0, 1, 1, 0]
    assert all(row["options"] == ["The big cup", "Fran\xe7ois"] for _, row in rows)
    assert [substitute(*row) for row in rows] == [
        [
            ("It fell, so they kept the big cup", " small."),
            ("It fell, so they kept Fran\xe7ois", " small."),
        ],
        [("We saw the big cup", "."), ("We saw Fran\xe7ois", ".")],
        [("The big cup", ' is "it".'), ("Fran\xe7ois", ' is "it".')],
        [("The man took the big cup's", " hand"), ("The man took Fran\xe7ois's", " hand")],
    ]


def test_the_first_273_schemas_are_read(tmp_path: Path) -> None:
    write_collection(tmp_path, *(schema(f"Text {n}.", " It ", " is.") for n in range(285)))
    rows = list(read_collection([tmp_path / "WSCollection.xml"]))
    assert len(rows) == N_SCHEMAS == 273
    assert rows[-1][1]["text"] == "Text 272. It is."


GOOD = schema("It fell on", " it ", " today.")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GOOD.replace("pron>", "pro>", 2), "schema 2 has no element text/pron"),
        (GOOD.replace(" it ", "", 1), "schema 2 has no pronoun"),
        (GOOD.replace("A.", "C"), "the correct one 'C'; expected two answers, and A or B"),
        (GOOD.replace("The big\ncup", ""), r"schema 2 has the answers \['', 'Fran"),
        (GOOD.replace("</schema>", ""), "is not complete XML: mismatched tag: line"),
    ],
)
def test_a_bad_schema_is_named(
    measure: Callable[..., Measurement], tmp_path: Path, bad: str, message: str
) -> None:
    write_collection(tmp_path, GOOD, bad, GOOD)
    with pytest.raises(UserError, match=rf"WSCollection\.xml.*{message}"):
        measure("winograd", tmp_path)


@pytest.mark.parametrize("label", [2, -1, "0", None, True])
def test_a_label_that_is_no_index_is_refused(
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    tmp_path: Path,
    label: object,
) -> None:
    write_rows(tmp_path / "winograd_test.jsonl", [ROW, {**ROW, "label": label}, ROW])
    with pytest.raises(UserError, match=re.escape(f"line 2: label {label!r} is not the index")):
        measure("winograd", tmp_path)


def test_a_collection_saved_on_another_system(tmp_path: Path) -> None:
    write_collection(tmp_path, GOOD)
    file = tmp_path / "WSCollection.xml"
    data = file.read_bytes().replace(b"\n", b"\r\n")
    for changed in (
        data,
        b"\xef\xbb\xbf" + data.decode("latin-1").replace("ISO-8859-1", "UTF-8").encode(),
        b"\xef\xbb\xbf" + data.decode("latin-1").encode(),
    ):
        file.write_bytes(changed)
        [(_, row)] = read_collection([file])
        assert row["text"] == "It fell on it today."
        assert row["options"] == ["The big cup", "Fran\xe7ois"]
