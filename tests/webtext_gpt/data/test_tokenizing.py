"""The one path from documents to ids: those of `tokenizers`, in order, a beginning compared."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from webtext_gpt.data import tokenizing
from webtext_gpt.data.encoding import FastEncoder
from webtext_gpt.data.prepare import held_out, prepare_shards
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import Split, TokenShards
from webtext_gpt.data.sources import Files, Hub, TextSource
from webtext_gpt.data.tokenizing import tokenized
from webtext_gpt.tokenizer import Tokenizer, train_bpe


@pytest.fixture(scope="module")
def trained(prose: str) -> Tokenizer:
    return train_bpe([prose], 500)


@pytest.fixture
def documents(prose: str) -> list[tuple[Split, str]]:
    """Documents of 0 to 600 characters, one of 90,000, and long words."""
    texts = [prose[at : at + at % 601] for at in range(0, 9000, 30)]
    texts += [(prose * 99)[:90_000], "x" * 5000, "", "\U0001f469\u200d" * 300]
    return [("validation" if held_out(text, 0.2) else "train", text) for text in texts]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizing, "FAST_FROM", 1500)
    monkeypatch.setattr(tokenizing, "BATCH", 700)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.usefixtures("small_batches")
def test_documents_keep_their_order_and_get_the_ids_of_tokenizers(
    documents: list[tuple[Split, str]], trained: Tokenizer, threads: int
) -> None:
    found = list(tokenized(documents, trained, threads))
    assert [(split, text) for split, text, _ in found] == documents
    assert [ids.tolist() for _, _, ids in found] == [trained.encode(text) for _, text in documents]


def test_few_documents_do_not_wait_for_the_loops(
    trained: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tokenizing, "FastEncoder")
    assert [ids.tolist() for *_, ids in tokenized([("train", "a b")], trained)] == [
        trained.encode("a b")
    ]
    assert list(tokenized([], trained)) == []


@pytest.mark.usefixtures("small_batches")
def test_a_bounded_beginning_is_encoded_twice(
    documents: list[tuple[Split, str]], trained: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizing, "CHECKED", 1234)
    encoded: list[str] = []
    slowly = Tokenizer.encode_batch

    def counted(self: Tokenizer, texts: list[str]) -> Any:
        encoded.extend(texts)
        return slowly(self, texts)

    monkeypatch.setattr(Tokenizer, "encode_batch", counted)
    list(tokenized([("train", "book " * 10_000), *documents], trained, 2))
    assert sum(map(len, encoded)) == 1234


@pytest.mark.usefixtures("small_batches")
def test_other_ids_than_those_of_tokenizers_are_noticed(
    documents: list[tuple[Split, str]], trained: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: FastEncoder, texts: list[str]) -> list[Any]:
        return [np.zeros(3, np.uint32) for _ in texts]

    monkeypatch.setattr(FastEncoder, "encode_batch", wrong)
    with pytest.raises(RuntimeError, match="other token ids"):
        list(tokenized(documents, trained))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("small_batches")
def test_the_files_are_those_that_tokenizers_gives(
    tmp_path: Path, documents: list[tuple[Split, str]], trained: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Also the number of files and their names, which depend on the order of the documents."""
    for threads in (1, 3):
        write_shards(documents, trained, tmp_path / f"{threads}", {}, shard_tokens=900,
                     threads=threads)  # fmt: skip
    monkeypatch.setattr(tokenizing, "FAST_FROM", 10**9)
    write_shards(documents, trained, tmp_path / "slow", {}, shard_tokens=900)
    assert len(list((tmp_path / "slow").glob("tokens-*.bin"))) > 5
    assert _bytes(tmp_path / "1") == _bytes(tmp_path / "3") == _bytes(tmp_path / "slow")


@pytest.mark.usefixtures("small_batches")
def test_text_files_json_and_the_hub_give_the_same_tokens(tmp_path: Path, prose: str) -> None:
    """The cached ids of data=files and data=hub equal those of `tokenizers`."""
    texts = [prose[at : at + 400] for at in range(0, 20_000, 400)]
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(texts):
        (tmp_path / f"texts/{number:03d}.txt").write_text(text)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    recipe = functools.partial(train_bpe, vocab_size=300)
    sources: list[TextSource] = [
        Files(str(tmp_path / "texts"), 0.2),
        Files(str(rows), 0.2),
        Hub("json", 0.2, data_files=str(rows)),
    ]
    made = [prepare_shards(source, recipe, tmp_path / "cache") for source in sources]
    for shards in made:
        shards.verify()
        for split, held in (("train", False), ("validation", True)):
            due = [shards.tokenizer.encode(t) for t in texts if held_out(t, 0.2) is held]
            assert [d.tolist() for d in TokenShards(shards.folder).split(split).documents()] == due
    assert len({shards.hash for shards in made}) == 1
