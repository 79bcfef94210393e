"""GGUF exports, read by transformers, by llama.cpp's reader and, where installed, by llama.cpp."""

import dataclasses
import json
import unicodedata
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import normalizers, pre_tokenizers

from webtext_gpt.checkpoint.load import save_model
from webtext_gpt.errors import UserError
from webtext_gpt.generation.decoding import generate
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.tokenizer import (
    Tokenizer,
    build_char_vocabulary,
    from_gpt2_files,
    train_bpe,
)
from webtext_gpt.weights import gguf
from webtext_gpt.weights.convert import convert

SMALL = GPTConfig(n_layer=2, n_head=2, n_embd=32, vocab_size=320)
"""With the default context, because transformers ignores `gpt2.context_length`."""

PLAIN = ["It's  a\n\n test ", "日本語 1234567", "é🦙"]
ODD = ["", " ", "\t\r\n\u00a0\u3000x", "<|endoftext|>"]


@pytest.fixture(scope="module")
def bpe(prose: str) -> Tokenizer:
    """A tokenizer of 300 ids or fewer, with a second special token."""
    return train_bpe([prose], 290).with_tokens(["<|start|>"])


def random_model(config: GPTConfig) -> GPT:
    torch.manual_seed(0)
    model = GPT(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def changed(tokenizer: Tokenizer, change: Callable[[dict[str, Any]], None]) -> Tokenizer:
    contents = json.loads(tokenizer.to_json())
    change(contents)
    return Tokenizer.from_json(json.dumps(contents))


@pytest.mark.parametrize("option", [{}, {"tied_embeddings": False}, {"biases": False}])
def test_transformers_computes_the_same(
    bpe: Tokenizer, tmp_path: Path, option: dict[str, bool]
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = random_model(dataclasses.replace(SMALL, **option))
    gguf.save(model, bpe, tmp_path / "model.gguf")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf").eval()
    tokens = torch.randint(0, SMALL.vocab_size, (2, 50))
    with torch.inference_mode():
        torch.testing.assert_close(theirs(tokens).logits, model(tokens), rtol=0, atol=2e-5)
    their_tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file="model.gguf")
    for text in PLAIN:
        assert their_tokenizer(text, add_special_tokens=False).input_ids == bpe.encode(text)


@pytest.mark.parametrize(
    ("option", "value", "supported"),
    [
        ("positions", "rotary", "learned"),
        ("activation", "relu_squared", "gelu_tanh"),
        ("norm_type", "rms", "layer"),
        ("norm_gains", False, "true"),
        ("qk_norm", True, "false"),
        ("residual_scalars", True, "false"),
        ("value_embeddings", True, "false"),
        ("logits_soft_cap", 15.0, "null"),
    ],
)
def test_later_options_are_refused_by_name(
    option: str, value: object, supported: str, bpe: Tokenizer, tmp_path: Path
) -> None:
    model = random_model(dataclasses.replace(SMALL, block_size=8, **{option: value}))
    said = str(value).lower()
    with pytest.raises(UserError, match=rf"model\.{option}={said} .*supports only {supported}"):
        gguf.save(model, bpe, tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_keys_and_tensors_are_those_of_llama_cpp(bpe: Tokenizer, tmp_path: Path) -> None:
    """The names are the package's own; the shapes are GPT-2's, (in, out) in GGUF's order."""
    package = pytest.importorskip("gguf")
    model = random_model(dataclasses.replace(SMALL, tied_embeddings=False, block_size=64))
    gguf.save(model, bpe, tmp_path / "model.gguf")
    reader = package.GGUFReader(tmp_path / "model.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "gpt2"
    assert fields["gpt2.context_length"] == 64
    assert fields["gpt2.feed_forward_length"] == 128
    assert fields["gpt2.attention.layer_norm_epsilon"] == pytest.approx(1e-5)
    assert fields["tokenizer.ggml.bos_token_id"] == bpe.end_of_text
    assert fields["tokenizer.ggml.eos_token_id"] == bpe.end_of_text
    types = fields["tokenizer.ggml.token_type"]
    end, start = bpe.end_of_text, bpe.token_id("<|start|>")
    control, unused = package.TokenType.CONTROL, package.TokenType.UNUSED
    assert [i for i, kind in enumerate(types) if kind == control] == [end, start]
    padding = list(range(bpe.vocab_size, SMALL.vocab_size))
    assert [i for i, kind in enumerate(types) if kind == unused] == padding
    assert fields["tokenizer.ggml.tokens"][-1] == "[PAD319]"
    shapes = {tensor.name: tuple(map(int, tensor.shape)) for tensor in reader.tensors}
    names = package.TENSOR_NAMES
    expected = {
        names[kind].format(bid=layer)
        for kind in package.MODEL_TENSORS[package.MODEL_ARCH.GPT2]
        for layer in range(SMALL.n_layer)
    }
    assert {name.rpartition(".")[0] for name in shapes} == expected
    assert shapes["blk.1.attn_qkv.weight"] == (32, 96)
    assert shapes["blk.1.ffn_down.weight"] == (128, 32)
    assert shapes["output.weight"] == shapes["token_embd.weight"] == (32, 320)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"norm": "post"}, "model.norm=post .* only pre"),
        ({"activation": "gelu"}, "model.activation=gelu .* only gelu_tanh"),
        ({"positions": "sinusoidal"}, "model.positions=sinusoidal .* only learned"),
        ({"scale_embeddings": True}, "model.scale_embeddings=true .* only false"),
    ],
)
def test_models_that_llama_cpp_lacks_are_refused(
    bpe: Tokenizer, tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    model = random_model(dataclasses.replace(SMALL, block_size=8, **options))
    with pytest.raises(UserError, match=named):
        gguf.save(model, bpe, tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_is_refused(bpe: Tokenizer, tmp_path: Path) -> None:
    head = ClassifierConfig(labels=("bad", "good"), pad_token_id=1, extract_token_id=0)
    classifier = GPTClassifier(random_model(SMALL), head)
    save_model(classifier, bpe, tmp_path / "classifier.ckpt")
    with pytest.raises(UserError, match="a classifier cannot be exported to GGUF"):
        convert(tmp_path / "classifier.ckpt", tmp_path / "new" / "model.gguf")
    assert [file.name for file in tmp_path.iterdir()] == ["classifier.ckpt"]


def _normalize(contents: dict[str, Any]) -> None:
    contents["normalizer"] = json.loads(normalizers.NFC().__getstate__())


def _split_digits(contents: dict[str, Any]) -> None:
    contents["pre_tokenizer"]["pretokenizers"].insert(
        0, json.loads(pre_tokenizers.Digits(individual_digits=True).__getstate__())
    )


def _prefix_space(contents: dict[str, Any]) -> None:
    contents["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = True


def _drop_a_byte(contents: dict[str, Any]) -> None:
    contents["model"]["vocab"]["unused"] = contents["model"]["vocab"].pop("Ā")


def _strip(contents: dict[str, Any]) -> None:
    contents["added_tokens"][1].update(special=False, lstrip=True)


def _take_padding(contents: dict[str, Any]) -> None:
    contents["added_tokens"][1]["content"] = "[PAD300]"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_normalize, "it normalizes texts"),
        (_split_digits, "it splits texts into other pieces"),
        (_prefix_space, "it splits texts into other pieces"),
        (_drop_a_byte, "it lacks 1 of the 256 bytes"),
        (_strip, r"its added token '<\|start\|>' depends on the text around it"),
        (
            lambda contents: contents["model"].update(ignore_merges=True),
            "it has ignore_merges=true",
        ),
        (lambda c: c["model"].update(dropout=0.1), "it has dropout=0.1"),
        (_take_padding, r"it has a token \[PAD300\]"),
    ],
)
def test_tokenizers_that_llama_cpp_lacks_are_refused(
    bpe: Tokenizer, tmp_path: Path, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    with pytest.raises(UserError, match=f"tokenizer cannot be exported to GGUF: {named}"):
        gguf.save(random_model(SMALL), changed(bpe, change), tmp_path / "model.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_character_vocabulary_is_refused(tmp_path: Path) -> None:
    characters = build_char_vocabulary(["abc"])
    with pytest.raises(UserError, match="its model is WordLevel"):
        gguf.save(random_model(SMALL), characters, tmp_path / "model.gguf")


def test_hugging_faces_form_of_the_tokenizer_is_the_same(bpe: Tokenizer, tmp_path: Path) -> None:
    """`ByteLevel` with GPT-2's pattern built in, as in the hub's files."""

    def hugging_face(contents: dict[str, Any]) -> None:
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        contents["pre_tokenizer"] = json.loads(byte_level.__getstate__())

    model = random_model(dataclasses.replace(SMALL, block_size=8))
    for name, tokenizer in (("ours", bpe), ("theirs", changed(bpe, hugging_face))):
        (tmp_path / name).mkdir()
        gguf.save(model, tokenizer, tmp_path / name / "model.gguf")
    ours, theirs = (tmp_path / name / "model.gguf" for name in ("ours", "theirs"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_the_command_writes_it_once(
    small_checkpoint: Path, tmp_path: Path, call: Callable[..., Any]
) -> None:
    out = tmp_path / "new" / "model.gguf"
    script, checkpoint = "src/webtext_gpt/weights/__main__.py", f"checkpoint={small_checkpoint}"
    result = call(script, checkpoint, f"out={out}")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == f"GPT, 36,480 parameters, 280 token ids\nwritten  {out}\n"
    again = call(script, checkpoint, f"out={out}")
    assert again.returncode == 1
    assert "exists; name another file" in again.stderr
    assert call(script, checkpoint, f"out={out}", "force=true").returncode == 0
    assert [file.name for file in out.parent.iterdir()] == [out.name]
    read = call(script, f"checkpoint={out}", f"out={tmp_path / 'back.ckpt'}")
    assert read.returncode == 1
    assert "it is a GGUF model; that format is only written" in read.stderr


def odd_texts() -> list[str]:
    """Texts of one or two characters of every category, plain and between letters and spaces."""
    by_category: dict[str, list[str]] = {}
    for point in range(0x3000):
        by_category.setdefault(unicodedata.category(chr(point)), []).append(chr(point))
    del by_category["Cn"]  # the next Unicode may assign them
    return [
        f"{before}{character}{after}"
        for characters in by_category.values()
        for character in characters[:: max(1, len(characters) // 20)]
        for before in ("", "a ", "1", "\n ")
        for after in ("", " b", "  ")
    ]


@pytest.mark.slow
def test_llama_cpp_gives_the_same_ids_and_tokens(realdata: Path, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    tokenizer = from_gpt2_files(
        realdata / "tokenizer" / "encoder.json", realdata / "tokenizer" / "vocab.bpe"
    )
    config = dataclasses.replace(SMALL, block_size=256, vocab_size=tokenizer.vocab_size)
    model = random_model(config)
    gguf.save(model, tokenizer, tmp_path / "model.gguf")
    llama = llama_cpp.Llama(
        str(tmp_path / "model.gguf"), n_ctx=256, type_k=0, type_v=0, verbose=False
    )
    with (realdata / "evalsets" / "lambada_test.jsonl").open(encoding="utf-8") as rows:
        lines = [json.loads(row)["text"] for row in islice(rows, 500)]
    for text in [*PLAIN, *ODD, *odd_texts(), *lines]:
        assert llama.tokenize(text.encode(), add_bos=False) == tokenizer.encode(text), text
    prompt = tokenizer.encode("The meaning of life is")
    greedy = Sampling(temperature=0)
    (expected,) = generate(model, [prompt], max_new_tokens=200, sampling=greedy)
    assert list(islice(llama.generate(prompt, temp=0.0, repeat_penalty=1.0), 200)) == expected
