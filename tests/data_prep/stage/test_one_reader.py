"""Training (`data=files`) and data_prep read the same documents from the same files.

What is right is computed here by Python's `json`, by pandas, or by hand.
"""

import bz2
import gzip
import json
import lzma
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
import zstandard

from data_prep.dedup import deduplicate
from data_prep.links import build_links, rules_of
from data_prep.stage.inputs import expand
from data_prep.stage.limit import take
from data_prep.stage.readers import SUFFIXES, Layout, batches
from webtext_gpt.data.sources import Files
from webtext_gpt.errors import UserError

from ..conftest import manifest_of

Found = tuple[Counter[str], Counter[str]]
"""Texts, and rejected rows by reason."""


def by_training(path: Path) -> Found:
    source = Files(str(path), val_fraction=0.1)
    texts = Counter(source.documents())
    return texts, Counter(source.left_out.get("rejected", {}))


def by_data_prep(path: Path, columns: tuple[str, ...] | None = None) -> Found:
    texts, rejected = Counter[str](), Counter[str]()
    for file in expand([str(path)], SUFFIXES):
        for batch in batches(file, Layout(), columns=columns):
            texts.update(batch.texts.to_pylist())
            rejected += batch.rejected
            assert len(batch.ids) == len(batch.names) == batch.rows.num_rows == len(batch.texts)
            assert not batch.ids.null_count
            assert not batch.names.null_count
    return texts, rejected


def by_json(data: bytes) -> Found:
    """Read JSONL by Python's `json`, a line at a time."""
    texts, rejected = Counter[str](), Counter[str]()
    for line in data.split(b"\n"):
        try:
            decoded = line.decode().removeprefix("\ufeff")
            if not decoded.strip():
                continue
            row = json.loads(decoded, parse_int=float)
            assert isinstance(row, dict)
            text = row.get("text")
            if isinstance(text, str):
                text.encode()
        except (ValueError, AssertionError, RecursionError):
            rejected["malformed row"] += 1
            continue
        if isinstance(text, str) and text.strip():
            texts[text] += 1
        else:
            rejected["no text"] += 1
    return texts, rejected


def check(path: Path, expected: Found) -> None:
    assert by_training(path) == expected
    assert by_data_prep(path) == expected
    assert by_data_prep(path, ("url",)) == expected


LINES = {
    "plain": b'{"text": "x"}',
    "crlf": b'{"text": "one\\r\\ntwo"}\r',
    "other ends of lines": '{"text": "a\u2028b\u2029c\u0085d"}'.encode(),
    "form feed": b'{"text": "a\\fb"}',
    "byte order mark": b'\xef\xbb\xbf{"text": "bom"}',
    "bad byte in the text": b'{"text": "caf\xe9"}',
    "bad byte elsewhere": b'{"text": "x", "title": "caf\xe9"}',
    "a coded surrogate": b'{"text": "\xed\xa0\xbd"}',
    "nan": b'{"text": "nan", "score": NaN, "low": -Infinity}',
    "out of range": b'{"text": "e", "score": 1e999}',
    "huge integer": b'{"text": "huge", "n": ' + b"9" * 5000 + b"}",
    "huge integer as text": b'{"text": ' + b"9" * 5000 + b"}",
    "huge id": b'{"text": "id", "id": ' + b"9" * 5000 + b"}",
    "surrogate elsewhere": b'{"text": "x", "title": "cut \\ud83d"}',
    "surrogate in a key": b'{"text": "x", "cut \\ud83d": 1}',
    "surrogate in the id": b'{"text": "x", "id": "cut \\ud83d", "url": "\\ud83d"}',
    "surrogate in the text": b'{"text": "cut \\ud83d"}',
    "a pair": b'{"text": "\\ud83d\\ude00"}',
    "deep": b'{"text": "x", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and cut": b'{"text": "x", "deep": ' + b'{"a":' * 100_000,
    "repeated key": b'{"text": 1, "text": "last"}',
    "repeated key, no text": b'{"text": "first", "text": null}',
    "control character": b'{"text": "a\tb"}',
    "null byte": b'{"text": "a\\u0000b"}',
    "blank": b'{"text": " \\n\\u2003\\u00a0"}',
    "null": b'{"text": null}',
    "number": b'{"text": 3}',
    "list": b'{"text": ["x"]}',
    "no key": b'{"title": "x"}',
    "not an object": b'["text"]',
    "cut": b'{"text": "x',
    "rest": b'{"text": "x"} {"text": "y"}',
    "empty line": b"   ",
    "empty object": b"{}",
    "ids": b'{"text": "x", "id": [1], "url": {"a": 1}}',
    "a float as id": b'{"text": "x", "id": NaN}',
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_line_costs_no_neighbor(tmp_path: Path, line: bytes, place: str) -> None:
    good = [b'{"text": "good", "id": "a"}', b'{"id": 2, "text": "words"}']
    at = {"first": 0, "middle": 1, "last": 2}[place]
    data = b"\n".join([*good[:at], line, *good[at:]])
    (tmp_path / "a.jsonl").write_bytes(data)
    expected = by_json(data)
    assert expected[0]["good"] == expected[0]["words"] == 1
    check(tmp_path / "a.jsonl", expected)


def test_rows_of_every_kind_in_one_file(tmp_path: Path) -> None:
    data = b"\n".join([*LINES.values()] * 3)
    (tmp_path / "a.ndjson").write_bytes(data)
    expected = by_json(data)
    assert expected[1] == {"malformed row": 3 * 10, "no text": 3 * 8}
    check(tmp_path / "a.ndjson", expected)


def test_a_long_malformed_row_at_the_start_costs_nothing_else(tmp_path: Path) -> None:
    """It fills a batch of lines, in which no row is usable."""
    data = b'{"deep": ' + b"[" * 3_000_000 + b"\n" + b'{"text": "good"}'
    (tmp_path / "a.jsonl").write_bytes(data)
    check(tmp_path / "a.jsonl", (Counter({"good": 1}), Counter({"malformed row": 1})))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("packed", PACKERS)
def test_endings_folders_and_compression(tmp_path: Path, packed: str) -> None:
    def pack(name: str, data: bytes) -> None:
        path = tmp_path / "in" / f"{name}{packed}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PACKERS[packed](data))

    pack("a.txt", b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    pack("b.md", "caf\u00e9\u2028x".encode())
    pack("c.d/wiki.valid.tokens", b" = Title = \n")
    pack("c.d/e/wiki.raw", b"raw")
    pack("c.d/e/blank.text", b" \n")
    pack("f.jsonl", b'{"text": "f"}\r\n{"text": "g\\r\\n"}\r\n')
    pack("f.ndjson", b'\xef\xbb\xbf{"text": "h"}\n{"text": 1}\n')
    for path in [*(tmp_path / "in").rglob("*.*")]:
        if path.is_file() and path.name[0] in "bf":
            path.rename(path.with_name(path.name.upper()))
    expected = Counter(["one\ntwo\rthree\n", "caf\u00e9\u2028x", " = Title = \n", "raw", "f",
                        "g\r\n", "h"])  # fmt: skip
    check(tmp_path / "in", (expected, Counter({"no text": 2})))


def test_what_is_compressed_must_be_text(tmp_path: Path) -> None:
    image, wide = b"\x89PNG\r\n\x1a\n\0\xff", '{"text": "x"}\n'.encode("utf-16") * 1000
    for name, data in (
        ("a.txt.gz", gzip.compress(image)),
        ("a.jsonl.gz", gzip.compress(wide)),
        ("a.txt.xz", lzma.compress(wide)),
        ("a.txt", gzip.compress(b"text")),
        ("a.jsonl", gzip.compress(b'{"text": "x"}')),
        ("a.txt.gz", b"text"),
        ("a.txt.gz", gzip.compress(b"text" * 1000)[:-9]),
        ("a.jsonl", wide),
        ("a.txt", "text".encode("utf-32")),
    ):
        (tmp_path / name).write_bytes(data)
        for read in (by_training, by_data_prep):
            with pytest.raises(UserError, match=name):
                read(tmp_path / name)
        (tmp_path / name).unlink()


def parquet_columns() -> dict[str, pa.Array]:
    texts = ["a", None, "b\r\n", " ", "caf\u00e9", "a"]
    strings = pa.array(texts, pa.string())
    broken = [*(None if t is None else t.encode() for t in texts), b"caf\xe9", b"\xed\xa0\xbd"]
    binary = pa.array(broken, pa.binary())
    return {
        "string": strings,
        "large_string": strings.cast(pa.large_string()),
        "string_view": strings.cast(pa.string_view()),
        "dictionary": strings.dictionary_encode(),
        "dictionary of large strings": pa.array(texts, pa.large_string()).dictionary_encode(),
        "binary": binary,
        "large_binary": binary.cast(pa.large_binary()),
        "binary_view": binary.cast(pa.binary_view()),
        "dictionary of binary": binary.dictionary_encode(),
        "string that is not UTF-8": binary.cast(pa.string(), safe=False),
    }


@pytest.mark.parametrize("kind", parquet_columns())
def test_columns_of_parquet(tmp_path: Path, kind: str) -> None:
    column = parquet_columns()[kind]
    ids = pa.array([7, None, *range(len(column) - 2)], pa.int64())
    urls = pa.array([[str(n)] for n in range(len(column))])
    table = pa.table({"text": column, "id": ids, "url": urls})
    pq.write_table(table, tmp_path / "a.PARQUET")
    expected = Counter({"a": 2, "b\r\n": 1, "caf\u00e9": 1})
    rejected = Counter({"no text": 2, "malformed row": 2 * (len(column) == 8)})
    check(tmp_path / "a.PARQUET", (expected, +rejected))
    if len(column) == 6:
        values = pandas.read_parquet(tmp_path / "a.PARQUET")["text"].dropna()
        assert Counter(value for value in values if value.strip()) == expected
    (batch,) = batches(tmp_path / "a.PARQUET", Layout(), columns=("url", "gone"))
    assert batch.ids.to_pylist() == ["7", "0", "2", "3"]
    assert batch.names.to_pylist() == ["7", "0", "2", "3"]
    assert batch.rows["url"].to_pylist() == ["['0']", "['2']", "['4']", "['5']"]
    assert batch.rows["gone"].null_count == 4


def test_a_column_without_any_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(3)}), tmp_path / "a.parquet")
    check(tmp_path / "a.parquet", (Counter(), Counter({"no text": 3})))
    pq.write_table(pa.table({"text": pa.array([1.5])}), tmp_path / "a.parquet")
    for read in (by_training, by_data_prep):
        with pytest.raises(UserError, match="column 'text' holds double, not text"):
            read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "\xff"}', "is a JSON object: line 1 is not JSON"),
        (b"[1]", "is a JSON object: line 1 is list"),
        (b'{"text": "\\ud800"}', "is Unicode: line 1: 'text' has half of a surrogate pair"),
        (b'{"body": "x"}', "has a key 'text': line 1 has no key 'text'; its keys are 'body'; set"),
        (b'{"Text": "x"}', r"'text'; did you mean 'Text'\? Its keys are 'Text'; set"),
        (b'{"text": 1}', "has text in 'text': line 1: 'text' is int, not text"),
    ],
)
@pytest.mark.parametrize("rows", [1, 2500])
def test_a_file_without_a_usable_row_is_refused(
    tmp_path: Path, line: bytes, message: str, rows: int
) -> None:
    (tmp_path / "a.jsonl").write_bytes((line + b"\n") * rows)
    for read in (by_training, by_data_prep):
        with pytest.raises(UserError, match=rf"a.jsonl: none of the first [\d,]+ rows .*{message}"):
            read(tmp_path / "a.jsonl")


def test_the_folder_of_a_stage_is_read_alike(tmp_path: Path) -> None:
    for name, text in (("documents-0.jsonl", "kept"), ("clusters.jsonl", "table"),
                       ("dropped/a-b.jsonl", "dropped")):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"text": text}))
    (tmp_path / "manifest.json").write_text('{"stage": "documents"}')
    check(tmp_path, (Counter(["kept"]), Counter()))


def test_ids_come_from_content(tmp_path: Path, cases: Path) -> None:
    rows = [json.loads(line) for line in (cases / "corpus/no_id.jsonl").read_text().splitlines()]
    expected = sorted(xxhash.xxh3_128_hexdigest(row["text"].encode()) for row in rows)
    assert len(set(expected)) == 20
    taken = sorted(expected, key=lambda i: xxhash.xxh3_64_intdigest(i.encode()))[:7]
    deduplicate([str(cases / "corpus/no_id.jsonl")], tmp_path / "dedup")
    found = pq.read_table(tmp_path / "dedup/documents-00000.parquet")["id"].to_pylist()
    assert sorted(found) == expected
    pq.write_table(pa.table({"text": [row["text"] for row in rows]}), tmp_path / "a.parquet")
    (tmp_path / "texts").mkdir()
    for number, row in enumerate(rows):
        (tmp_path / "texts" / f"{number}.txt").write_text(row["text"])
    for given in ("a.parquet", "texts"):
        take([str(tmp_path / given)], tmp_path / f"taken-{given}", 7, Layout())
        found = [
            i
            for path in (tmp_path / f"taken-{given}").glob("*.parquet")
            for i in pq.read_table(path)["id"].to_pylist()
        ]
        assert sorted(found) == sorted(taken)


def test_cases_of_text(cases: Path) -> None:
    for name, documents, rejected in (
        ("text/bom.jsonl", 3, {}),
        ("text/nan_field.jsonl", 2, {}),
        ("text/UPPER.JSONL", 1, {}),
        ("text/nested", 3, {}),
        ("text/deeply_nested.jsonl.gz", 10, {"malformed row": 1}),
        ("text/long_word.txt", 1, {}),
        ("corpus/one_bad_byte.jsonl", 2, {"malformed row": 1}),
        ("corpus/no_id.jsonl", 20, {}),
    ):
        found = by_training(cases / name)
        assert (found[0].total(), found[1]) == (documents, rejected), name
        assert by_data_prep(cases / name) == found
    nested = cases / "text/nested"
    texts = {path.read_text() for path in nested.rglob("*") if path.is_file()}
    assert set(by_training(nested)[0]) == texts
    row = json.loads((cases / "text/UPPER.JSONL").read_text())
    assert by_training(cases / "text/UPPER.JSONL")[0] == {row["text"]: 1}


def links(tmp_path: Path, *lines: bytes) -> tuple[list[str], Counter[str]]:
    dump, out = tmp_path / "RS.ndjson", tmp_path / "links"
    dump.write_bytes(b"\n".join(lines))
    build_links([str(dump)], out, rules_of([]), workers_at_once=1)
    table = pq.read_table(list(out.glob("*.parquet")))
    return sorted(table["url"].to_pylist()), Counter(manifest_of(out)["rejected"])


def test_a_lone_surrogate_in_an_unread_field_costs_no_link(tmp_path: Path, cases: Path) -> None:
    lines = (cases / "corpus/lone_surrogate_title.ndjson").read_bytes().splitlines()
    expected = ["http://example.com/a", "http://example.com/b"]
    assert links(tmp_path, *lines) == (expected, Counter())


POST = b'{"id": "x", "url": "http://example.com/x", "score": 10, "created_utc": 1, "t": %s}'


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (POST % b"NaN", True),
        (POST % b"1e999", True),
        (POST % (b"9" * 5000), True),
        (POST % b'"\\ud83d"', True),
        (b"\xef\xbb\xbf" + POST % b"1", True),
        (POST % b"1" + b"\r", True),
        (b'{"score": null, ' + (POST % b"1")[1:], True),  # the last of a repeated key counts
        (POST % b'"caf\xe9"', False),
        (POST % (b"[" * 100_000 + b"]" * 100_000), False),
        (POST % b'"cut', False),
        ((POST % b"1").replace(b'om/x"', b'om/\\ud83d"'), False),
        ((POST % b"1").replace(b'"id": "x"', b'"id": "\\ud83d"'), False),
        ((POST % b"1").replace(b"10", b"9" * 5000), False),
        ((POST % b"1").replace(b"10", b"NaN"), False),
    ],
    ids=range(14),
)
def test_a_row_of_a_dump_costs_no_neighbor(tmp_path: Path, line: bytes, kept: bool) -> None:
    others = [POST.replace(b"/x", b"/%d" % n) % b"0" for n in range(2)]
    urls = [*(f"http://example.com/{n}" for n in range(2)), *["http://example.com/x"] * kept]
    rejected = Counter({"malformed row": 1 - kept})
    assert links(tmp_path, others[0], line, others[1]) == (urls, +rejected)


VIEW = pa.string_view()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([["a"], None, ["b"]], pa.list_(VIEW)),
        ([["a"], None, ["b"]], pa.large_list(VIEW)),
        ([["a"], ["c"], ["b"]], pa.list_(VIEW, 1)),
        ([{"x": ["a"]}, None, {"x": None}], pa.struct([("x", pa.list_(pa.binary_view()))])),
        ([[("k", "v")], None, []], pa.map_(VIEW, VIEW)),
    ],
)
def test_views_inside_other_columns_cost_nothing(
    tmp_path: Path, values: list[object], kind: pa.DataType
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one", " ", "two"], "meta": pa.array(values, kind)}), path)
    expected = (Counter(["one", "two"]), Counter({"no text": 1}))
    assert by_training(path) == by_data_prep(path) == by_data_prep(path, ("meta",)) == expected


def test_values_that_python_cannot_hold_cost_nothing(tmp_path: Path) -> None:
    path, bad = tmp_path / "a.parquet", pa.array([b"sound", b"\xff"])
    strings = pa.Array.from_buffers(pa.string(), 2, bad.buffers())
    times = pa.array([0, 2**62], pa.timestamp("us"))
    columns = {
        "nested": pa.StructArray.from_arrays([strings], names=["x"]),
        "times": pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), times),
    }
    pq.write_table(pa.table({"text": ["one", "two"], **columns}), path)
    (batch,) = batches(path, Layout(), columns=list(columns))
    assert batch.texts.to_pylist() == ["one", "two"]
    assert batch.rows.to_pylist() == [
        {"nested": "{'x': 'sound'}", "times": "[datetime.datetime(1970, 1, 1, 0, 0)]"},
        {"nested": "\N{REPLACEMENT CHARACTER}", "times": "\N{REPLACEMENT CHARACTER}"},
    ]


@pytest.mark.parametrize("name", ["text", "id"])
def test_columns_of_one_name_are_refused(tmp_path: Path, name: str) -> None:
    path, names = tmp_path / "a.parquet", ["text", "id", name]
    pq.write_table(pa.table([pa.array([str(at)]) for at in range(3)], names=names), path)
    for read in (by_training, by_data_prep):
        with pytest.raises(UserError, match=f"2 columns are called '{name}'"):
            read(path)
