"""Bare state dicts in the layout of nn.Linear: minGPT's two versions, and nanoGPT's model."""

import json
import re
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.errors import UserError
from webtext_gpt.generation import GREEDY, complete
from webtext_gpt.weights import find_format, hugging_face
from webtext_gpt.weights.convert import convert
from webtext_gpt.weights.foreign import ForeignPath

CHARACTERS = "".join(chr(c) for c in range(ord("A"), ord("A") + 63))


def _reference(activation: str, tied: bool = False, vocab_size: int = 63) -> torch.nn.Module:
    """The model built with transformers; its output layer is its own unless `tied`."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            n_layer=2,
            n_head=3,
            n_embd=48,
            n_positions=16,
            vocab_size=vocab_size,
            activation_function=activation,
            tie_word_embeddings=tied,
        )
    ).eval()
    for value in model.parameters():
        torch.nn.init.normal_(value, std=0.1)
    return model


def _linear(reference: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state dict of a model whose linear layers are nn.Linear."""
    return {
        name: value.T.contiguous() if re.search(r"\.(c_\w+)\.weight$", name) else value
        for name, value in reference.state_dict().items()
    }


def _with_masks(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    masks = {f"transformer.h.{n}.attn.bias": torch.ones(1, 1, 16, 16).tril() for n in range(2)}
    return {**weights, **masks}


def _first_version(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of minGPT of 2020, as in its model.py."""
    first: dict[str, torch.Tensor] = {}
    for full, value in weights.items():
        name = full.removeprefix("transformer.")
        block = re.match(r"h\.(\d+)\.(.*)", name)
        if block is None:
            new = {"wte.weight": "tok_emb.weight", "wpe.weight": "pos_emb"}.get(name, name)
            new = "head.weight" if new == "lm_head.weight" else new
            first[new] = value[None] if new == "pos_emb" else value
            continue
        number, rest = block.groups()
        if rest.startswith("attn.c_attn."):
            kind = rest.rsplit(".", 1)[1]
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                first[f"blocks.{number}.attn.{part}.{kind}"] = piece.clone()
            continue
        for theirs, new in (
            ("ln_1", "ln1"),
            ("ln_2", "ln2"),
            ("attn.c_proj", "attn.proj"),
            ("mlp.c_fc", "mlp.0"),
            ("mlp.c_proj", "mlp.2"),
        ):
            rest = rest.replace(theirs, new)
        first[f"blocks.{number}.{rest}"] = value
    for number in range(2):
        first[f"blocks.{number}.attn.mask"] = torch.ones(1, 1, 16, 16).tril()
    return first


def _assert_same_logits(folder: Path, file: str, reference: torch.nn.Module) -> None:
    (folder / "input.txt").write_text(CHARACTERS[::-1] * 2)
    model, tokenizer = load_language_model(folder / file, tokenizer=folder / "input.txt")
    assert tokenizer.encode("AB") == [0, 1]
    tokens = torch.randint(63, (2, 16))
    with torch.inference_mode():
        logits, expected = model(tokens)[..., :63], reference(tokens).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert model.config.tied_embeddings == reference.config.tie_word_embeddings


@pytest.mark.parametrize("version", ["2020", "2022"])
def test_mingpt(version: str, tmp_path: Path) -> None:
    reference = _reference("gelu" if version == "2020" else "gelu_new")
    weights = _linear(reference)
    weights = _first_version(weights) if version == "2020" else _with_masks(weights)
    torch.save(weights, tmp_path / "model.pt")
    (tmp_path / "input.txt").write_text(CHARACTERS)
    with pytest.raises(UserError, match=r'heads.*config\.json, as {"n_head": 6}'):
        load_language_model(tmp_path / "model.pt", tokenizer=tmp_path / "input.txt")
    (tmp_path / "config.json").write_text('{"n_head": 3}')
    _assert_same_logits(tmp_path, "model.pt", reference)
    theirs = {"model_type": "gpt-nano", "n_layer": None, "n_head": None, "n_embd": None}
    config = {"system": {"work_dir": "out"}, "model": {**theirs, "vocab_size": None}}
    (tmp_path / "config.json").write_text(json.dumps(config))  # as minGPT's scripts write it
    _assert_same_logits(tmp_path, "", reference)


def test_an_own_output_layer_survives_a_conversion(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"n_head": 3}')
    torch.save(_with_masks(_linear(_reference("gelu_new"))), tmp_path / "model.pt")
    (tmp_path / "input.txt").write_text(CHARACTERS)
    convert(tmp_path / "model.pt", tmp_path / "exported", tokenizer=tmp_path / "input.txt")
    first, tokenizer = load_language_model(tmp_path / "model.pt", tmp_path / "input.txt")
    second, same = load_language_model(tmp_path / "exported")
    tokens = torch.randint(64, (2, 16))
    with torch.inference_mode():
        assert torch.equal(first(tokens), second(tokens))
    texts = [
        complete(model, ids, ["A"], max_new_tokens=8, sampling=GREEDY)
        for model, ids in ((first, tokenizer), (second, same))
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module."])
def test_the_state_dict_of_nanogpts_model(tmp_path: Path, prefix: str) -> None:
    """Tied, without masks and biases, and with the exact GELU."""
    reference = _reference("gelu", tied=True)
    for name, value in reference.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.zeros_(value)
    weights = {prefix + n: v for n, v in _linear(reference).items() if not n.endswith("bias")}
    torch.save(weights, tmp_path / "weights.pth")
    (tmp_path / "config.json").write_text('{"n_head": 3}')
    _assert_same_logits(tmp_path, "weights.pth", reference)


def test_the_activation_can_be_given(tmp_path: Path) -> None:
    reference = _reference("gelu")
    torch.save(_with_masks(_linear(reference)), tmp_path / "model.pt")
    fields = {"n_head": 3, "activation_function": "gelu"}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    _assert_same_logits(tmp_path, "model.pt", reference)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_head": 5}, r"config\.json: .*n_embd=48 does not divide"),
        ({"n_head": "3"}, r"config\.json: n_head is '3', not a whole number"),
        ({"n_head": 3, "n_layer": 4}, r"config\.json: n_layer is 4, and in .*model\.pt 2"),
        ({"model_type": "gpt-huge"}, "does not say how many heads"),
        ({"n_head": 3, "activation_function": "silu"}, "activation_function is 'silu'"),
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_refused(
    tmp_path: Path, fields: dict, message: str
) -> None:
    torch.save(_with_masks(_linear(_reference("gelu_new"))), tmp_path / "model.pt")
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(UserError, match=message):
        load_language_model(tmp_path / "model.pt")


def test_missing_tensors_are_named(tmp_path: Path) -> None:
    weights = _first_version(_linear(_reference("gelu")))
    del weights["blocks.1.attn.key.bias"]
    torch.save(weights, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text('{"n_head": 3}')
    with pytest.raises(UserError, match=r"missing: h\.1\.attn\.c_attn\.bias(.|\n)*query\.bias"):
        load_language_model(tmp_path / "model.pt")


def test_an_own_output_layer_of_nanogpt(tmp_path: Path) -> None:
    reference = _reference("gelu", vocab_size=64)
    arguments = {"n_layer": 2, "n_head": 3, "n_embd": 48, "block_size": 16, "bias": True}
    contents = {"model": _linear(reference), "model_args": {**arguments, "vocab_size": 64}}
    torch.save(contents, tmp_path / "ckpt.pt")
    (tmp_path / "input.txt").write_text(CHARACTERS + "\n")  # 64 characters
    model, _ = load_language_model(tmp_path / "ckpt.pt", tokenizer=tmp_path / "input.txt")
    tokens = torch.randint(64, (2, 16))
    with torch.inference_mode():
        logits, expected = model(tokens)[..., :64], reference(tokens).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert not torch.equal(model.lm_head.weight, model.wte.weight)


def test_an_own_output_layer_of_openais_layout(tmp_path: Path) -> None:
    """`torch.save(GPT2LMHeadModel(...).state_dict())`, whose heads are 64 wide."""
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"n_layer": 1, "n_head": 1, "n_embd": 64, "n_positions": 16, "vocab_size": 64}
    torch.manual_seed(0)
    reference = GPT2LMHeadModel(GPT2Config(**shape, tie_word_embeddings=False)).eval()
    torch.save(reference.state_dict(), tmp_path / "gpt2.bin")
    (tmp_path / "tokenizer.txt").write_text(CHARACTERS)
    model, _ = load_language_model(tmp_path / "gpt2.bin", tokenizer=tmp_path / "tokenizer.txt")
    tokens = torch.randint(64, (2, 16))
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens), reference(tokens).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_linear_layers_in_a_hugging_face_folder_are_said_to_be_transposed(
    tmp_path: Path, suffix: str
) -> None:
    from safetensors.torch import save_file

    reference = _reference("gelu_new", tied=True, vocab_size=64)
    reference.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    weights = {n: v for n, v in _linear(reference).items() if n != "lm_head.weight"}
    if suffix == "bin":
        torch.save(weights, tmp_path / "pytorch_model.bin")
    else:
        save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(UserError) as raised:
        load_language_model(tmp_path)
    message = str(raised.value)
    assert "6 transposed: transformer.h.0.attn.c_attn.weight: (144, 48) found, (48, 144)" in message
    assert "stored as (out, in), as nn.Linear" in message
    assert "of another shape" not in message


def test_conv1d_in_nanogpts_file_is_said_to_be_transposed(tmp_path: Path) -> None:
    reference = _reference("gelu", tied=True, vocab_size=64)
    arguments = {"n_layer": 2, "n_head": 3, "n_embd": 48, "block_size": 16, "bias": True}
    contents = {"model": reference.state_dict(), "model_args": {**arguments, "vocab_size": 64}}
    torch.save(contents, tmp_path / "ckpt.pt")
    with pytest.raises(UserError, match=r"6 transposed(.|\n)*stored as \(in, out\), as OpenAI's"):
        load_language_model(tmp_path / "ckpt.pt")


def test_rows_that_pad_a_folders_vocabulary_are_cut(tmp_path: Path) -> None:
    """As nanoGPT's are: 64 rows for 61 ids. The padded row is never generated."""
    from webtext_gpt.tokenizer import build_char_vocabulary

    for tied in (True, False):
        reference = _reference("gelu_new", tied=tied, vocab_size=64)
        folder = tmp_path / str(tied)
        reference.save_pretrained(folder)
        build_char_vocabulary([CHARACTERS[:60]]).save(folder / "tokenizer.json")
        model, tokenizer = load_language_model(folder)
        assert (model.config.vocab_size, tokenizer.vocab_size) == (61, 61)
        assert model.wte.num_embeddings == model.lm_head.out_features == 61
        tokens = torch.randint(61, (2, 16))
        with torch.inference_mode():
            expected = reference(tokens).logits[..., :61]
            torch.testing.assert_close(model(tokens), expected, atol=1e-4, rtol=0)
        whole, _ = hugging_face.load(folder)
        assert whole.config.vocab_size == 64  # training from it keeps the rows, see test_start


def test_a_folder_of_hugging_face_stays_one(tmp_path: Path) -> None:
    """`model.pt` beside a folder's own weights does not make it minGPT's."""
    _reference("gelu_new").save_pretrained(tmp_path)
    torch.save({}, tmp_path / "model.pt")
    assert find_format(ForeignPath(tmp_path)) is hugging_face.FORMAT
