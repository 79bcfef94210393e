"""The last two stages: a tokenizer trained on a sample, and shards that training reads."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.shards import build_shards
from data_prep.tokenizer import build_tokenizer
from webtext_gpt.data.encoding import FastEncoder
from webtext_gpt.data.prepare import held_out
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import END_OF_TEXT, Tokenizer, build_char_vocabulary, train_bpe

from .conftest import corpus_bytes, manifest_of

Stage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def texts(prose: str) -> list[str]:
    cut = [prose[at : at + 400] for at in range(0, len(prose), 400)]
    cut[3] += f" {END_OF_TEXT} is text"
    return cut


@pytest.fixture
def corpus(tmp_path: Path, texts: list[str]) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, part in (("a", texts[:50]), ("b", texts[50:120])):
        table = pa.table({"id": [f"{name}{n}" for n in range(len(part))], "text": part})
        pq.write_table(table, folder / f"{name}.parquet")
    lines = [json.dumps({"text": text}) + "\n" for text in texts[120:]] + ['{"text": ""}\n']
    (folder / "c.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def tokenizer(tmp_path: Path, prose: str) -> Path:
    path = tmp_path / "tokenizer.json"
    train_bpe([prose], 300).save(path)
    return path


def decoded(folder: Path) -> dict[str, set[str]]:
    shards = TokenShards(folder)
    shards.verify()
    return {
        split: {shards.tokenizer.decode(ids) for ids in shards.split(split).documents()}
        for split in ("train", "validation")
    }


def test_shards_hold_every_document_once_in_its_split(
    tmp_path: Path, corpus: Path, tokenizer: Path, texts: list[str]
) -> None:
    out = tmp_path / "shards"
    build_shards([str(corpus)], tokenizer, out, val_fraction=0.1, workers_at_once=1)
    found = decoded(out)
    assert found["validation"] == {text for text in texts if held_out(text, 0.1)}
    assert found["train"] == {text for text in texts if not held_out(text, 0.1)}
    manifest = manifest_of(out)
    assert manifest["format"] == "webtext-gpt token shards"
    assert manifest["rejected"] == {"no text": 1}
    assert manifest["rows_out"] == len(texts)
    stream = TokenShards(out).split("train")
    assert stream.n_documents == len(found["train"])
    assert stream.n_bytes == sum(len(text.encode()) for text in found["train"])


def test_the_stage_and_the_training_writer_write_the_same_files(
    tmp_path: Path, texts: list[str], tokenizer: Path
) -> None:
    (tmp_path / "one.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    build_shards([str(tmp_path / "one.jsonl")], tokenizer, tmp_path / "stage",
                 val_fraction=0.2, shard_tokens=4000)  # fmt: skip
    split: Any = ["train", "validation"]
    documents = [(split[held_out(text, 0.2)], text) for text in texts]
    write_shards(documents, Tokenizer.load(tokenizer), tmp_path / "training", {}, shard_tokens=4000)
    assert corpus_bytes(tmp_path / "stage") == corpus_bytes(tmp_path / "training")
    assert len(list((tmp_path / "stage").glob("tokens-*.bin"))) > 3
    ours, theirs = (json.loads((tmp_path / name / "manifest.json").read_text())
                    for name in ("stage", "training"))  # fmt: skip
    same = theirs.keys() - {"source", "manifest_sha256"}
    assert {key: ours[key] for key in same} == {key: theirs[key] for key in same}


def test_names_order_and_workers_change_nothing(
    tmp_path: Path, corpus: Path, tokenizer: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for new, old in (("z", "a.parquet"), ("y", "b.parquet")):
        (other / f"{new}.parquet").write_bytes((corpus / old).read_bytes())
    (other / "x.jsonl").write_bytes((corpus / "c.jsonl").read_bytes())
    for folder, workers in ((corpus, 1), (other, 2)):
        build_shards([str(folder)], tokenizer, tmp_path / f"out{workers}", val_fraction=0.1,
                     workers_at_once=workers)  # fmt: skip
    assert corpus_bytes(tmp_path / "out1") == corpus_bytes(tmp_path / "out2")


@pytest.mark.slow
def test_killed_shards_resume_to_the_same_bytes(
    tmp_path: Path, prose: str, tokenizer: Path, stage: Stage, killed: Callable[..., int]
) -> None:
    corpus = tmp_path / "large"
    corpus.mkdir()
    for number in range(5):
        rows = [{"text": f"{number} {n} {prose[n * 90 :]}"} for n in range(60)]
        (corpus / f"{number}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    arguments = [f"documents=[{corpus}]", f"tokenizer={tokenizer}", "workers=1", "val_fraction=0.1"]
    assert stage("shards", f"out={tmp_path / 'whole'}", *arguments).returncode == 0
    times = killed("shards", f"out={tmp_path / 'again'}", *arguments, kills=3, shortest=0.6,
                   longest=2.0)  # fmt: skip
    assert times >= 1
    assert corpus_bytes(tmp_path / "whole") == corpus_bytes(tmp_path / "again")


def test_a_stage_stopped_between_renames_resumes(
    tmp_path: Path, corpus: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, again = tmp_path / "whole", tmp_path / "again"
    options: dict[str, Any] = {"val_fraction": 0.1, "workers_at_once": 1}
    build_shards([str(corpus)], tokenizer, whole, **options)
    replaced = []

    def fail(self: Path, target: Path) -> Path:
        replaced.append(target)
        if target.name == "tokens-00002.bin":
            raise KeyboardInterrupt
        return Path(str(self)).rename(target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        with pytest.raises(KeyboardInterrupt):
            build_shards([str(corpus)], tokenizer, again, **options)
    assert not (again / "manifest.json").exists()
    build_shards([str(corpus)], tokenizer, again, **options)
    assert corpus_bytes(whole) == corpus_bytes(again)


def test_shards_of_another_tokenizer_are_refused(
    tmp_path: Path, corpus: Path, tokenizer: Path, prose: str
) -> None:
    out = tmp_path / "shards"
    build_shards([str(corpus)], tokenizer, out, val_fraction=0.1, workers_at_once=1)
    train_bpe([prose], 270).save(tokenizer)
    with pytest.raises(UserError, match="that differs: tokenizer_sha256 is"):
        build_shards([str(corpus)], tokenizer, out, val_fraction=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.0}, "val_fraction=0.0 must lie between 0 and 1"),
        ({"val_fraction": 1e-9}, "no document fell into the validation split"),
        ({"val_fraction": 1 - 1e-9}, "no document fell into the train split"),
        ({"tokenizer": "documents"}, "holds neither encoder.json"),
        ({"documents": ["nothing"]}, "documents=nothing does not exist"),
    ],
)
def test_bad_settings_are_refused(
    tmp_path: Path, corpus: Path, tokenizer: Path, options: dict[str, Any], message: str
) -> None:
    given: dict[str, Any] = {"documents": [str(corpus)], "tokenizer": tokenizer} | options
    if given["tokenizer"] == "documents":
        given["tokenizer"] = corpus
    with pytest.raises(UserError, match=message):
        build_shards(**given, out=tmp_path / "out", workers_at_once=1)
    assert not (tmp_path / "out").exists()  # so that the corrected call may use the folder


def test_a_tokenizer_is_trained_on_a_sample_chosen_by_content(
    tmp_path: Path, corpus: Path, texts: list[str]
) -> None:
    import xxhash

    size = sum(len(text.encode()) for text in texts)
    build_tokenizer([str(corpus)], tmp_path / "t", vocab_size=300, sample_bytes=size // 2, seed=5)
    manifest = manifest_of(tmp_path / "t")
    sample = [t for t in texts
              if xxhash.xxh3_64_intdigest(t.encode(), 5) < (size // 2) / size * 2**64]  # fmt: skip
    assert 0.3 * len(texts) < len(sample) < 0.7 * len(texts)
    assert manifest["sampled_bytes"] == sum(len(text.encode()) for text in sample)
    assert manifest["rows_out"] == len(sample)
    assert manifest["rejected"] == {"no text": 1, "not in sample": len(texts) - len(sample)}
    assert (manifest["config"]["sample_bytes"], manifest["config"]["seed"]) == (size // 2, 5)
    made = Tokenizer.load(tmp_path / "t/tokenizer.json")
    assert made.hash == train_bpe(sample, 300).hash == manifest["tokenizer_sha256"]
    with pytest.raises(UserError, match="seed is 5 there, 6 here"):
        build_tokenizer([str(corpus)], tmp_path / "t", vocab_size=300,
                        sample_bytes=size // 2, seed=6)  # fmt: skip


def test_a_sample_that_takes_no_document_is_not_called_an_empty_corpus(
    tmp_path: Path, corpus: Path
) -> None:
    with pytest.raises(UserError, match=r"sample_bytes=1 takes none of [\d,]+ documents; give"):
        build_tokenizer([str(corpus)], tmp_path / "t", vocab_size=300, sample_bytes=1)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 2.0])
@pytest.mark.parametrize("turned", [False, True])
def test_the_sample_is_the_same_in_any_order_and_read_once(
    tmp_path: Path, corpus: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch,
    share: float, turned: bool,
) -> None:  # fmt: skip
    """Also with one document a batch, so that the bound falls often and texts are left out."""
    import xxhash

    from data_prep import tokenizer as stage
    from data_prep.stage import readers
    from data_prep.stage.inputs import find_inputs

    size = sum(len(text.encode()) for text in texts)
    at_once, opened = readers.batches, []

    def one_by_one(path: Path, *rest: Any) -> Any:
        opened.append(path)
        for batch in at_once(path, *rest):
            for number in range(len(batch.texts)):
                yield replace(batch, texts=batch.texts.slice(number, 1), rejected=Counter())

    monkeypatch.setattr(stage, "batches", one_by_one)
    files = find_inputs([str(corpus)], readers.SUFFIXES)
    records = [
        stage.read_candidates(
            file, tmp_path, readers.Layout(), sample_bytes=int(size * share), seed=3
        )
        for file in files[:: -1 if turned else 1]
    ]
    sample = stage.Sample(tmp_path, records, int(size * share))
    found = sorted(sample.texts())
    bound = min(int(size * share) / size, 1) * 2**64
    assert found == sorted(t for t in texts if xxhash.xxh3_64_intdigest(t.encode(), 3) < bound)
    assert sorted(opened) == sorted(corpus.iterdir())
    assert (sample.read, sample.taken) == (len(texts), len(found))
    stored = sum(pq.read_metadata(tmp_path / record["file"]).num_rows for record in records)
    assert len(found) <= stored
    assert stored < len(texts) or share >= 0.9


@pytest.mark.slow
def test_many_small_files_use_the_loops_as_one_large_one(
    tmp_path: Path, corpus: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"val_fraction": 0.1, "workers_at_once": 1}
    build_shards([str(corpus)], tokenizer, tmp_path / "slow", **options)
    monkeypatch.setattr("data_prep.shards.FAST_FROM", 1)
    used = []
    encode = FastEncoder.encode_batch
    monkeypatch.setattr(
        FastEncoder, "encode_batch", lambda self, texts: used.append(1) or encode(self, texts)
    )
    build_shards([str(corpus)], tokenizer, tmp_path / "fast", **options)
    assert len(used) >= 2 * len(list(corpus.iterdir()))  # the check and the documents of each
    assert corpus_bytes(tmp_path / "slow") == corpus_bytes(tmp_path / "fast")


def test_gpt2s_own_tokenizer_is_used(tmp_path: Path, realdata: Path) -> None:
    build_tokenizer([], tmp_path / "t", gpt2=realdata / "tokenizer")
    made = Tokenizer.load(tmp_path / "t/tokenizer.json")
    assert made.encode("Hello world") == [15496, 995]  # ids of OpenAI's encoder
    assert made.end_of_text == 50256


def test_a_slow_tokenizer_is_reported(
    tmp_path: Path, corpus: Path, tokenizer: Path, texts: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    build_shards([str(corpus)], tokenizer, tmp_path / "fast", workers_at_once=1)
    assert "slower" not in capsys.readouterr().out
    characters = tmp_path / "characters.json"
    build_char_vocabulary(texts).save(characters)
    build_shards([str(corpus)], characters, tmp_path / "slow", workers_at_once=1)
    assert "several times slower" in capsys.readouterr().out
