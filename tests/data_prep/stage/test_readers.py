"""Documents in text, JSONL and Parquet files: none is added or lost, and each has its name."""

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.stage.limit import take
from data_prep.stage.readers import Layout, batches
from webtext_gpt.data import lines as reader
from webtext_gpt.errors import UserError

LINES = Layout(lines=True)


def read(path: Path, layout: Layout = LINES) -> list[tuple[str, str]]:
    return [
        pair
        for batch in batches(path, layout)
        for pair in zip(batch.names.to_pylist(), batch.texts.to_pylist(), strict=True)
    ]


def rejected(path: Path, layout: Layout = LINES) -> Counter[str]:
    return sum((batch.rejected for batch in batches(path, layout)), Counter[str]())


def test_an_empty_file_of_any_kind_holds_no_document(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.txt"):
        (tmp_path / name).write_bytes(b"")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "c.parquet")
    for name in ("a.jsonl", "b.txt", "c.parquet"):
        assert read(tmp_path / name, Layout()) == []


def test_a_long_line_is_one_document(tmp_path: Path) -> None:
    long = "word " * (reader.MAX_ROW_BYTES // 5 + 1) + "end"  # longer than a row of a dump may be
    assert len(long) > reader.MAX_ROW_BYTES
    for name, line in (("a.txt", long), ("b.jsonl", json.dumps({"text": long}))):
        (tmp_path / name).write_text(f"{line}\n{line}\n" if name == "b.jsonl" else f"one\n{line}")
    assert read(tmp_path / "a.txt") == [("a.txt:1", "one"), ("a.txt:2", long)]
    assert read(tmp_path / "b.jsonl") == [("b.jsonl:1", long), ("b.jsonl:2", long)]


@pytest.mark.parametrize("end", ["", "\n", "\nlast\n"])
def test_a_line_over_the_limit_is_refused_by_file_and_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(reader, "LONGEST_LINE", 2_500_000)
    for name in ("a.txt", "b.jsonl"):
        (tmp_path / name).write_text('{"text": "one"}\n\n' + "x" * 4_000_000 + end)
        with pytest.raises(UserError, match=rf"{name}: line 3 has more than 2,500,000 bytes"):
            read(tmp_path / name)
    (tmp_path / "zero.txt").write_bytes(b"\0\n")  # unusual, but a document
    assert read(tmp_path / "zero.txt") == [("zero.txt:1", "\0")]


def test_lines_of_any_length_equal_those_of_split(tmp_path: Path) -> None:
    """Lines of zero bytes up to several blocks; a line over the limit is None."""
    rng = random.Random(0)
    path = tmp_path / "lines"
    for _ in range(4):
        lines = [b"%d" % n + b"y" * rng.choice([0, 9, 70_000, 900_000, 3_000_000, 3_200_000])
                 for n in range(12)] + [b""] * rng.randrange(2)  # fmt: skip
        rng.shuffle(lines)
        path.write_bytes(b"\n".join(lines))
        found = [line for part in reader.every_line(path, lambda _: None, 1 << 30) for line in part]
        assert found == lines
        found = [line for part in reader.every_line(path, lambda _: None, 3_100_000)
                 for line in part]  # fmt: skip
        assert found == [line if len(line) <= 3_100_000 else None for line in lines]


def test_rows_are_named_by_id_or_by_their_number_in_the_file(tmp_path: Path) -> None:
    rows = ['{"text": "a"}', "", "{broken", '{"text": null}', '{"text": "e", "id": 7}', "[1]",
            '{"text": "g"}']  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    assert read(tmp_path / "rows.jsonl") == [
        ("rows.jsonl:1", "a"),
        ("7", "e"),
        ("rows.jsonl:7", "g"),
    ]
    assert rejected(tmp_path / "rows.jsonl") == {"malformed row": 2, "no text": 1}
    (tmp_path / "lines.txt").write_text("a\n\n \nd\n")
    assert read(tmp_path / "lines.txt") == [("lines.txt:1", "a"), ("lines.txt:4", "d")]
    pq.write_table(pa.table({"text": ["a", None, "c"]}), tmp_path / "rows.parquet")
    assert read(tmp_path / "rows.parquet") == [("rows.parquet:1", "a"), ("rows.parquet:3", "c")]
    (tmp_path / "latin.txt").write_bytes(b"a\n\nb\xff\nd\n")
    assert read(tmp_path / "latin.txt") == [("latin.txt:1", "a"), ("latin.txt:4", "d")]
    assert rejected(tmp_path / "latin.txt") == {"malformed row": 1}
    (tmp_path / "latin.txt").write_bytes(b"\n\xff\n")
    with pytest.raises(UserError, match="none of the first 1 rows is UTF-8: line 2 .*0xff; conv"):
        read(tmp_path / "latin.txt")


def test_texts_may_exceed_2_gib(tmp_path: Path) -> None:
    """Arrow's `string` is limited to 2 GiB, so texts must be `large_string`."""
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "a.jsonl").write_text('{"text": "text"}')
    for name, layout in (("a.txt", Layout()), ("a.txt", LINES), ("a.jsonl", Layout())):
        (batch,) = batches(tmp_path / name, layout)
        assert batch.texts.type == pa.large_string()


def test_a_trial_writes_no_file_without_rows(tmp_path: Path) -> None:
    """Files without rows would be equal, and the next stage refuses equal inputs."""
    for number in range(4):
        pq.write_table(
            pa.table({"id": [f"{number}"], "text": ["t"]}), tmp_path / f"{number}.parquet"
        )
    take([str(tmp_path / "*.parquet")], tmp_path / "out", 1, Layout())
    (file,) = (tmp_path / "out").glob("*.parquet")
    assert pq.read_table(file).num_rows == 1
