"""Overlap of tests and train, in both directions, beside counts by plain Python."""

import json
import random
import re
import subprocess
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.ngrams import train_filter
from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.bloom_size import blocks_for
from data_prep.ngrams.distinct import Count
from data_prep.ngrams.exact_set import ExactSet
from data_prep.ngrams.hashing import ngrams
from data_prep.ngrams.measurement import OverlapRules
from data_prep.ngrams.scan import Scan, scan_file
from data_prep.ngrams.train_filter import build_filter, count_ngrams, merge_filters
from data_prep.overlap import measure_overlap
from data_prep.stage.readers import Layout
from webtext_gpt.errors import UserError

from .conftest import corpus_bytes, manifest_of

Stage = Callable[..., subprocess.CompletedProcess[str]]
FIELDS = {"ngrams", "overlapping", "percent", "percent_unique", "false_positive_bound"}


def eight_grams(text: str) -> list[str]:
    """By the paper's words, for text without letters beyond ASCII."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return [" ".join(words[at : at + 8]) for at in range(len(words) - 7)]


def sentences(seed: int, words: int) -> str:
    rng = random.Random(seed)
    return " ".join(f"{rng.choice('bcdfgh')}{rng.randrange(3000)}" for _ in range(words))


def measure(tmp_path: Path, train: Any, tests: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    rules = {k: options.pop(k) for k in list(options) if k in OverlapRules.__annotations__}
    patterns = [str(train)] if isinstance(train, Path) else train
    out = tmp_path / options.pop("out", "out")
    where = {name: str(path) for name, path in tests.items()}
    measure_overlap(patterns, where, out, OverlapRules(**rules), workers_at_once=1, **options)
    return json.loads((out / "overlap.json").read_text())


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixty documents of 200 words, in Parquet and JSONL."""
    rows = [{"id": f"d{n}", "text": sentences(n, 200), "url": f"u{n}"} for n in range(60)]
    folder = tmp_path / "train"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows[:30]), folder / "a.parquet")
    lines = [json.dumps(row) + "\n" for row in rows[30:]]
    (folder / "b.jsonl").write_text("".join(lines))
    return folder


@pytest.mark.parametrize("direction", ["train", "test", "both"])
def test_every_direction_counts_what_plain_python_counts(
    tmp_path: Path, corpus: Path, direction: str
) -> None:
    samples = [sentences(3, 40), f"{sentences(900, 30)} {sentences(33, 17)}", sentences(901, 60)]
    samples += [samples[0], "too short"]
    (tmp_path / "t.txt").write_text("\n".join(samples))
    known = {gram for n in range(60) for gram in eight_grams(sentences(n, 200))}
    asked = [gram for sample in samples for gram in eight_grams(sample)]
    hits = [gram for gram in asked if gram in known]
    assert len(hits) == 33 + 10 + 33
    found = measure(tmp_path, corpus, {"t": tmp_path / "t.txt"}, direction=direction,
                    layout=Layout(lines=True))["t"]  # fmt: skip
    assert set(found) == FIELDS
    assert found["ngrams"] == len(asked)
    assert found["overlapping"] == len(hits)
    assert found["percent"] == pytest.approx(100 * len(hits) / len(asked))
    assert found["percent_unique"] == pytest.approx(100 * len(set(hits)) / len(set(asked)))
    assert found["false_positive_bound"] == (0 if direction == "test" else 1e-8)
    samples_table = pq.read_table(tmp_path / "out/samples.parquet").to_pylist()
    assert [row["overlapping"] for row in samples_table] == [33, 10, 0, 33]
    report = (tmp_path / "out/overlap.md").read_text()
    assert "| t | 4 | 1 | 62.50 % | 25.0% | 25.0% | 100.00 % |" in report  # 0, 25, 100, 100
    assert (tmp_path / "out/overlap.png").read_bytes().startswith(b"\x89PNG")
    if direction != "train":
        holders = pq.read_table(tmp_path / "out/train_documents.parquet").to_pylist()
        assert [(h["id"], h["shared"], h["ngrams"]) for h in sorted(holders, key=str)] == [
            ("d3", 33, 193),
            ("d33", 10, 193),
        ]
        assert "In train: d33 (10)" in report
        assert sentences(33, 17) in report


def planted(tmp_path: Path, wikitext: str) -> tuple[list[str], dict[int, str]]:
    """Made-up documents; one in five has a passage of WikiText-2's test in the middle."""
    passages = [line.strip() for line in wikitext.split("\n") if len(line.split()) > 30]
    rng = random.Random(7)
    chosen = rng.sample(passages, len(passages) // 100)
    documents = [sentences(n, 300) for n in range(5 * len(chosen))]
    into = dict(zip(rng.sample(range(len(documents)), len(chosen)), chosen, strict=True))
    for number, passage in into.items():
        head, tail = documents[number][:700], documents[number][700:]
        documents[number] = f"{head}. {passage} {tail}"
    return documents, into


def test_planted_passages_are_reported_and_their_documents_removed(
    tmp_path: Path, realdata: Path
) -> None:
    wikitext = (realdata / "evalsets/wikitext2_test.raw").read_text()
    documents, into = planted(tmp_path, wikitext)
    assert len(into) >= 10
    table = pa.table({"id": [f"d{n}" for n in range(len(documents))], "text": documents})
    train = tmp_path / "train.parquet"
    pq.write_table(table, train)
    where = {"evalsets": realdata / "evalsets"}
    found = measure(tmp_path, train, {"wt2": "wikitext2_test"}, remove=True, worst=99, **where)
    due = sum(len(eight_grams_of_any(passage)) for passage in into.values())
    assert found["wt2"]["overlapping"] >= due
    holders = pq.read_table(tmp_path / "out/train_documents.parquet").to_pylist()
    assert {h["id"] for h in holders} == {f"d{n}" for n in into}
    assert all(h["over_threshold"] for h in holders)
    report = (tmp_path / "out/overlap.md").read_text()
    rows = pq.read_table(tmp_path / "out/samples.parquet")["passages"].to_pylist()
    passages = [passage for row in rows for passage in row]
    for number, passage in into.items():
        assert f"d{number} (" in report
        words_only = re.sub(r"^[\W_]+|[\W_]+$", "", passage)
        assert any(words_only.lower() in shown.lower() for shown in passages)
    manifest = manifest_of(tmp_path / "out")
    assert manifest["rejected"] == {"overlaps a test set": len(into)}
    left = [r["id"] for p in (tmp_path / "out").glob("documents-*.parquet")
            for r in pq.read_table(p).to_pylist()]  # fmt: skip
    assert left == [f"d{n}" for n in range(len(documents)) if n not in into]
    after = measure(tmp_path, tmp_path / "out", {"wt2": "wikitext2_test"}, out="after", **where)
    assert after["wt2"]["overlapping"] == 0


def eight_grams_of_any(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"[^\W_]+", text.lower())
    return [tuple(words[at : at + 8]) for at in range(len(words) - 7)]


def test_novels_by_both_directions_and_by_brute_force(tmp_path: Path, realdata: Path) -> None:
    novels = sorted((realdata / "text/novels").glob("*.txt"))[:6]
    known = {g for path in novels for g in eight_grams_of_any(path.read_text())}
    tests = {"wikitext2": "wikitext2_test", "lambada": "lambada_test"}
    measure(tmp_path, [str(p) for p in novels], tests, evalsets=realdata / "evalsets")
    results = manifest_of(tmp_path / "out")["results"]
    wikitext = [(realdata / "evalsets/wikitext2_test.raw").read_text()]
    lambada = [
        json.loads(line)["text"]
        for line in (realdata / "evalsets/lambada_test.jsonl").read_text().splitlines()
    ]
    for name, texts in (("wikitext2", wikitext), ("lambada", lambada)):
        due = sum(gram in known for text in texts for gram in eight_grams_of_any(text))
        exact = results[name]["direction_test"]["overlapping"]
        assert exact == due, name
        extra = results[name]["direction_train"]["overlapping"] - exact
        assert extra == 0, name  # 5e5 8-grams at 1e-8: one chance in 200 of any
    assert results["lambada"]["direction_test"]["overlapping"] > 0


@pytest.mark.slow
def test_a_million_strangers_are_not_in_all_novels(realdata: Path, tmp_path: Path) -> None:
    novels = sorted((realdata / "text/novels").glob("*.txt"))
    blocks = blocks_for(count_ngrams(novels, Layout()).capacity())
    made = build_filter(novels, Layout(), blocks, scratch=tmp_path)
    drawn = np.random.default_rng(0).integers(0, 50_000, 1_000_007)
    strangers = ngrams(pa.array([" ".join(f"word{number}" for number in drawn.tolist())]))
    assert len(strangers.hashes) == 1_000_000
    assert not made.contains(strangers.hashes).any()
    assert made.false_positive_rate() < 1e-8
    assert made.n_bytes * 8 / blocks_optimum(novels) < 1.2


def blocks_optimum(novels: list[Path]) -> float:
    grams = {g for path in novels for g in eight_grams_of_any(path.read_text())}
    return len(grams) * 38.34


@pytest.mark.parametrize("files", [1, 2, 5])
def test_the_filter_is_the_same_however_train_is_divided(tmp_path: Path, files: int) -> None:
    texts = [sentences(n, 120) for n in range(40)]
    paths = []
    for number in range(files):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts[number::files]))
        paths.append(path)
    count = count_ngrams(paths, Layout(), 1)
    whole = build_filter(paths, Layout(), 200, workers_at_once=3, scratch=tmp_path)
    assert (count.ngrams, count.documents) == (40 * 113, 40)
    assert count.capacity() == 4520  # all differ, and no more are taken than there are
    due = BloomFilter(200)
    due.add(ngrams(pa.array(texts)).hashes)
    assert (whole.words == due.words).all()
    assert whole.added == due.added


@pytest.mark.slow
def test_two_ray_workers_build_the_same_filter_and_report(
    tmp_path: Path, corpus: Path, stage: Stage
) -> None:
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    for engine in ("native", "ray"):
        done = stage("overlap", f"train=[{corpus}]", f"tests.t={tmp_path / 't.txt'}",
                     f"out={tmp_path / engine}", f"engine={engine}", "keep_filter=true",
                     "workers=2", "remove=true")  # fmt: skip
        assert done.returncode == 0, done.stderr
    one, other = corpus_bytes(tmp_path / "native"), corpus_bytes(tmp_path / "ray")
    assert one.keys() == other.keys()
    assert "train.bloom" in one
    assert one == other


def test_parts_are_merged_on_the_command_line(tmp_path: Path, corpus: Path, stage: Stage) -> None:
    sources = {"a": corpus / "a.parquet", "b": corpus / "b.jsonl", "whole": corpus}
    for name, source in sources.items():
        done = stage("filters", f"train=[{source}]", f"out={tmp_path / name}.bloom", "ngrams=20000")
        assert done.returncode == 0, done.stderr
    done = stage("filters", f"merge=[{tmp_path}/b.bloom,{tmp_path}/a.bloom]",
                 f"out={tmp_path}/merged.bloom")  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole = (tmp_path / "whole.bloom").read_bytes()
    assert (tmp_path / "merged.bloom").read_bytes() == whole
    assert merge_filters([tmp_path / "b.bloom", tmp_path / "a.bloom"]).added == 60 * 193
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    asked = stage("overlap", f"filter={tmp_path}/merged.bloom", "direction=train",
                  f"tests.t={tmp_path}/t.txt", f"out={tmp_path}/asked")  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert json.loads((tmp_path / "asked/overlap.json").read_text())["t"]["overlapping"] == 33
    (tmp_path / "merged.bloom").write_bytes(whole[:-8])
    refused = stage("overlap", f"filter={tmp_path}/merged.bloom", "direction=train",
                    f"tests.t={tmp_path}/t.txt", f"out={tmp_path}/refused")  # fmt: skip
    assert refused.returncode == 1
    assert "merged.bloom has" in refused.stderr


def test_a_killed_measurement_ends_with_the_same_bytes(
    tmp_path: Path, corpus: Path, stage: Stage, killed: Callable[..., int]
) -> None:
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    arguments = [f"train=[{corpus}]", f"tests.t={tmp_path / 't.txt'}", "remove=true", "workers=1"]
    assert stage("overlap", f"out={tmp_path / 'whole'}", *arguments).returncode == 0
    times = killed("overlap", f"out={tmp_path / 'again'}", *arguments, kills=3, shortest=0.8,
                   longest=2.2)  # fmt: skip
    assert times >= 1
    assert corpus_bytes(tmp_path / "whole") == corpus_bytes(tmp_path / "again")


def test_removal_keeps_columns_lines_and_what_is_under_the_threshold(
    tmp_path: Path, corpus: Path
) -> None:
    (tmp_path / "t.txt").write_text(f"{sentences(3, 40)} x {sentences(33, 17)}")
    measure(tmp_path, corpus, {"t": tmp_path / "t.txt"}, remove=True, threshold=11)
    (parquet,) = (tmp_path / "out").glob("documents-*.parquet")
    (lines,) = (tmp_path / "out").glob("documents-*.jsonl")
    table = pq.read_table(parquet)
    assert table.column_names == ["id", "text", "url"]
    assert table["id"].to_pylist() == [f"d{n}" for n in range(30) if n != 3]
    assert lines.read_bytes() == (corpus / "b.jsonl").read_bytes()  # d33 holds 10 only
    results = manifest_of(tmp_path / "out")["results"]["t"]
    assert results["overlap"]["overlapping"] == 43
    assert results["after_removal"]["overlapping"] == 10


def test_what_is_no_test_set_is_said_and_not_counted_as_none(tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.jsonl").write_text('{"text": "  "}\n')
    (tmp_path / "nothing.jsonl").write_text("")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "no_row.parquet")
    (tmp_path / "short.txt").write_text("seven words are not eight of them")
    (tmp_path / "part.txt").write_text(sentences(3, 50))
    (tmp_path / "other.txt").write_text(sentences(999, 50))
    files = {name: tmp_path / f"{name}.txt" for name in ("empty", "short", "part", "other")}
    files |= {"blank": tmp_path / "blank.jsonl", "same": corpus / "a.parquet"}
    files |= {"nothing": tmp_path / "nothing.jsonl", "no_row": tmp_path / "no_row.parquet"}
    found = measure(tmp_path, corpus, files)
    for name in ("empty", "blank", "nothing", "no_row"):
        assert found[name]["note"].startswith("empty: it has no text")
    assert "no sample has 8 words" in found["short"]["note"]
    for name in ("empty", "blank", "nothing", "no_row", "short"):
        assert found[name]["percent"] is None
        assert found[name]["percent_unique"] is None
    assert found["same"]["note"] == "is among the training files themselves"
    assert found["same"]["percent"] == 100
    assert found["part"]["note"] == "every 8-gram is in train"  # 43 of them may be chance
    assert "note" not in found["other"]
    assert found["other"]["percent"] == 0
    assert "- **short**: no sample has 8 words" in (tmp_path / "out/overlap.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tests.t={t}", "direction=sideways"], "direction=sideways: expected train, test, both"),
        ([], r"no test set: give tests\.NAME=PATH"),
        (["tests.t={t}", "direction=train", "remove=true"], "remove=true needs the documents"),
        (["tests.t={t}", "threshold=0"], "threshold must be at least 1"),
        (["tests.t={t}", "threshold=many"], "threshold=many: expected a whole number"),
        (["tests.t={t}", "train=null"], r"give train=\[FILES\]"),
        (["tests.t={t}", "filter={t}"], "is not a Bloom filter"),
        (["tests.t={t}", "text_key=body"], "a.parquet: no column 'body' among id, text, url"),
        (["tests.t={t}", "rate=2.0"], "rate=2.0"),
    ],
)
def test_bad_settings_are_refused_by_name(
    tmp_path: Path, corpus: Path, call: Stage, arguments: list[str], message: str
) -> None:
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    given = [a.format(t=tmp_path / "t.txt") for a in arguments]
    train = [] if "train=null" in given else [f"train=[{corpus}]"]
    done = call("data_prep/overlap.py", f"out={tmp_path / 'out'}", *train, *given)
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_bad_files_are_refused_by_name(tmp_path: Path, corpus: Path) -> None:
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    latin = tmp_path / "latin.txt"
    latin.write_bytes("caf\u00e9 au lait".encode("latin-1"))
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 nothing")
    number = tmp_path / "number.parquet"
    pq.write_table(pa.table({"text": [1, 2]}), number)
    broken = tmp_path / "utf8.parquet"
    text = pa.array([b"ab\xff cd"], pa.binary()).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"text": text}), broken)
    short = tmp_path / "short.txt"
    short.write_text("too short")
    tests = {"t": tmp_path / "t.txt"}
    for train, message in (
        (latin, "latin.txt is not UTF-8"),
        (bad, "not a readable Parquet file"),
        (number, "column 'text' holds int64, not text"),
        (broken, "not a readable Parquet file"),
        (short, "has 8 words"),
        (tmp_path / "none", "no such file or folder"),
    ):
        with pytest.raises(UserError, match=message):
            measure(tmp_path, train, tests, out=f"out-{train.name}")
    with pytest.raises(UserError, match=r"tests\.t=\./nowhere: no such file or folder"):
        measure(tmp_path, corpus, {"t": "./nowhere"}, out="x")


def test_a_test_set_of_the_datasets_library(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def load(name: str, config: str | None, split: str) -> Any:
        assert (name, config, split) == ("owner/set", "small", "validation")
        return datasets.Dataset.from_dict({"text": [sentences(3, 40), ""]})

    monkeypatch.setattr(datasets, "load_dataset", load)
    found = measure(tmp_path, corpus, {"t": "owner/set:small:validation"})
    assert found["t"]["overlapping"] == 33

    def refuse(*_: Any, **__: Any) -> Any:
        raise datasets.exceptions.DatasetNotFoundError("cannot be reached")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    message = r"tests\.t=nowhere: no such file, no evaluation set in .*, and `datasets` cannot"
    with pytest.raises(UserError, match=message):
        measure(tmp_path, corpus, {"t": "nowhere"}, evalsets=tmp_path, out="x")


def test_rows_without_text_are_counted(tmp_path: Path) -> None:
    train = tmp_path / "train.jsonl"
    rows = [json.dumps({"text": sentences(1, 50)}), "{broken", '{"text": null}', '{"text": " "}']
    train.write_text("\n".join(rows))
    (tmp_path / "t.txt").write_text(sentences(1, 20))
    measure(tmp_path, train, {"t": tmp_path / "t.txt"})
    manifest = manifest_of(tmp_path / "out")
    assert manifest["rejected"] == {"malformed row": 1, "no text": 2}
    assert (manifest["rows_in"], manifest["rows_out"]) == (4, 1)


@pytest.mark.parametrize("direction", ["train", "test", "both"])
def test_rows_are_counted_in_every_direction(tmp_path: Path, direction: str) -> None:
    train = tmp_path / "train.jsonl"
    rows = [json.dumps({"text": sentences(n, 50)}) for n in range(3)] + ["{broken", '{"text": 1}']
    train.write_text("\n".join(rows))
    (tmp_path / "t.txt").write_text(sentences(1, 20))
    measure(tmp_path, train, {"t": tmp_path / "t.txt"}, direction=direction)
    manifest = manifest_of(tmp_path / "out")
    assert manifest["rejected"] == {"malformed row": 1, "no text": 1}
    assert (manifest["rows_in"], manifest["rows_out"]) == (5, 3)
    assert manifest["train_ngrams"] == 3 * 43


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "txt"])
def test_files_of_which_nothing_stays_leave_a_corpus_that_can_be_read(
    tmp_path: Path, kind: str
) -> None:
    """Two such files: each without a row they would be one input given twice."""
    folder = tmp_path / "train"
    folder.mkdir()
    for name, numbers in (("a", [1]), ("b", [2]), ("c", [3, 4])):
        texts = [sentences(n, 50) for n in numbers]
        if kind == "parquet":
            pq.write_table(pa.table({"text": texts}), folder / f"{name}.parquet")
        else:
            rows = [json.dumps({"text": t}) if kind == "jsonl" else t for t in texts]
            (folder / f"{name}.{kind}").write_text("\n".join(rows))
    test = tmp_path / "test.txt"
    test.write_text(" x ".join(sentences(n, 50) for n in (1, 2, 3)))
    layout = Layout(lines=kind == "txt")
    measure(tmp_path, folder, {"t": test}, remove=True, layout=layout)
    left = list((tmp_path / "out").glob("documents-*"))
    assert len(left) == 1
    after = measure(tmp_path, tmp_path / "out", {"t": test}, out="after", layout=layout)
    assert after["t"]["overlapping"] == 0
    assert manifest_of(tmp_path / "after")["rows_in"] == 1


def test_a_column_named_line_is_parquet_still(tmp_path: Path) -> None:
    pq.write_table(pa.table({"line": [sentences(n, 50) for n in (1, 2)]}), tmp_path / "a.parquet")
    (tmp_path / "t.txt").write_text(sentences(1, 50))
    measure(tmp_path, tmp_path / "a.parquet", {"t": tmp_path / "t.txt"}, remove=True,
            layout=Layout(text_key="line"))  # fmt: skip
    (left,) = (tmp_path / "out").glob("documents-*")
    assert pq.read_table(left).to_pylist() == [{"line": sentences(2, 50)}]


def test_what_a_scan_holds_grows_with_what_was_found(tmp_path: Path) -> None:
    asked = ngrams(pa.array([sentences(n, 1000) for n in range(20)]))
    exact = ExactSet.of([asked])
    assert len(exact) == 20 * 993
    (tmp_path / "train.txt").write_text(f"{sentences(5, 30)} x {sentences(99, 500)}")
    members = np.ones((1, len(exact)), np.bool_)
    found = scan_file(tmp_path / "train.txt", Layout(), exact, members, 1, lambda _: None)
    found.save(tmp_path / "scan.npz")
    again = Scan.load(tmp_path / "scan.npz")
    for scan in (found, again):
        assert exact.hashes[scan.grams].tolist() == sorted(asked.hashes[5 * 993 :][:23].tolist())
        assert scan.times.tolist() == [1] * 23
        assert scan.left.tolist() == [0] * 23


def test_counts_of_many_files_are_not_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Count]] = []
    most = []

    def each(*_: Any, **__: Any) -> Iterator[tuple[Path, Count]]:
        for number in range(50):
            most.append(sum(one() is not None for one in made))
            count = Count(np.full(1 << 18, number % 7, np.uint8), 1, 1, Counter({"no text": 1}))
            made.append(weakref.ref(count))
            yield tmp_path, count
            del count

    monkeypatch.setattr(train_filter, "each_on", each)
    count = count_ngrams([tmp_path], Layout())
    assert (count.ngrams, count.documents, count.rejected) == (50, 50, {"no text": 50})
    assert (count.registers == 6).all()
    assert max(most) <= 2


def test_a_large_test_set_all_of_which_is_found_is_part_of_train(
    tmp_path: Path, corpus: Path
) -> None:
    whole = [sentences(n, 200) for n in range(60)]
    (tmp_path / "t.txt").write_text("\n".join(whole))
    found = measure(tmp_path, corpus, {"t": tmp_path / "t.txt"}, tests_layout=Layout(lines=True))
    assert found["t"]["ngrams"] == 60 * 193
    assert found["t"]["note"] == ("every 8-gram is in train: it is the training set, or part of it")


def test_rows_of_a_test_set_that_are_none_are_counted_and_the_others_named(
    tmp_path: Path, corpus: Path
) -> None:
    rows = ["{broken", "", '{"text": null}', json.dumps({"text": sentences(3, 40)}), '{"text": ""}']
    (tmp_path / "t.jsonl").write_text("\n".join(rows))
    found = measure(tmp_path, corpus, {"t": tmp_path / "t.jsonl"})
    assert found["t"]["note"] == (
        "left out: 1 (malformed row); left out: 2 (no text); every 8-gram is in train"
    )
    (row,) = pq.read_table(tmp_path / "out/samples.parquet").to_pylist()
    assert row["sample"] == "t.jsonl:4"


def test_another_cutting_of_a_test_set_is_another_measurement(tmp_path: Path, corpus: Path) -> None:
    lines = ["", " = First =", "", f" {sentences(3, 30)} ", " = = Part = =", sentences(900, 20),
             " = Second =", sentences(901, 20)]  # fmt: skip
    folder = tmp_path / "sets"
    folder.mkdir()
    (folder / "wikitext.raw").write_text(" \n".join(lines))
    where = {"evalsets": folder}
    by_name = measure(tmp_path, corpus, {"t": "wikitext"}, **where)
    by_path = measure(tmp_path, corpus, {"t": folder / "wikitext.raw"}, out="path")
    assert by_path == by_name
    samples = pq.read_table(tmp_path / "out/samples.parquet")["sample"].to_pylist()
    assert samples == ["First", "Second"]
    with pytest.raises(UserError, match="tests is .*articles.* there, .*lines.* here"):
        measure(tmp_path, corpus, {"t": "wikitext"}, tests_layout=Layout(lines=True), **where)


def test_tests_may_lie_otherwise_than_train(tmp_path: Path, stage: Stage) -> None:
    (tmp_path / "train.txt").write_text(f"{sentences(1, 40)}\n{sentences(2, 40)}\n")
    (tmp_path / "t.txt").write_text(f"{sentences(1, 20)}\n{sentences(9, 20)}\n")
    (tmp_path / "j.jsonl").write_text(json.dumps({"body": sentences(2, 20)}))
    done = stage("overlap", f"train=[{tmp_path}/train.txt]", "lines=true", "tests_lines=false",
                 f"tests.t={tmp_path}/t.txt", f"tests.j={tmp_path}/j.jsonl",
                 "tests_text_key=body", f"out={tmp_path}/out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out/overlap.json").read_text())
    assert found["t"]["ngrams"] == 33  # one sample: 8-grams cross the end of its line
    assert (found["t"]["overlapping"], found["j"]["overlapping"]) == (13, 13)
    assert manifest_of(tmp_path / "out")["rows_in"] == 2


def test_one_training_file_given_twice_is_refused_by_filters_and_overlap(
    tmp_path: Path, corpus: Path, stage: Stage
) -> None:
    (corpus / "copy.jsonl").write_bytes((corpus / "b.jsonl").read_bytes())
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    message = "b.jsonl and copy.jsonl have the same content: give each input once; leave one"
    with pytest.raises(UserError, match=message):
        measure(tmp_path, corpus, {"t": tmp_path / "t.txt"})
    done = stage("filters", f"train=[{corpus}]", f"out={tmp_path}/f.bloom", "ngrams=20000")
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "f.bloom").exists()
