"""The shard format: reading returns what was written, and damaged files are named."""

import ctypes
import hashlib
import json
import mmap
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from webtext_gpt.data import shard_writer, shards
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import ShardFile, TokenShards, TokenStream, token_dtype
from webtext_gpt.errors import UserError
from webtext_gpt.manifests import sealed
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary, train_bpe

DOCUMENTS = [
    ("train", "abc"),
    ("validation", "cab"),
    ("train", "a"),
    ("train", "bbbb"),
    ("validation", "c"),
]


@pytest.fixture
def tokenizer() -> Tokenizer:
    return build_char_vocabulary(["abc"])  # a b c <|endoftext|> are 0 1 2 3


@pytest.fixture
def folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    write_shards(DOCUMENTS, tokenizer, tmp_path / "shards", {"kind": "test"}, shard_tokens=5)
    return tmp_path / "shards"


def test_documents_begin_with_end_of_text(folder: Path) -> None:
    shards = TokenShards(folder)
    train = shards.split("train")
    assert train.read(0, 99).tolist() == [3, 0, 1, 2, 3, 0, 3, 1, 1, 1, 1]
    assert [d.tolist() for d in train.documents()] == [[0, 1, 2], [0], [1, 1, 1, 1]]
    assert (train.n_tokens, train.n_documents, train.n_bytes) == (11, 3, 8)
    assert shards.split("validation").read(0, 99).tolist() == [3, 2, 0, 1, 3, 2]


def test_files_are_flat_little_endian(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    first = next(file for file in manifest["files"] if file["split"] == "train")
    data = np.fromfile(folder / first["tokens_file"], dtype="<u2")
    assert data.tolist() == [3, 0, 1, 2, 3, 0]  # a file ends after the document that fills it
    assert np.fromfile(folder / first["documents_file"], dtype="<u8").tolist() == [0, 4]
    assert manifest["source"] == {"kind": "test"}
    assert manifest["dtype"] == "uint16"


def test_a_read_crosses_files(folder: Path) -> None:
    assert TokenShards(folder).split("train").read(4, 4).tolist() == [3, 0, 3, 1]


def test_ids_above_16_bits_are_kept(tmp_path: Path) -> None:
    assert token_dtype(2**16) == np.dtype("<u2")
    assert token_dtype(2**16 + 1) == np.dtype("<u4")
    characters = "".join(map(chr, range(0x10000, 0x10000 + 70_000)))
    tokenizer = build_char_vocabulary([characters])
    write_shards([("train", characters[-2:])], tokenizer, tmp_path / "wide", {})
    shards = TokenShards(tmp_path / "wide")
    shards.verify()
    assert shards.split("train").read(0, 3).tolist() == [70_000, 69_998, 69_999]


def test_an_intact_folder_verifies(folder: Path) -> None:
    TokenShards(folder).verify()


def test_a_file_cut_short_is_named(folder: Path) -> None:
    path = folder / "tokens-00000.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(UserError, match=r"tokens-00000.bin has 10 bytes, but .* states 12"):
        TokenShards(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "documents-00001.bin").unlink()
    with pytest.raises(UserError, match="documents-00001.bin is missing"):
        TokenShards(folder)


@pytest.mark.parametrize("name", ["tokens-00001.bin", "documents-00001.bin"])
def test_an_altered_file_is_named(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[0] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(UserError, match=f"{name} was altered"):
        TokenShards(folder).verify()


def rewritten(folder: Path, name: str, values: list[int], dtype: str) -> None:
    """Replace a file and its hash in the manifest, as a program with a defect would write it."""
    data = np.array(values, dtype).tobytes()
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        for kind in ("tokens", "documents"):
            if file[f"{kind}_file"] == name:
                file[f"{kind}_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest)))


def test_an_id_outside_the_vocabulary_is_named(folder: Path) -> None:
    rewritten(folder, "tokens-00000.bin", [3, 0, 1, 4, 3, 0], "<u2")
    with pytest.raises(UserError, match="tokens-00000.bin holds id 4, but the vocabulary ends at"):
        TokenShards(folder).verify()


@pytest.mark.parametrize(
    "starts", [[1, 4], [4, 0], [0, 0], [0, 6], [0, 2**63], [0, 2**64 - 1]], ids=str
)
def test_document_starts_out_of_order_or_range_are_named(folder: Path, starts: list[int]) -> None:
    rewritten(folder, "documents-00000.bin", starts, "<u8")
    with pytest.raises(UserError, match=r"documents-00000.bin does not hold .* less than 6, the"):
        TokenShards(folder)


def test_documents_that_do_not_begin_with_end_of_text_are_named(folder: Path) -> None:
    rewritten(folder, "documents-00000.bin", [0, 3], "<u8")
    with pytest.raises(UserError, match=r"documents-00000.bin has a document .* end-of-text \(3\)"):
        TokenShards(folder).verify()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("files", [], "files: "),
        ("files", {}, "files: "),
        ("files", None, "files: "),
        ("files", [3], r"files\[0\]: "),
        ("format", "other", "format: "),
        ("version", "1", "version 1 of the format"),
        ("version", None, "version None of the format"),
        ("dtype", "uint32", "dtype: uint32, but 4 ids are stored as uint16"),
        ("dtype", "float16", "dtype: "),
        ("dtype", 2, "dtype: "),
        ("vocab_size", True, "vocab_size: .*found True"),
        ("vocab_size", 4.0, "vocab_size: .*found 4.0"),
        ("vocab_size", 0, "vocab_size: "),
        ("vocab_size", 5, "vocab_size is 5 there, 4 in tokenizer.json"),
        ("end_of_text", -1, "end_of_text: .*found -1"),
        ("end_of_text", 4, "end_of_text: 4 is outside the vocabulary of 4 ids"),
        ("end_of_text", 2, "end_of_text is 2 there, 3 in tokenizer.json"),
        ("end_of_text", "3", "end_of_text: .*found '3'"),
        ("tokenizer_sha256", "0" * 63, "tokenizer_sha256: "),
        ("tokenizer_sha256", None, "tokenizer_sha256: "),
        ("files.n_tokens", -6, r"files\[0\].n_tokens: .*found -6"),
        ("files.n_tokens", float("nan"), r"files\[0\].n_tokens: .*found nan"),
        ("files.n_tokens", "6", r"files\[0\].n_tokens: .*found '6'"),
        ("files.n_tokens", 6.0, r"files\[0\].n_tokens: .*found 6.0"),
        ("files.n_tokens", 2**70, r"files\[0\].n_tokens: "),
        ("files.n_documents", True, r"files\[0\].n_documents: .*found True"),
        ("files.n_documents", 7, r"files\[0\]: 7 documents cannot begin in 6 tokens"),
        ("files.n_documents", 3, "documents-00000.bin has 16 bytes, but the manifest states 24"),
        ("files.n_bytes", -1, r"files\[0\].n_bytes: .*found -1"),
        ("files.n_bytes", 5, "manifest.json was altered: it differs from the hash in it"),
        ("files.split", "test", r"files\[0\].split: "),
        ("files.tokens_sha256", "A" * 64, r"files\[0\].tokens_sha256: "),
        ("files.tokens_file", "../tokens-00000.bin", r"'\.\./tokens-00000.bin' is not the name of"),
        ("files.tokens_file", "..", r"'\.\.' is not the name"),
        ("files.tokens_file", "/etc/passwd", "'/etc/passwd' is not the name"),
        ("files.documents_file", "a\\b", "is not the name"),
        ("files.documents_file", "", "'' is not the name"),
        ("files.documents_file", 1, r"files\[0\].documents_file: "),
        ("files.documents_file", "documents-00001.bin", "documents-00001.bin is listed 2 times"),
        ("files.documents_file", "tokens-00000.bin", "tokens-00000.bin is listed 2 times"),
    ],
)  # fmt: skip
def test_a_wrong_value_in_the_manifest_is_named(
    folder: Path, key: str, value: object, message: str
) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    entry = manifest["files"][0] if key.startswith("files.") else manifest
    entry[key.removeprefix("files.")] = value
    path.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=message) as refusal:
        TokenShards(folder)
    assert str(folder) in str(refusal.value)


def test_a_missing_key_of_the_manifest_is_named_and_older_ones_are_read(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for key in ("format", "version", "dtype", "vocab_size", "end_of_text", "tokenizer_sha256",
                "files"):  # fmt: skip
        path.write_text(json.dumps({k: v for k, v in manifest.items() if k != key}))
        with pytest.raises(UserError, match=f"manifest.json .*: {key}: Field required"):
            TokenShards(folder)
    for key in list(manifest["files"][1]):
        value = manifest["files"][1].pop(key)
        path.write_text(json.dumps(manifest))
        with pytest.raises(UserError, match=rf"files\[1\].{key}: "):
            TokenShards(folder)
        manifest["files"][1][key] = value
    del manifest["manifest_sha256"]  # as version 1 was written first
    path.write_text(json.dumps(manifest))
    TokenShards(folder).verify()


def test_another_tokenizer_is_refused(folder: Path) -> None:
    train_bpe(["abc"], vocab_size=257).save(folder / "tokenizer.json")
    with pytest.raises(UserError, match="not the tokenizer that made these shards"):
        TokenShards(folder)


def test_another_version_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"version": 2}))
    with pytest.raises(UserError, match="version 2 of the format"):
        TokenShards(folder)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no manifest.json; to train on texts, set data=files"):
        TokenShards(tmp_path)


def test_what_is_not_a_folder_of_shards_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "dedup").mkdir()
    (tmp_path / "dedup" / "manifest.json").write_text('{"stage": "dedup"}')
    for path, message in (
        ("", "data.path= is empty"),
        (
            tmp_path / "gone",
            "data.path=.*gone does not exist .*; .* texts, set data=files",
        ),
        (tmp_path / "a.txt", "a.txt is a file, not a folder of token shards; .* data=files"),
        (tmp_path / "dedup", "dedup holds what the stage dedup wrote, not token shards"),
        (folder.parent, f"is not a folder of token shards, but holds one; set data.path={folder}"),
    ):
        with pytest.raises(UserError, match=message):
            TokenShards(path)
    for content in ("[]", "{", "{}"):
        (tmp_path / "dedup" / "manifest.json").write_text(content)
        with pytest.raises(UserError, match="manifest.json is not a manifest of token shards"):
            TokenShards(tmp_path / "dedup")


def test_an_existing_folder_is_not_overwritten(folder: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(UserError, match="exists already"):
        write_shards(DOCUMENTS, tokenizer, folder, {})


def test_a_failed_write_leaves_nothing(tokenizer: Tokenizer, tmp_path: Path) -> None:
    documents = [*DOCUMENTS, ("train", "not in the vocabulary")]
    with pytest.raises(UserError, match="'n', is not one of the 3 characters"):
        write_shards(documents, tokenizer, tmp_path / "shards", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 1, [0]), (0, 4, [0]), (3, 5, [0, 1]), (4, 6, [1]), (5, 7, [1, 2]), (2, 11, [0, 1, 2])],
)
def test_documents_of_token_positions(
    folder: Path, start: int, end: int, expected: list[int]
) -> None:
    """Tokens 0 to 3 are the first document's, 4 and 5 the second's, the rest the third's."""
    train = TokenShards(folder).split("train")
    assert list(train.document_numbers(start, end)) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which pages are in memory")
def test_a_sample_of_a_large_corpus_reads_its_own_pages_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,025 tokens of 2 bytes lie on one or two pages of 4,096 bytes, of a file of holes."""
    monkeypatch.setattr(shards, "READ_AHEAD_BYTES", 0)
    n_tokens, start = 2**25, 10_000_000
    with (tmp_path / "t.bin").open("wb") as file:
        file.truncate(2 * n_tokens)
    (tmp_path / "d.bin").write_bytes(bytes(8))
    digest = hashlib.sha256(bytes(8)).hexdigest()
    entry = ShardFile("t.bin", "d.bin", "train", n_tokens, 1, n_tokens, "0" * 64, digest)
    stream = TokenStream(tmp_path, [entry], np.dtype("<u2"))
    assert stream.read(start, 1025).sum() == 0
    assert 1 <= pages_in_memory(tmp_path / "t.bin") <= 2


def pages_in_memory(path: Path) -> int:
    """Return how many pages of a file are in memory, by mincore(2)."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    flags = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    asked = ctypes.CDLL(None, use_errno=True).mincore(
        ctypes.c_void_p(address), ctypes.c_size_t(len(mapped)), flags
    )
    assert asked == 0, ctypes.get_errno()
    return sum(flag & 1 for flag in flags)


def test_the_bar_is_full_at_the_end(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with \\r\\n holds more bytes than the text that is read from it."""
    bars, real = [], shard_writer.progress_bar

    def noted(*arguments: Any, **options: Any) -> Any:
        bars.append(real(*arguments, **options))
        return bars[-1]

    monkeypatch.setattr(shard_writer, "progress_bar", noted)
    n_bytes = sum(len(text.encode()) for _, text in DOCUMENTS)
    write_shards(DOCUMENTS, tokenizer, tmp_path / "one", {}, total_bytes=n_bytes + 7)
    (bar,) = bars
    assert (bar.n, bar.total) == (n_bytes, n_bytes)
