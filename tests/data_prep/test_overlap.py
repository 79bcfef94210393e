"""Overlap of test sets and train in both directions, compared with counts in plain Python."""

import json
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.ngrams.measurement import OverlapRules
from data_prep.overlap import measure_overlap, print_overlap
from data_prep.stage.readers import Layout
from webtext_gpt.errors import UserError

from .conftest import corpus_bytes, manifest_of
from .ngrams.overlaps import eight_grams, eight_grams_of_any, measure, sentences

Stage = Callable[..., subprocess.CompletedProcess[str]]
FIELDS = {"ngrams", "overlapping", "percent", "percent_unique", "false_positive_bound"}


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
def test_two_ray_workers_build_the_same_filter_and_report(
    tmp_path: Path, corpus: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
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


@pytest.mark.slow
def test_a_killed_measurement_resumes_to_the_same_bytes(
    tmp_path: Path, corpus: Path, stage: Stage, killed: Callable[..., int]
) -> None:
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    arguments = [f"train=[{corpus}]", f"tests.t={tmp_path / 't.txt'}", "remove=true", "workers=1"]
    assert stage("overlap", f"out={tmp_path / 'whole'}", *arguments).returncode == 0
    times = killed("overlap", f"out={tmp_path / 'again'}", *arguments, kills=3, shortest=0.8,
                   longest=2.2)  # fmt: skip
    assert times >= 1
    assert corpus_bytes(tmp_path / "whole") == corpus_bytes(tmp_path / "again")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tests.t={t}", "direction=sideways"], "direction=sideways: expected train, test or both"),
        ([], r"no test set: give tests\.NAME=PATH"),
        (["tests.t={t}", "direction=train", "remove=true"], "remove=true needs the documents"),
        (
            ["tests.t={t}", "threshold=0"],
            "threshold=0: expected a whole number of 8-grams, 1 or above",
        ),
        (["tests.t={t}", "threshold=many"], "threshold=many: expected a whole number"),
        (["tests.t={t}", "train=null"], r"give train=\[FILES\]"),
        (["tests.t={t}", "filter={t}"], "is not a Bloom filter of this project"),
        (["tests.t={t}", "text_key=body"], "b.jsonl: none of the first 30 rows has a key 'body'"),
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
        (broken, "utf8.parquet: none of the first 1 rows is UTF-8: row 1 of column 'text'"),
        (short, "has 8 words"),
        (tmp_path / "none", r"none does not exist \(looked from"),
    ):
        with pytest.raises(UserError, match=message):
            measure(tmp_path, train, tests, out=f"out-{train.name}")
    with pytest.raises(UserError, match=r"tests\.t=\./nowhere does not exist"):
        measure(tmp_path, corpus, {"t": "./nowhere"}, out="x")


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
def test_no_documents_overlap_with_nothing(tmp_path: Path, direction: str) -> None:
    (tmp_path / "train.jsonl").write_text("")
    (tmp_path / "t.txt").write_text(sentences(1, 20))
    measure(tmp_path, tmp_path / "train.jsonl", {"t": tmp_path / "t.txt"}, direction=direction)
    manifest = manifest_of(tmp_path / "out")
    assert manifest["rows_in"] == manifest["train_ngrams"] == 0
    assert manifest["results"]["t"]["overlap"]["overlapping"] == 0


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


@pytest.mark.parametrize(
    "direction", [*(pytest.param(d, marks=pytest.mark.slow) for d in ("train", "test")), "both"]
)
def test_one_process_and_two_give_the_same_bytes(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    monkeypatch.setattr("data_prep.ngrams.train_pass.PROCESS_BYTES", 1)  # else one is enough
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    rules = OverlapRules(direction=direction, remove=direction != "train")
    for number in (1, 2):
        measure_overlap(
            [str(corpus)], {"t": str(tmp_path / "t.txt")}, tmp_path / str(number), rules,
            keep_filter=direction != "test", workers_at_once=number,
        )  # fmt: skip
    one, two = corpus_bytes(tmp_path / "1"), corpus_bytes(tmp_path / "2")
    assert one == two
    assert ("train.bloom" in one) == (direction != "test")
    first, second = (manifest_of(tmp_path / str(number)) for number in (1, 2))
    assert {**first, "seconds": 0, "manifest_sha256": 0} == {
        **second, "seconds": 0, "manifest_sha256": 0
    }  # fmt: skip


def test_a_measurement_of_an_earlier_version_is_accepted_if_finished(
    tmp_path: Path, corpus: Path
) -> None:
    (tmp_path / "t.txt").write_text(sentences(3, 40))
    found = measure(tmp_path, corpus, {"t": tmp_path / "t.txt"})
    path = tmp_path / "out/manifest.json"
    older = json.loads(path.read_text())
    del older["config"]["passes"], older["filter"], older["manifest_sha256"]
    path.write_text(json.dumps(older))
    assert measure(tmp_path, corpus, {"t": tmp_path / "t.txt"}) == found
    print_overlap(older)
