import gzip
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from data_prep.dedup import deduplicate
from data_prep.near_duplicates.identity import distinct_documents
from webtext_gpt.errors import UserError

from .conftest import corpus_bytes, manifest_of
from .near_duplicates.documents import made_up, plain_jaccard

Stage = Callable[..., subprocess.CompletedProcess[str]]


def jsonl(path: Path, rows: list[Any]) -> str:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return str(path)


def kept_ids(out: Path) -> list[str]:
    return [
        i
        for p in sorted(out.glob("documents-*.parquet"))
        for i in pq.read_table(p)["id"].to_pylist()
    ]


def clusters(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "clusters.parquet").to_pylist()


def test_exact_and_near_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    words = [f"word{n}" for n in range(100)]
    text = " ".join(words)
    rows = [
        {"id": "c", "text": text},
        {"id": "b", "text": text.upper().replace(" ", ",  ") + "!"},  # the same words
        {"id": "a", "text": " ".join(["other", *words[1:]])},  # one 5-gram of 96 differs
        {"id": "far", "text": " ".join([f"x{n}" for n in range(30)] + words[30:])},
        {"id": "e", "text": "quite short"},
        {"id": "f", "text": "Quite short?"},
        {"id": "e", "text": "quite short"},
        {"id": "g", "text": " \n"},
        {"id": None, "text": "x"},
        {"id": 7, "text": "seven"},
        "{broken",
    ]
    source = jsonl(tmp_path / "documents.jsonl", rows)
    out = tmp_path / "out"
    deduplicate([source], out)
    manifest = manifest_of(out)
    nameless = xxhash.xxh3_128_hexdigest(b"x")
    assert sorted(kept_ids(out)) == sorted(["7", "a", "e", "far", nameless])
    assert manifest["rejected"] == {
        "exact duplicate": 1, "near duplicate": 2, "repeated id": 1, "no text": 1,
        "malformed row": 1,
    }  # fmt: skip
    assert clusters(out) == [
        {"kept": "a", "dropped": "b", "similarity": 95 / 97, "kind": "near"},
        {"kept": "a", "dropped": "c", "similarity": 95 / 97, "kind": "near"},
        {"kept": "e", "dropped": "f", "similarity": 1.0, "kind": "exact"},
    ]


def test_parquet_and_carried_columns(tmp_path: Path) -> None:
    rows = made_up(30)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    deduplicate([str(tmp_path / "a.parquet")], tmp_path / "out", carry=["url", "title"])
    table = pa.concat_tables(pq.read_table(p) for p in (tmp_path / "out").glob("documents-*"))
    assert table.column_names == ["id", "text", "url", "title"]
    by_id = {row["id"]: row for row in rows}
    for row in table.to_pylist():
        assert row == {**by_id[row["id"]], "title": None}


def test_a_finished_folder_stands_for_its_parts(tmp_path: Path) -> None:
    deduplicate([jsonl(tmp_path / "d.jsonl", made_up(30))], tmp_path / "once")
    again = deduplicate([str(tmp_path / "once")], tmp_path / "twice")
    assert again["rows_in"] == again["rows_out"] == len(kept_ids(tmp_path / "once"))


def test_files_order_and_workers_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = made_up(200)
    monkeypatch.setattr("data_prep.stage.shuffle.RUN_CHARACTERS", 50_000)
    monkeypatch.setattr("data_prep.near_duplicates.key_files.SORTED_AT_ONCE", 50)
    one = jsonl(tmp_path / "all.jsonl", rows)
    deduplicate([one], tmp_path / "one", part_characters=100_000)
    assert len(list((tmp_path / "one").glob("documents-*"))) > 2
    random.Random(1).shuffle(rows)
    first = jsonl(tmp_path / "a.jsonl", rows[:70])
    pq.write_table(pa.Table.from_pylist(rows[70:]), tmp_path / "b.parquet")
    monkeypatch.setattr("data_prep.dedup.SMALL_INPUT", 0)  # two processes
    monkeypatch.setattr("data_prep.near_duplicates.key_files.SORTED_AT_ONCE", 1000)
    deduplicate(
        [str(tmp_path / "b.parquet"), first],
        tmp_path / "two",
        part_characters=100_000,
        workers_at_once=2,
    )
    assert corpus_bytes(tmp_path / "one") == corpus_bytes(tmp_path / "two")


def test_planted_copies_are_found_and_nothing_else(tmp_path: Path) -> None:
    """A copy differs from its original in 0 to 9 of 300 words: similarity at least 0.72."""
    rows = made_up(500)
    deduplicate([jsonl(tmp_path / "d.jsonl", rows)], tmp_path / "out")
    texts = {row["id"]: row["text"] for row in rows}
    expected = {
        (f"d{n:05d}", f"d{500 + n // 10:05d}")
        for n in range(0, 500, 10)
        if plain_jaccard(rows[n]["text"], rows[500 + n // 10]["text"]) >= 0.8
    }
    found = clusters(tmp_path / "out")
    assert {(c["kept"], c["dropped"]) for c in found} == expected
    for c in found:
        assert c["similarity"] == plain_jaccard(texts[c["kept"]], texts[c["dropped"]])


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_bytes(
    tmp_path: Path, stage: Stage, killed: Callable[..., int]
) -> None:
    source = jsonl(tmp_path / "d.jsonl", made_up(6000))
    done = stage("dedup", f"documents=[{source}]", f"out={tmp_path / 'calm'}")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "rough"
    assert killed("dedup", f"documents=[{source}]", f"out={out}", kills=4, shortest=0.6, longest=2)
    assert corpus_bytes(out) == corpus_bytes(tmp_path / "calm")
    again = stage("dedup", f"documents=[{source}]", f"out={out}", "threshold=0.5")
    assert again.returncode == 1
    assert "threshold is 0.8 there, 0.5 here" in again.stderr


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("a.jsonl", b"hello\nworld\n", "none of the first 2 rows is a JSON object"),
        ("a.jsonl.gz", b"hello", "named .gz"),
    ],
)
def test_unreadable_files_are_refused_by_name(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        deduplicate([str(tmp_path / name)], tmp_path / "out")
    assert name in str(error.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "body": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: no column 'text'"):
        deduplicate([str(tmp_path / "a.parquet")], tmp_path / "out")


@pytest.mark.parametrize("size", [1000, 2500])
def test_exactly_the_gold_pairs_are_found(tmp_path: Path, realdata: Path, size: int) -> None:
    rows = [
        dict(zip(("id", "text"), line.split(" ", 1), strict=True))
        for line in (realdata / f"neardup/articles_{size}.train").read_text().splitlines()
    ]
    truth = {
        frozenset(line.split())
        for line in (realdata / f"neardup/articles_{size}.truth").read_text().splitlines()
    }
    deduplicate([jsonl(tmp_path / "d.jsonl", rows)], tmp_path / "out")
    assert {frozenset((c["kept"], c["dropped"])) for c in clusters(tmp_path / "out")} == truth


@pytest.mark.slow
def test_ray_of_two_workers_gives_the_bytes_of_the_native_runner(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without network namespaces, which tests/hosts/test_ray.py needs."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else each start of Ray decides by itself
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        source = jsonl(tmp_path / "d.jsonl", made_up(300))
        arguments = (f"documents=[{source}]", "part_characters=100000")
        native = stage("dedup", *arguments, f"out={tmp_path / 'native'}")
        assert native.returncode == 0, native.stderr
        ray = stage(
            "dedup", *arguments, f"out={tmp_path / 'ray'}",
            "engine=ray", f"engine.address={cluster.address}",
        )  # fmt: skip
        assert ray.returncode == 0, ray.stderr
    finally:
        cluster.shutdown()
    assert len(corpus_bytes(tmp_path / "native")) > 3
    assert corpus_bytes(tmp_path / "native") == corpus_bytes(tmp_path / "ray")


def test_chinese_texts_that_differ_in_a_sentence_are_near_duplicates(tmp_path: Path) -> None:
    """Without spaces each character is a word: their 5-grams have a Jaccard similarity of 0.977."""
    source = Path(__file__).parent / "near_duplicates/near_copies_chinese.jsonl"
    texts = [json.loads(line)["text"] for line in source.read_text().splitlines()]
    characters = [" ".join(char for char in text if char.isalnum()) for text in texts]
    deduplicate([str(source)], tmp_path / "out")
    (found,) = clusters(tmp_path / "out")
    assert found["kind"] == "near"
    assert found["similarity"] == plain_jaccard(*characters) == pytest.approx(0.977, abs=0.0005)


def test_different_texts_under_one_id_are_different_documents(tmp_path: Path, cases: Path) -> None:
    """In any order and division of the rows, with ids that occur once."""
    names = ("same_ids_1.jsonl", "same_ids_2.jsonl")
    lines = [line for name in names for line in (cases / "corpus" / name).read_text().splitlines()]
    manifest = deduplicate([str(cases / "corpus" / name) for name in names], tmp_path / "out")
    assert (manifest["rows_in"], manifest["rows_out"], manifest["rejected"]) == (20, 20, {})
    assert manifest["renamed_ids"] == 20
    (file,) = (tmp_path / "out").glob("documents-*")
    rows = pq.read_table(file).to_pylist()
    assert {row["text"] for row in rows} == {json.loads(line)["text"] for line in lines}
    assert len({row["id"] for row in rows}) == 20
    assert {row["id"].partition("#text-")[0] for row in rows} == {str(n) for n in range(10)}
    random.Random(1).shuffle(lines)
    for at in range(3):
        (tmp_path / f"{at}.jsonl").write_text("\n".join(lines[at::3]))
    deduplicate([str(tmp_path / "*.jsonl")], tmp_path / "again", workers_at_once=2)
    assert corpus_bytes(tmp_path / "again") == corpus_bytes(tmp_path / "out")
    both = deduplicate([str(tmp_path / "out"), str(tmp_path / "*.jsonl")], tmp_path / "both")
    assert (both["rows_in"], both["rows_out"]) == (40, 20)
    assert set(kept_ids(tmp_path / "both")) == {row["id"] for row in rows}


def test_an_id_is_extended_only_where_texts_differ(tmp_path: Path) -> None:
    """The ending is XXH3-128 of the words joined by spaces, its first 16 digits."""

    def ending(words: str) -> str:
        return "#text-" + xxhash.xxh3_128_hexdigest(words.encode())[:16]

    rows = [
        ("a", "One two!"), ("a", "one TWO"),  # the same words
        ("b", "one"), ("b", "two"), ("b", "two"),
        ("c", "!!"), ("c", "??"),
        ("d" + ending("x"), "X"), ("e" + ending("x"), "not x"),
        ("b" + ending("one"), "different"), ("f", "alone"),
    ]  # fmt: skip
    found = distinct_documents(
        pa.table({"id": [i for i, _ in rows], "text": [t for _, t in rows]}).sort_by("id")
    )
    assert sorted(zip(*found.table.to_pydict().values(), strict=True)) == sorted([
        ("a", "One two!"),
        ("b" + ending("one"), "one"), ("b" + ending("two"), "two"),
        ("c" + ending("!!"), "!!"), ("c" + ending("??"), "??"),
        ("d" + ending("x"), "X"), ("e" + ending("x") + ending("not x"), "not x"),
        ("b" + ending("one") + ending("different"), "different"), ("f", "alone"),
    ])  # fmt: skip
    assert found.renamed == 6


def test_texts_without_words_are_copies_only_of_the_same_text(tmp_path: Path, cases: Path) -> None:
    manifest = deduplicate([str(cases / "corpus/no_letters.jsonl")], tmp_path / "out")
    assert (manifest["rows_in"], manifest["rows_out"], manifest["rejected"]) == (5, 5, {})
    texts = [
        "!!!",
        "???",
        "!!!",
        "\U0001f600 \U0001f601",
        "\U0001f601 \U0001f600",
        "12",
        "12.",
        "...",
    ]
    rows = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    deduplicate([jsonl(tmp_path / "d.jsonl", rows)], tmp_path / "own")
    assert {(c["kept"], c["dropped"], c["kind"]) for c in clusters(tmp_path / "own")} == {
        ("0", "2", "exact"), ("5", "6", "exact"),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["no.jsonl", "no.jsonl.gz", "no.parquet", "blank.jsonl"])
def test_no_documents_are_a_result(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"id": pa.array([], pa.string()), "text": []}), source)
    elif name.endswith(".gz"):
        source.write_bytes(gzip.compress(b""))
    else:
        jsonl(source, [{"id": 1, "text": " "}] if name.startswith("blank") else [])
    manifest = deduplicate([str(source)], tmp_path / "out")
    assert manifest["rows_out"] == 0
    assert manifest["rejected"] == ({"no text": 1} if name.startswith("blank") else {})
    assert kept_ids(tmp_path / "out") == clusters(tmp_path / "out") == []
    again = deduplicate([str(tmp_path / "out")], tmp_path / "again")
    assert (again["rows_in"], again["rows_out"]) == (0, 0)


def test_files_of_equal_content_are_read_once_and_counted(tmp_path: Path) -> None:
    rows = [*made_up(20), {"id": 1, "text": ""}]
    for name in ("a", "b"):
        jsonl(tmp_path / f"{name}.jsonl", rows)
    jsonl(tmp_path / "c.jsonl", [*rows, {"id": 2, "text": ""}])  # the same rows, other bytes
    one = deduplicate([str(tmp_path / "a.jsonl")], tmp_path / "one")
    two = deduplicate([str(tmp_path / "[ab].jsonl")], tmp_path / "two")
    assert two["rejected"] == {**one["rejected"], "no text": 2, "repeated id": 22}
    other = deduplicate([str(tmp_path / "[ac].jsonl")], tmp_path / "other")
    assert other["rejected"] == {**two["rejected"], "no text": 3}
    assert corpus_bytes(tmp_path / "one") == corpus_bytes(tmp_path / "two")
    assert corpus_bytes(tmp_path / "one") == corpus_bytes(tmp_path / "other")


SCRIPTS = {
    "Han": (0x4E00, 0x9FA5), "Hiragana": (0x3041, 0x3096), "Katakana": (0x30A1, 0x30FA),
    "Thai": (0x0E01, 0x0E2E), "Lao": (0x0E94, 0x0EAE), "Khmer": (0x1780, 0x17A2),
    "Burmese": (0x1000, 0x1020),
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_near_copies_without_spaces_are_found(tmp_path: Path, script: str) -> None:
    """10 of 400 letters are changed, so 14 of the 396 5-grams on each side differ."""
    rng = random.Random(3)
    low, high = SCRIPTS[script]
    letters = [chr(c) for c in range(low, high + 1) if chr(c).isalpha()]
    text, other = ("".join(rng.choices(letters, k=400)) for _ in range(2))
    copy = text[:200] + other[:10] + text[210:]
    rows = [{"id": n, "text": t} for n, t in enumerate((text, copy, other))]
    deduplicate([jsonl(tmp_path / "d.jsonl", rows)], tmp_path / "out")
    (found,) = clusters(tmp_path / "out")
    assert (found["kept"], found["dropped"], found["kind"]) == ("0", "1", "near")
    assert found["similarity"] == plain_jaccard(" ".join(text), " ".join(copy))


def test_pages_of_one_template_are_kept(tmp_path: Path, cases: Path) -> None:
    manifest = deduplicate([str(cases / "corpus/templated_pages_2000.jsonl.gz")], tmp_path / "out")
    assert (manifest["rows_in"], manifest["rows_out"]) == (2000, 2000)


def forget(file: Path, key: str) -> None:
    """Remove a key from a manifest or plan, as if an earlier version had written it."""
    value = json.loads(file.read_text())
    del value["config"][key]
    value.pop("manifest_sha256", None)  # such a version wrote none
    file.write_text(json.dumps(value))


@pytest.mark.parametrize("key", ["words", "identity"])
def test_a_corpus_of_a_version_without_a_key_is_accepted_if_finished_and_else_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    source, out = jsonl(tmp_path / "d.jsonl", made_up(10)), tmp_path / "out"
    made = deduplicate([source], out)
    forget(out / "manifest.json", key)
    again = deduplicate([source], out)
    older = {k: v for k, v in made.items() if k != "manifest_sha256"}
    assert again == {**older, "config": {k: v for k, v in made["config"].items() if k != key}}
    with pytest.raises(UserError, match="threshold is 0.8 there, 0.5 here"):
        deduplicate([source], out, threshold=0.5)

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("data_prep.dedup.find_clusters", stop)
        with pytest.raises(KeyboardInterrupt):
            deduplicate([source], tmp_path / "half")
    forget(tmp_path / "half/_work/plan.json", key)
    (keys,) = (tmp_path / "half/_work").glob("bands-*.npy")
    np.save(keys, np.zeros_like(np.load(keys)))  # of other words: all documents equal
    assert deduplicate([source], tmp_path / "half")["config"] == made["config"]
    assert corpus_bytes(tmp_path / "half") == corpus_bytes(out)


def test_columns_of_any_name_are_carried_once(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", [{"id": "1", "text": "one two", "slot": 3, "url": "u"}])
    carried = ["slot", "url", "url", "id", "text"]
    assert deduplicate([source], tmp_path / "out", carry=carried)["rows_out"] == 1
    (row,) = pq.read_table(tmp_path / "out" / "documents-00000.parquet").to_pylist()
    assert row == {"id": "1", "text": "one two", "slot": "3", "url": "u"}
