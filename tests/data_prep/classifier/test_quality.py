"""The quality classifier: labels, the held-out figure, scores of documents, and what is refused."""

import json
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash

from data_prep.classifier.features import buckets_of
from data_prep.classifier.model import FILE, QualityModel, load_model
from data_prep.classifier.scoring import QualityLimit
from data_prep.documents import build_documents
from data_prep.extraction.page import TextRules
from data_prep.quality import train_quality
from data_prep.settings import Quality
from webtext_gpt.errors import UserError

from ..conftest import corpus_bytes, manifest_of
from ..test_documents import archive, article

Stage = Callable[..., subprocess.CompletedProcess[str]]

GOOD_WORDS = [
    "harbour", "storm", "morning", "boats", "quiet", "spoke", "counted", "nodded", "nights", "wind",
]  # fmt: skip
BAD_WORDS = [
    "click", "buy", "cheap", "offer", "login", "cookie", "banner", "sale", "free", "subscribe",
]  # fmt: skip
BOTH_WORDS = ["the", "of", "and", "to", "in", "a", "that", "was", "with", "for", "on", "it"]


def texts(kind: str, number: int, seed: int = 0) -> list[str]:
    """Write texts of common words with a few of their class, so that some are hard to tell."""
    rng = random.Random(f"{kind}{seed}")
    own = GOOD_WORDS if kind == "good" else BAD_WORDS
    other = BAD_WORDS if kind == "good" else GOOD_WORDS
    return [
        " ".join(rng.choice(rng.choices([BOTH_WORDS, own, other], [6, 2, 1])[0]) for _ in range(30))
        for _ in range(number)
    ]


def lines(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def two_files(tmp_path: Path) -> list[str]:
    return [
        f"{kind}={lines(tmp_path / f'{kind}.jsonl', [{'text': t} for t in texts(kind, 300)])}"
        for kind in ("good", "bad")
    ]


def trained(compose: Callable[..., Quality], out: Path, *arguments: str) -> dict[str, Any]:
    train_quality(compose("quality", f"out={out}", "buckets=4096", *arguments))
    return manifest_of(out)


def rank_auc(good: np.ndarray, bad: np.ndarray) -> float:
    """Count the pairs in which the good text has the higher score; a tie is half a pair."""
    wins = sum((g > bad).sum() + 0.5 * (g == bad).sum() for g in good)
    return float(wins / (len(good) * len(bad)))


def held_out(text: str, fraction: float = 0.1) -> bool:
    return xxhash.xxh3_128_intdigest(text.encode()) % 2**64 < fraction * 2**64


def test_the_figure_is_the_share_of_pairs_in_order(
    tmp_path: Path, two_files: list[str], compose: Callable[..., Quality]
) -> None:
    manifest = trained(compose, tmp_path / "m", *two_files)
    model = load_model(tmp_path / "m")
    scores = {
        kind: model.scores(pa.array([t for t in texts(kind, 300) if held_out(t)]))
        for kind in ("good", "bad")
    }
    assert {k: len(v) for k, v in scores.items()} == manifest["held_out"]
    assert manifest["trained"] == {k: 300 - n for k, n in manifest["held_out"].items()}
    auc = rank_auc(scores["good"], scores["bad"])
    assert auc == pytest.approx(manifest["auc"], abs=1e-3)  # scores are rounded to 32 bits
    assert 0.8 < auc < 1
    seen = rank_auc(*(model.scores(pa.array(texts(k, 300, seed=1))) for k in ("good", "bad")))
    assert seen == pytest.approx(auc, abs=0.1)  # texts that it never saw


def test_the_weights_minimize_the_loss_of_scikit_learns_own_features(
    tmp_path: Path, two_files: list[str], compose: Callable[..., Quality]
) -> None:
    """Single words in enough buckets are columns of counts; the words are found by a split."""
    from sklearn.linear_model import LogisticRegression

    trained(compose, tmp_path / "m", *two_files, "ngram=1", "buckets=1048576", "l2=0.01")
    model = load_model(tmp_path / "m")
    rows = [(t, k == "good") for k in ("good", "bad") for t in texts(k, 300)]
    words = sorted(set(GOOD_WORDS + BAD_WORDS + BOTH_WORDS))
    counts = np.array([[t.split().count(w) / len(t.split()) for w in words] for t, _ in rows])
    labels = np.array([label for _, label in rows])
    train = np.array([not held_out(t) for t, _ in rows])
    other = LogisticRegression(
        C=100, solver="liblinear", class_weight="balanced", tol=1e-6, max_iter=1000
    ).fit(counts[train], labels[train])
    expected = other.predict_proba(counts)[:, 1]
    assert model.scores(pa.array([t for t, _ in rows])) == pytest.approx(expected, abs=2e-3)


def test_files_rows_and_their_order_change_nothing(
    tmp_path: Path, two_files: list[str], compose: Callable[..., Quality]
) -> None:
    rows = [{"text": t, "label": k == "good"} for k in ("good", "bad") for t in texts(k, 300)]
    random.Random(0).shuffle(rows)
    one = lines(tmp_path / "rows.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / "rows.parquet")
    cells = [f'"{row["text"]}",{"good" if row["label"] else "bad"}\r\n' for row in rows]
    (tmp_path / "rows.csv").write_text("text,label\r\n" + "".join(cells))
    models = [trained(compose, tmp_path / "0", *two_files)["model"]]
    for name in (one, tmp_path / "rows.parquet", tmp_path / "rows.csv"):
        models.append(trained(compose, tmp_path / Path(name).suffix, f"labelled={name}")["model"])
    assert len(set(models)) == 1


def test_every_row_is_used_or_counted(tmp_path: Path, compose: Callable[..., Quality]) -> None:
    rows: list[Any] = [{"text": t, "stars": 5} for t in texts("good", 100)]
    rows += [{"text": t, "stars": 1.0} for t in texts("bad", 100)]
    rows += [{"text": rows[0]["text"], "stars": 5}] * 3  # repeated
    rows += [{"text": "of both", "stars": 5}, {"text": "of both", "stars": 1}]
    rows += [{"text": "middling", "stars": 3}, {"text": "?", "stars": None}, {"text": "lacking"}]
    rows += [{"text": " ", "stars": 1}]
    name = lines(tmp_path / "rows.jsonl", rows)
    manifest = trained(
        compose, tmp_path / "m", f"labelled={name}", "label_key=stars", "good_labels=[4,5]",
        "bad_labels=[1,2]", "texts=90",
    )  # fmt: skip
    assert manifest["rows_in"] == 209
    assert manifest["rejected"] == {
        "repeated text": 3, "both labels": 2, "another label": 1, "no label": 2, "no text": 1,
        "over the limit": 20,
    }  # fmt: skip
    assert sum(manifest["trained"].values()) + sum(manifest["held_out"].values()) == 180


def test_documents_take_the_karma_of_their_page(
    tmp_path: Path, compose: Callable[..., Quality]
) -> None:
    rows = [
        {"id": f"{k}{n}", "text": text, "url": f"https://www.{k}.com/{n}/?b=1&a=2"}
        for k in ("good", "bad") for n, text in enumerate(texts(k, 100))
    ]  # fmt: skip
    rows += [{"id": "x", "text": "of no link", "url": "http://other.com/"}]
    rows += [{"id": "y", "text": "in between", "url": "http://between.com/"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "documents.parquet")
    links = [
        {"url": f"http://{k}.com/{n}?a=2&b=1", "karma": 50 if k == "good" else 3}
        for k in ("good", "bad") for n in range(100)
    ]  # fmt: skip
    links += [{"url": "http://between.com", "karma": 20}]
    pq.write_table(pa.Table.from_pylist(links), tmp_path / "links.parquet")
    manifest = trained(
        compose, tmp_path / "m", f"documents={tmp_path}/documents.parquet",
        f"links={tmp_path}/links.parquet", "good_karma=50", "bad_karma=3",
    )  # fmt: skip
    assert manifest["rejected"] == {"no karma": 1, "karma between the classes": 1}
    assert manifest["trained"]["good"] + manifest["held_out"]["good"] == 100


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ([("a b", 1)] * 3, [], "there is no bad text.*2 repeated text"),
        ([("a b", 7)] * 3, [], "there is no good text.*3 another label"),
        ([("a b", 1), ("c d", 0)], [], "too few texts, 1 good text: held_out=0.1 leaves"),
        ([], [], "there is no good text"),
        ([("a b", 1)], ["label_key=score"], "there is no good text.*1 no label"),
        ([("a b", 1)], ["text_key=body"], "has a key 'body': .*; set text_key"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused_and_nothing_is_written(
    tmp_path: Path, compose: Callable[..., Quality], rows: list[tuple[str, int]], more: list[str],
    message: str,
) -> None:  # fmt: skip
    name = lines(tmp_path / "rows.jsonl", [{"text": t, "label": n} for t, n in rows])
    with pytest.raises(UserError, match=message):
        trained(compose, tmp_path / "m", f"labelled={name}", *more)
    assert not (tmp_path / "m").exists()


def test_columns_that_are_missing_are_named(
    tmp_path: Path, compose: Callable[..., Quality]
) -> None:
    pq.write_table(pa.table({"text": ["a"], "url": ["u"]}), tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_text("a")
    for name in ("a.parquet", "a.txt"):
        with pytest.raises(UserError, match=rf"{name}: no column 'label', only.*set label_key"):
            trained(compose, tmp_path / "m", f"labelled={tmp_path / name}")


@pytest.mark.parametrize("number", [1023, 1024, 2048])
@pytest.mark.parametrize("blank", [0, 1024])
def test_a_csv_file_may_have_any_number_of_rows(
    tmp_path: Path, compose: Callable[..., Quality], number: int, blank: int
) -> None:
    """Rows are read 1,024 at a time, and a batch may hold no text, or nothing."""
    rows = [f"{kind} {at},{kind}" for at in range(number // 2) for kind in ("good", "bad")]
    rows += ["one more,good"] * (number % 2) + [" ,good"] * blank
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]))
    manifest = trained(compose, tmp_path / "m", f"labelled={tmp_path / 'a.csv'}")
    assert (manifest["rows_in"], manifest["rows_out"]) == (number + blank, number)
    assert manifest["rejected"] == ({"no text": blank} if blank else {})


@pytest.mark.parametrize(("good", "bad"), [("True", "False"), ("1.0", "0.0"), ("1", "0")])
def test_labels_as_pandas_writes_them_are_read(
    tmp_path: Path, compose: Callable[..., Quality], good: str, bad: str
) -> None:
    rows = [f"{text} {at},{text}" for at in range(100) for text in (good, bad)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]))
    assert trained(compose, tmp_path / "m", f"labelled={tmp_path / 'a.csv'}")["rows_out"] == 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,good\nb,bad\n", "no column 'text'.*must name the columns; set text_key"),
        (b"text;label\na;good\n", "no column 'text'.*put the line sep=; first; set text_key"),
        (b"text,label\na,b,good\n", "line 2 .*has 3 cells.*quote cells that hold ','"),
        (b'text,label\n"a,good\n', "a quote is never closed.*convert the file to JSONL"),
        (b"text,label\ncaf\xe9,good\n", "line 2 is not utf-8: byte 0xe9; convert it"),
        (b"text,label\n", "there is no good text"),
    ],
)
def test_advice_about_csv_names_settings_that_there_are(
    tmp_path: Path, compose: Callable[..., Quality], content: bytes, message: str
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        trained(compose, tmp_path / "m", f"labelled={tmp_path / 'a.csv'}")
    assert "task." not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either good= and bad=, or labelled=, or documents= and links=; given: none"),
        (["good=a"], "given: good= and bad="),
        (["good=a", "bad=b", "labelled=c"], "given: good= and bad=, labelled="),
        (["documents=a", "links=b"], "links= needs good_karma= and bad_karma="),
        (["documents=a", "links=b", "good_karma=3", "bad_karma=3"], "bad_karma=3 is not below"),
        (["good=a", "bad=b", "good_karma=3"], "have an effect only with links="),
        (["labelled=a", "bad_labels=[1]"], "bad_labels=1 is among good_labels"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    compose: Callable[..., Quality], arguments: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        compose("quality", "out=m", *arguments)


def test_buckets_by_hand() -> None:
    """Words and pairs of words; no pair crosses from one text to the next."""
    found, offsets = buckets_of(pa.array(["a b a b", "", "c", "b c"]), 2, 1 << 40)
    assert offsets.tolist() == [0, 7, 7, 8, 11]
    one, two, three, four, *pairs = found[:7].tolist()
    assert (one, two) == (three, four)
    assert one != two
    assert pairs[0] == pairs[2] != pairs[1]
    assert found[8] == two  # `b`
    assert found[9] == found[7]  # `c`
    assert len(set(found.tolist())) == 6  # a, b, c, `a b`, `b a`, `b c`


def test_scores_by_hand() -> None:
    weights = np.zeros(1000, np.float32)
    (a, b, pair), _ = buckets_of(pa.array(["a b"]), 2, 1000)
    weights[[a, b, pair]] = 3, -1, 4
    scores = QualityModel(weights, 0.5, 2).scores(pa.array(["a b", "", "a"]))
    assert scores == pytest.approx(1 / (1 + np.exp(-np.array([0.5 + 2, 0.5, 0.5 + 3]))))


def test_limits_by_hand() -> None:
    scores = np.array([0.4, 0.1, 0.3, 0.2, 0.5], np.float32)
    for percentile, kept in ((10, 5), (20, 4), (39, 4), (40, 3), (99, 1)):
        lowest = QualityLimit(percentile=percentile).lowest(scores)
        assert (scores >= np.float32(lowest)).sum() == kept
    assert (np.ones(9) >= QualityLimit(percentile=50).lowest(np.ones(9, np.float32))).all()
    assert QualityLimit(threshold=0.7).lowest(scores) == 0.7
    assert QualityLimit(percentile=20).lowest(scores[:0]) == 0


@pytest.fixture
def pages(tmp_path: Path) -> list[str]:
    good, bad = texts("good", 30, seed=2), texts("bad", 30, seed=2)
    bodies = [
        f"The harbour. {(t + '. ') * 4}" for pair in zip(good, bad, strict=True) for t in pair
    ]
    return [
        archive(tmp_path / f"{n}.warc.gz",
                [(f"http://x.com/{i}", article(i, bodies[i])) for i in range(n, 60, 3)])
        for n in range(3)
    ]  # fmt: skip


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for p in sorted(folder.glob("documents-*.parquet"))
            for row in pq.read_table(p).to_pylist()]  # fmt: skip


RULES = TextRules(language="", min_tokens=10)


def test_scores_are_added_and_low_ones_dropped(
    tmp_path: Path, two_files: list[str], pages: list[str], compose: Callable[..., Quality]
) -> None:
    trained(compose, tmp_path / "m", *two_files)
    model = load_model(tmp_path / "m")
    build_documents(pages, tmp_path / "plain", RULES, workers_at_once=1)
    build_documents(pages[::-1], tmp_path / "all", RULES, model=model, workers_at_once=2)
    plain, scored = rows_of(tmp_path / "plain"), rows_of(tmp_path / "all")
    scores = model.scores(pa.array([row["text"] for row in plain]))
    assert [row.pop("quality") for row in scored] == scores.tolist()
    assert scored == plain
    assert len(plain) == 60

    limit = QualityLimit(percentile=25)
    for out, workers in (("one", 1), ("two", 2)):
        build_documents(pages, tmp_path / out, RULES, model=model, limit=limit,
                        keep_dropped=True, workers_at_once=workers)  # fmt: skip
    assert corpus_bytes(tmp_path / "one") == corpus_bytes(tmp_path / "two")
    manifest = manifest_of(tmp_path / "one")
    assert manifest["rejected"] == {"low quality": 15}
    assert manifest["config"]["quality"] == {
        "model": model.hash, "threshold": None, "percentile": 25,
    }  # fmt: skip
    assert manifest["quality"]["lowest"] == np.sort(scores)[15]
    kept = [row["url"] for row in rows_of(tmp_path / "one")]
    assert kept == [
        r["url"] for r, s in zip(plain, scores, strict=True) if s >= np.sort(scores)[15]
    ]
    dropped = [row for p in (tmp_path / "one/dropped").iterdir()
               for row in pq.read_table(p).to_pylist()]  # fmt: skip
    assert {row["reason"] for row in dropped} == {"low quality"}
    assert {row["url"] for row in dropped}.isdisjoint(kept)
    assert len(dropped) == 15

    build_documents(pages, tmp_path / "above", RULES, model=model, limit=QualityLimit(0.5))
    assert manifest_of(tmp_path / "above")["rejected"] == {"low quality": int((scores < 0.5).sum())}
    with pytest.raises(UserError, match="quality is not recorded there"):
        build_documents(pages, tmp_path / "plain", RULES, model=model)


def test_without_a_model_nothing_of_it_is_in_the_corpus(tmp_path: Path, pages: list[str]) -> None:
    build_documents(pages, tmp_path / "plain", RULES)
    manifest = manifest_of(tmp_path / "plain")
    assert "quality" not in manifest
    assert "quality" not in manifest["config"]
    (name, *_) = (tmp_path / "plain").glob("*.parquet")
    assert pq.read_schema(name).names == [
        "id", "text", "url", "domain", "language", "language_score", "tokens",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_killed_stage_ends_with_the_same_bytes(
    tmp_path: Path, two_files: list[str], pages: list[str], compose: Callable[..., Quality],
    killed: Callable[..., int],
) -> None:  # fmt: skip
    trained(compose, tmp_path / "m", *two_files)
    build_documents(pages, tmp_path / "whole", RULES, model=load_model(tmp_path / "m"),
                    limit=QualityLimit(percentile=25))  # fmt: skip
    out = tmp_path / "rough"
    arguments = (
        f"pages=[{','.join(pages)}]", f"out={out}", "text.language=", "text.min_tokens=10",
        f"quality.model={tmp_path / 'm'}", "quality.percentile=25",
    )  # fmt: skip
    assert killed("documents", *arguments, kills=4, shortest=0.8, longest=3)
    assert corpus_bytes(out) == corpus_bytes(tmp_path / "whole")


def test_a_model_that_is_damaged_or_none_is_refused(
    tmp_path: Path, two_files: list[str], compose: Callable[..., Quality]
) -> None:
    trained(compose, tmp_path / "m", *two_files)
    weights = (tmp_path / "m" / FILE).read_bytes()
    for damaged in (
        weights[:-1], weights + b"\0", b"", weights[:500] + b"\1" + weights[501:],
        weights[:-4] + bytes(4),
    ):  # fmt: skip
        (tmp_path / "m" / FILE).write_bytes(damaged)
        if damaged == weights:
            continue
        with pytest.raises(UserError, match=f"{FILE} is not the file that manifest.json describes"):
            load_model(tmp_path / "m")
    (tmp_path / "m" / FILE).unlink()
    with pytest.raises(UserError, match=FILE):
        load_model(tmp_path / "m")
    with pytest.raises(UserError, match="no manifest.json there"):
        load_model(tmp_path)
    (tmp_path / "manifest.json").write_text('{"stage": "dedup"}')
    with pytest.raises(UserError, match="was made by dedup, not quality"):
        load_model(tmp_path)


@pytest.mark.slow
def test_the_report_tells_of_the_scores(
    tmp_path: Path, stage: Stage, two_files: list[str], pages: list[str],
    compose: Callable[..., Quality],
) -> None:  # fmt: skip
    auc = trained(compose, tmp_path / "m", *two_files)["auc"]
    done = stage(
        "documents", f"pages=[{','.join(pages)}]", f"out={tmp_path}/documents", "text.language=",
        "text.min_tokens=10", f"quality.model={tmp_path}/m", "quality.percentile=10",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = stage(
        "dedup", f"documents={tmp_path}/documents", f"out={tmp_path}/dedup", "carry=[url,quality]"
    )
    assert done.returncode == 0, done.stderr
    scores = {row["id"]: row["quality"] for row in rows_of(tmp_path / "documents")}
    for row in rows_of(tmp_path / "dedup"):
        assert float(row["quality"]) == pytest.approx(scores[row["id"]])
    done = stage(
        "report", f"documents={tmp_path}/documents", f"dedup={tmp_path}/dedup",
        f"out={tmp_path}/report",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report/report.md").read_text()
    assert f"| {auc:.4f} |" in text
    assert "| dropped for a lower one | 6 |" in text
    assert (tmp_path / "report/quality.png").exists()
