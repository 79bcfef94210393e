"""Hugging Face folders: the files written, and errors that name what is refused."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary
from webtext_gpt.weights import hugging_face, is_foreign

SMALL = {"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 16, "vocab_size": 4}
Change = Callable[[dict], object]


@pytest.fixture
def tokenizer() -> Tokenizer:
    return build_char_vocabulary(["abc"])


@pytest.fixture
def folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    hugging_face.save(GPT(GPTConfig(**SMALL)), tokenizer, tmp_path / "model")
    return tmp_path / "model"


def _edit(file: Path, **fields: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def _edit_tensors(folder: Path, change: Change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_the_files_are_those_of_a_language_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert (config["bos_token_id"], config["eos_token_id"]) == (3, 3)
    tensors = load_file(folder / "model.safetensors")
    assert len(tensors) == 2 + 2 * 12 + 2
    assert tensors["transformer.h.1.mlp.c_fc.weight"].shape == (8, 32)  # Conv1D's (in, out)
    assert "lm_head.weight" not in tensors
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


def test_an_exported_folder_loads_like_a_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_foreign(folder)
    model, tokenizer = load_language_model(folder)
    assert model.config == GPTConfig(**SMALL)
    assert tokenizer.encode("cab") == [2, 0, 1]
    monkeypatch.chdir(folder.parent)
    assert is_foreign("model")
    assert not is_foreign("model/config")  # a local folder of that name exists
    assert is_foreign("openai-community/gpt2")


def test_missing_biases_are_exported_as_zeros(tokenizer: Tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SMALL, biases=False)).eval()
    tokens = torch.tensor([[0, 2, 1, 0, 1, 3]])
    hugging_face.save(model, tokenizer, tmp_path / "model")
    exported, _ = load_language_model(tmp_path / "model")
    assert exported.config.biases
    torch.testing.assert_close(exported(tokens), model(tokens))
    classifier = GPTClassifier(model, ClassifierConfig(labels=["a", "b"], pad_token_id=3)).eval()
    hugging_face.save(classifier, tokenizer, tmp_path / "classifier")
    loaded, _ = hugging_face.load(tmp_path / "classifier")
    torch.testing.assert_close(loaded(tokens), classifier(tokens))
    assert not model.config.biases  # the model itself is not changed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"model_type": "llama"},
            "model_type is 'llama'; gpt2, openai-gpt and marian are supported",
        ),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06"),
        ({"activation_function": "silu"}, "activation_function is 'silu', not one of gelu_new"),
        ({"scale_attn_weights": False}, "scale_attn_weights is False"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"n_inner": 31}, "n_inner is 31; .* 4 n_embd wide, 32"),
        ({"quantization_config": {"bits": 4}}, "quantization_config is {'bits': 4}"),
        ({"auto_map": {"AutoModel": "code.py"}}, "auto_map is"),
        ({"n_embd": "8"}, "n_embd is '8', not a whole number"),
        ({"n_head": 3}, "n_embd=8 does not divide"),
        ({"n_layer": 10**9}, "n_layer is 1000000000, and there are 28 tensors"),
        ({"resid_pdrop": None}, "resid_pdrop is None, not a number"),
        ({"resid_pdrop": 1.5}, r"config\.json: model.resid_dropout is 1.5"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', not a boolean"),
    ],
    ids=str,
)
def test_configurations_that_our_model_cannot_express_are_refused_by_field(
    folder: Path, fields: dict, message: str
) -> None:
    _edit(folder / "config.json", **fields)
    with pytest.raises(UserError, match=message):
        load_language_model(folder)


def test_a_classifier_is_refused_as_a_language_model(tmp_path: Path) -> None:
    head = ClassifierConfig(labels=("no", "yes"), pad_token_id=3)
    classifier = GPTClassifier(GPT(GPTConfig(**SMALL)), head)
    hugging_face.save(classifier, build_char_vocabulary(["abc"]), tmp_path / "classifier")
    fields = json.loads((tmp_path / "classifier" / "config.json").read_text())
    assert fields["architectures"] == ["GPT2ForSequenceClassification"]
    with pytest.raises(UserError, match="holds a classifier, not a language model"):
        load_language_model(tmp_path / "classifier")


def test_fields_that_change_no_number_are_accepted(folder: Path) -> None:
    _edit(folder / "config.json", n_inner=32, reorder_and_upcast_attn=True, use_cache=False)
    assert load_language_model(folder)[0].config == GPTConfig(**SMALL)


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (
            lambda t: [t.pop("transformer.h.1.ln_1.bias"), t.pop("transformer.wpe.weight")],
            ["2 missing: transformer.h.1.ln_1.bias, transformer.wpe.weight"],
        ),
        (
            lambda t: t.update({"transformer.h.2.ln_1.bias": torch.zeros(8), "x": torch.ones(1)}),
            ["2 not of this model: transformer.h.2.ln_1.bias, x"],
        ),
        (
            lambda t: t.update({"transformer.wte.weight": torch.zeros(5, 8)}),
            ["1 of another shape: transformer.wte.weight: (5, 8) found, (4, 8) expected"],
        ),
        (
            lambda t: t.update({"transformer.h.0.attn.c_attn.weight": torch.zeros(24, 8)}),
            ["transformer.h.0.attn.c_attn.weight: (24, 8) found, (8, 24) expected"],
        ),
        (
            lambda t: t.update({"transformer.ln_f.bias": torch.zeros(8, dtype=torch.int32)}),
            ["1 not fp32, fp16 or bf16: transformer.ln_f.bias: int32"],
        ),
        (
            lambda t: [t.pop("transformer.ln_f.bias"), t.update({"y": torch.zeros(1)})],
            ["1 missing: transformer.ln_f.bias", "1 not of this model: y"],
        ),
        (
            lambda t: [t.pop(n) for n in list(t) if ".h." in n],
            ["24 missing: transformer.h.0.attn.c_attn.bias, ", " and 4 more"],
        ),
        (
            lambda t: t.update({"lm_head.weight": torch.zeros(4, 8)}),
            ["lm_head.weight differs from transformer.wte.weight"],
        ),
        (
            lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"].half()}),
            ["lm_head.weight differs from transformer.wte.weight"],
        ),
    ],
)
def test_wrong_tensors_are_listed(folder: Path, change: Change, messages: list[str]) -> None:
    _edit_tensors(folder, change)
    with pytest.raises(UserError) as caught:
        load_language_model(folder)
    for message in [str(folder), *messages]:
        assert message in str(caught.value)


def test_an_output_layer_that_equals_the_embedding_is_tied(folder: Path) -> None:
    _edit_tensors(
        folder, lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"].clone()})
    )
    model, _ = load_language_model(folder)
    assert model.lm_head.weight is model.wte.weight


def test_half_precision_is_widened(folder: Path) -> None:
    exact = load_language_model(folder)[0].state_dict()
    _edit_tensors(folder, lambda t: t.update({n: v.bfloat16() for n, v in t.items()}))
    for name, value in load_language_model(folder)[0].state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, exact[name].bfloat16().float())


def test_nan_and_infinity_cause_a_warning(folder: Path, capsys: pytest.CaptureFixture) -> None:
    _edit_tensors(folder, lambda t: t["transformer.ln_f.bias"].fill_(float("nan")))
    load_language_model(folder)
    assert capsys.readouterr().err.endswith("has NaN or infinity in transformer.ln_f.bias\n")


class _Hostile:
    """Object whose unpickling creates a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["model/pytorch_model.bin", "ckpt.pt", "weights.bin"])
def test_a_pickle_that_would_run_code_is_refused(
    folder: Path, tmp_path: Path, name: str, legacy: bool
) -> None:
    mark = tmp_path / "hacked"
    (folder / "model.safetensors").unlink()
    contents = {"model": _Hostile(mark), "model_args": {}}
    file = tmp_path / name
    torch.save(contents, file, _use_new_zipfile_serialization=not legacy)
    path = folder if name.startswith("model/") else file
    with pytest.raises(UserError, match=r"nothing in it was run.*asks to call \w+.mkdir") as caught:
        load_language_model(path)
    assert "weights_only" not in str(caught.value)  # torch's own message advises to run the file
    assert not mark.exists()
    torch.load(file, weights_only=False)  # shows that the file is hostile
    assert mark.is_dir()


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_file_cut_short_is_refused(folder: Path, name: str, keep: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    if name.endswith(".bin"):
        (folder / "model.safetensors").unlink()
        torch.save(tensors, folder / name)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UserError, match=f"{name} cannot be read as"):
        load_language_model(folder)


@pytest.mark.parametrize("contents", [[1, 2], {"a": 1}, {"a": {"b": torch.zeros(1)}}, {}])
def test_a_pickle_of_something_else_is_refused(folder: Path, contents: object) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(contents, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"is not a dictionary of dense tensors|0 tensors in all"):
        load_language_model(folder)


@pytest.mark.parametrize("name", ["../model/model.safetensors", "gone.safetensors", "/etc/passwd"])
def test_an_index_may_only_name_files_in_its_folder(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / "real.safetensors")
    index = {"weight_map": {"transformer.wte.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="which is not a file in the same folder"):
        load_language_model(folder)


@pytest.mark.parametrize("text", ["", "[1]", "{", "\ud7ff\x00"])
def test_a_damaged_config_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json is not (JSON|a JSON object)"):
        load_language_model(folder)


def test_a_tokenizer_of_another_size_is_refused(folder: Path) -> None:
    build_char_vocabulary(["abcdefg"]).save(folder / "tokenizer.json")
    with pytest.raises(UserError, match="tokenizer has 8 ids and the model 4"):
        load_language_model(folder)


def test_a_tokenizer_without_end_of_text_is_refused(folder: Path) -> None:
    text = (folder / "tokenizer.json").read_text().replace("<|endoftext|>", "</s>")
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(UserError, match=r"model: the tokenizer's vocabulary lacks <\|endoftext\|>"):
        load_language_model(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "sinusoidal"}, "model.positions=sinusoidal cannot be exported"),
        ({"scale_embeddings": True}, "model.scale_embeddings=true cannot be exported"),
        (
            {"norm": "post", "activation": "gelu"},
            "activation=gelu cannot be exported: OpenAIGPTLMHeadModel supports gelu_tanh, relu",
        ),
        ({"vocab_size": 3}, "tokenizer has 4 ids and the model 3"),
    ],
    ids=str,
)
def test_models_that_their_classes_cannot_express_are_not_exported(
    tokenizer: Tokenizer, tmp_path: Path, options: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        hugging_face.save(GPT(GPTConfig(**{**SMALL, **options})), tokenizer, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_with_an_untied_body_is_not_exported(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    head = ClassifierConfig(labels=("a", "b"), pad_token_id=0)
    model = GPTClassifier(GPT(GPTConfig(**SMALL, tied_embeddings=False)), head)
    with pytest.raises(UserError, match="tied_embeddings=false cannot be exported"):
        hugging_face.save(model, tokenizer, tmp_path / "out")


def test_shards_hold_all_tensors_within_the_size_limit(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    model = GPT(GPTConfig(**SMALL))
    hugging_face.save(model, tokenizer, tmp_path / "out", max_shard_bytes=2000)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    held = [load_file(file) for file in files]
    assert max(sum(4 * t.numel() for t in tensors.values()) for tensors in held) <= 2000
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 4 * model.num_parameters
    for file, tensors in zip(files, held, strict=True):
        assert all(index["weight_map"][name] == file.name for name in tensors)
    for name, value in load_language_model(tmp_path / "out")[0].state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_a_folder_that_is_not_empty_is_kept_unless_forced(
    folder: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "pytorch_model.bin").write_text("stale")
    before = (folder / "model.safetensors").read_bytes()
    other = GPT(GPTConfig(**SMALL))
    with pytest.raises(UserError, match="model is not empty.*force=true"):
        hugging_face.save(other, tokenizer, folder)
    assert (folder / "model.safetensors").read_bytes() == before
    hugging_face.save(other, tokenizer, folder, force=True, max_shard_bytes=2000)
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "pytorch_model.bin").exists()
    assert not (folder / "model.safetensors").exists()  # a reader would prefer it to the shards
    assert torch.equal(load_language_model(folder)[0].wte.weight, other.wte.weight)
    with pytest.raises(UserError, match=r"notes\.txt is a file"):
        hugging_face.save(other, tokenizer, folder / "notes.txt", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_leaves_nothing(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        hugging_face.save(GPT(GPTConfig(**SMALL)), tokenizer, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_name_on_the_hub_is_found_in_its_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache has the layout of `huggingface_hub`; the network is not used."""
    from huggingface_hub import constants

    cached = tmp_path / "cache" / "models--someone--gpt"
    (cached / "snapshots").mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    folder.rename(cached / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    model, _ = load_language_model("someone/gpt")
    assert model.config == GPTConfig(**SMALL)
    with pytest.raises(UserError, match=r"someone/other does not exist \(looked from .*hub"):
        load_language_model("someone/other")
