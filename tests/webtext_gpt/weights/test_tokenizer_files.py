"""Tokenizers of exported and foreign models: same ids as transformers, on difficult strings."""

import json
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.tokenizer import (
    Tokenizer,
    build_char_vocabulary,
    from_gpt2_files,
    load_gpt2,
    train_bpe,
)
from webtext_gpt.weights import hugging_face
from webtext_gpt.weights.tokenizer_files import given_tokenizer

HARD = [
    "",
    " ",
    "   leading, trailing   \n\n\n",
    "tabs\t\tand\r\nreturns\x00 and \x85 \u2028 \u00a0 spaces",
    "I'll can't WE'VE it's",
    "naïve café, e\u0301 and \ufb01",
    "日本語とעברית и ελληνικά",
    "👩\u200d👩\u200d👧 🏳️\u200d🌈",
    "3.14159e-10 1234567890",
    "<|endof text|> </w> <unk> Ġ",
    "a" * 300,
]
SPECIAL = "one<|endoftext|>two"


def _exported(tokenizer: Tokenizer, folder: Path, **extra: int) -> Path:
    config = GPTConfig(n_layer=1, n_head=1, n_embd=4, block_size=8, vocab_size=tokenizer.vocab_size)
    body = GPT(config)
    head = ClassifierConfig(labels=("no", "yes"), **extra) if extra else None
    hugging_face.save(GPTClassifier(body, head) if head else body, tokenizer, folder)
    return folder


def _check_ids(ours: Tokenizer, folder: Path, transformers_remarks: list[str]) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    assert transformers_remarks == []
    for text in HARD:
        assert theirs(text).input_ids == ours.encode(text), repr(text)
        assert theirs.decode(ours.encode(text)) == ours.decode(ours.encode(text)) == text
    assert theirs.bos_token_id == theirs.eos_token_id == ours.end_of_text
    assert len(theirs) == ours.vocab_size


def test_gpt2s_own_vocabulary(
    realdata: Path, tmp_path: Path, transformers_remarks: list[str]
) -> None:
    ours = load_gpt2(realdata / "tokenizer")
    folder = _exported(ours, tmp_path / "out")
    _check_ids(ours, folder, transformers_remarks)
    vocab = json.loads((folder / "vocab.json").read_text())
    assert vocab == json.loads((realdata / "tokenizer" / "encoder.json").read_text())
    merges = (folder / "merges.txt").read_text().split("\n")
    original = (realdata / "tokenizer" / "vocab.bpe").read_text().split("\n")
    assert merges[1:] == original[1:]
    assert from_gpt2_files(folder / "vocab.json", folder / "merges.txt").hash == ours.hash


def test_a_trained_vocabulary(prose: str, tmp_path: Path, transformers_remarks: list[str]) -> None:
    ours = train_bpe([prose], 280)
    _check_ids(ours, _exported(ours, tmp_path / "out"), transformers_remarks)


def test_characters(tmp_path: Path, transformers_remarks: list[str]) -> None:
    ours = build_char_vocabulary(HARD)
    folder = _exported(ours, tmp_path / "out")
    _check_ids(ours, folder, transformers_remarks)
    assert not (folder / "merges.txt").exists()


def test_end_of_text_in_a_text_is_text_to_us_and_an_end_to_transformers(
    prose: str, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    ours = train_bpe([prose], 280)
    folder = _exported(ours, tmp_path / "out")
    theirs = AutoTokenizer.from_pretrained(folder)
    ends = [ours.end_of_text]
    assert theirs(SPECIAL).input_ids == ours.encode("one") + ends + ours.encode("two")
    assert ours.end_of_text not in ours.encode(SPECIAL)
    assert ours.decode(ours.encode(SPECIAL)) == SPECIAL
    as_ours = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
    assert as_ours(SPECIAL).input_ids == ours.encode(SPECIAL)


def test_a_classifiers_tokenizer_adds_its_special_tokens(prose: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    ours = train_bpe([prose], 280)
    special = {  # four ids that the prose does not use
        "start_token_id": 0,
        "delimiter_token_id": 1,
        "extract_token_id": 2,
        "pad_token_id": 3,
    }
    theirs = AutoTokenizer.from_pretrained(_exported(ours, tmp_path / "out", **special))
    cat, dog = ours.encode("the cat"), ours.encode("a dog")
    assert theirs("the cat").input_ids == [0, *cat, 2]
    assert theirs("the cat", "a dog").input_ids == [0, *cat, 1, *dog, 2]
    again, tokenizer = hugging_face.load(tmp_path / "out")
    batch = theirs(["a dog", "a"], padding=True, return_tensors="pt")
    assert batch.input_ids[1, -1] == 3
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    with torch.inference_mode():
        expected = model(**batch).logits
        for text, logits in zip(("a dog", "a"), expected, strict=True):
            alone = again(torch.tensor([[0, *ours.encode(text), 2]]))[0]
            torch.testing.assert_close(alone, logits, atol=1e-5, rtol=0)
    assert tokenizer.hash == ours.hash  # special tokens around a text are not part of it
    assert again.config.extract_token_id == 2


def test_truncation_and_padding_in_a_foreign_file_are_ignored(prose: str, tmp_path: Path) -> None:
    import tokenizers

    ours = train_bpe([prose], 280)
    folder = _exported(ours, tmp_path / "out")
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_truncation(3)
    backend.enable_padding(length=50)
    backend.save(str(folder / "tokenizer.json"))
    _, tokenizer = load_language_model(folder)
    assert tokenizer.encode(prose[:500]) == ours.encode(prose[:500])


def _gpt1_folder(folder: Path) -> Path:
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    tokens = ["<unk>", "t", "h", "e", "c", "a", ",", "th", "the"]
    tokens += ["e</w>", "the</w>", "t</w>", "at</w>", ",</w>", "cat</w>"]
    ids = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    merges = ["#version: 0.2", "t h", "th e</w>", "a t</w>", "c at</w>", ""]
    (folder / "merges.txt").write_text("\n".join(merges))
    torch.manual_seed(0)
    config = OpenAIGPTConfig(n_layer=1, n_head=1, n_embd=8, n_positions=8, vocab_size=len(ids))
    OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    return folder


def test_gpt1s_tokenizer_and_its_new_end_of_text(tmp_path: Path) -> None:
    from transformers import OpenAIGPTLMHeadModel
    from transformers.models.openai.tokenization_openai import OpenAIGPTTokenizer

    folder = _gpt1_folder(tmp_path)
    model, tokenizer = load_language_model(folder)
    theirs = OpenAIGPTTokenizer.from_pretrained(folder)
    for text in ("The cat, the CAT", "cät the", "the the\n\ncat §"):
        assert tokenizer.encode(text) == theirs(text).input_ids
    assert tokenizer.decode(tokenizer.encode("The  CAT")) == "the cat"  # the original is lost
    assert (tokenizer.end_of_text, model.config.vocab_size) == (15, 16)
    tokens = torch.tensor([tokenizer.encode("the cat , the cat")])
    with torch.inference_mode():
        logits = model(tokens)
        expected = OpenAIGPTLMHeadModel.from_pretrained(folder).eval()(tokens).logits
    torch.testing.assert_close(logits[..., :15], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(logits[..., 15], expected.mean(-1), atol=1e-4, rtol=0)


def test_gpt1s_early_names(tmp_path: Path) -> None:
    """OpenAI's code named gains, biases and weights g, b and w."""
    from safetensors.torch import load_file

    folder = _gpt1_folder(tmp_path)
    expected, _ = load_language_model(folder)
    early = {}
    for name, value in load_file(folder / "model.safetensors").items():
        stem, _, kind = name.removeprefix("transformer.").rpartition(".")
        short = {"weight": "g" if "ln_" in stem else "w", "bias": "b"}
        early[name if "embed" in name else f"{stem}.{short[kind]}"] = value
    early = {name.removeprefix("transformer."): value for name, value in early.items()}
    assert {"h.0.ln_1.g", "h.0.ln_1.b", "h.0.attn.c_attn.w"} < set(early)
    (folder / "model.safetensors").unlink()
    torch.save(early, folder / "pytorch_model.bin")
    found, _ = load_language_model(folder)
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


def test_a_given_tokenizer_is_read(prose: str, tmp_path: Path) -> None:
    ours = train_bpe([prose], 280)
    ours.save(tmp_path / "tokenizer.json")
    (tmp_path / "input.txt").write_text("cab")
    assert given_tokenizer(tmp_path / "tokenizer.json").hash == ours.hash
    assert given_tokenizer(tmp_path).hash == ours.hash
    assert given_tokenizer(tmp_path / "input.txt").encode("abc") == [0, 1, 2]
    with pytest.raises(UserError, match="is a pickle"):
        given_tokenizer(tmp_path / "meta.pkl")
