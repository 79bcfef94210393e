"""Unusual Hugging Face folders: read correctly or refused, and replaced without loss."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from webtext_gpt.checkpoint.load import load_language_model, save_model
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary
from webtext_gpt.weights import hugging_face
from webtext_gpt.weights.folder import STALE


@pytest.fixture
def tokenizer() -> Tokenizer:
    return build_char_vocabulary(["abc"])


def _model(seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    return GPT(GPTConfig(n_layer=2, n_head=4, n_embd=16, block_size=8, vocab_size=4)).eval()


@pytest.fixture
def folder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    hugging_face.save(_model(), tokenizer, tmp_path / "model")
    return tmp_path / "model"


def test_no_token_types_are_given_to_the_model(folder: Path) -> None:
    """By default transformers 4 returns token types, which GPT-2 adds to its input."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["model_input_names"] == ["input_ids", "attention_mask"]


def test_weights_of_a_folder_must_be_named_by_the_folder(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"config\.json; name the folder"):
        load_language_model(folder / "pytorch_model.bin")


def test_a_run_stays_a_run_when_it_is_exported_into(tokenizer: Tokenizer, tmp_path: Path) -> None:
    run = tmp_path / "run"
    save_model(_model(), tokenizer, run / "checkpoints" / "last.ckpt")
    hugging_face.save(load_language_model(run)[0], tokenizer, run, force=True)
    newer = _model(seed=1)
    save_model(newer, tokenizer, run / "checkpoints" / "last.ckpt")
    assert torch.equal(load_language_model(run)[0].wte.weight, newer.wte.weight)


def test_a_replacement_that_is_interrupted_loses_nothing(
    folder: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hugging_face.save(_model(), tokenizer, folder, force=True, max_shard_bytes=4_000)
    assert not (folder / "model.safetensors").exists()
    replace, calls = Path.replace, []

    def interrupted(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    newer = _model(seed=1)
    with pytest.raises(KeyboardInterrupt):
        hugging_face.save(newer, tokenizer, folder, force=True)
    monkeypatch.undo()
    files = [*folder.glob("*.safetensors"), *folder.parent.glob(".model.new/*.safetensors")]
    tensors = {name: value for file in files for name, value in load_file(file).items()}
    assert len(list(folder.glob("model-*.safetensors"))) > 1  # the old one is complete
    assert len(tensors) > 20


def test_another_models_tokenizer_does_not_stay(folder: Path, tokenizer: Tokenizer) -> None:
    from transformers import AutoTokenizer

    (folder / "added_tokens.json").write_text('{"<user>": 4}')
    (folder / "chat_template.jinja").write_text("{{ x }}")
    (folder / "mine.txt").write_text("kept")
    hugging_face.save(_model(), tokenizer, folder, force=True)
    assert len(AutoTokenizer.from_pretrained(folder)) == 4
    assert not (folder / "chat_template.jinja").exists()
    assert (folder / "mine.txt").exists()


def test_the_current_folder_can_be_exported_into_if_empty(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    hugging_face.save(_model(), tokenizer, ".")
    assert Path("config.json").is_file()


def test_a_vocabulary_with_holes_is_as_large_as_its_highest_id(folder: Path) -> None:
    contents = json.loads((folder / "tokenizer.json").read_text())
    contents["model"]["vocab"]["c"] = 7
    (folder / "tokenizer.json").write_text(json.dumps(contents))
    with pytest.raises(UserError, match="the tokenizer has 8 ids and the model 4"):
        load_language_model(folder)


def test_added_tokens_are_not_dropped(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").write_text("")
    (folder / "added_tokens.json").write_text('{"<user>": 4}')
    with pytest.raises(UserError, match=r"added_tokens\.json but no tokenizer\.json"):
        load_language_model(folder)


def test_a_tensor_in_two_shards_is_refused(folder: Path, tokenizer: Tokenizer) -> None:
    shutil.rmtree(folder)
    hugging_face.save(_model(), tokenizer, folder, max_shard_bytes=4_000)
    first, second = sorted(folder.glob("model-*.safetensors"))[:2]
    name, value = next(iter(load_file(first).items()))
    save_file({**load_file(second), name: value + 1}, second)
    with pytest.raises(UserError, match="which another shard holds too"):
        load_language_model(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("activation_function", ["gelu_new"]),
        ("n_embd", None),
        ("n_embd", 10**30),
        ("vocab_size", 2**62),
        ("initializer_range", -1),
        ("n_positions", 1e3),
    ],
)
def test_absurd_values_in_the_configuration_are_named(
    folder: Path, field: str, value: object
) -> None:
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, "n_inner": 64, field: value}))
    with pytest.raises(UserError, match=field):
        load_language_model(folder)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"n_embd": ' + "1" * 5_000 + "}"])
def test_absurd_json_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json is not JSON"):
        load_language_model(folder)


def test_tensors_without_values_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    (folder / "model.safetensors").unlink()
    torch.save({**tensors, name: tensors[name].to("meta")}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="not a dictionary of dense tensors"):
        load_language_model(folder)


def test_characters_of_another_text_are_refused(tmp_path: Path) -> None:
    """nanoGPT reads its text with universal newlines."""
    model = _model()
    state = {f"transformer.{n}": v for n, v in model.state_dict().items() if n != "lm_head.weight"}
    state = {name.replace("blocks", "h"): value for name, value in state.items()}
    state["lm_head.weight"] = model.wte.weight
    arguments = {"n_layer": 2, "n_head": 4, "n_embd": 16, "block_size": 8, "vocab_size": 4}
    torch.save({"model": state, "model_args": {**arguments, "bias": True}}, tmp_path / "ckpt.pt")
    (tmp_path / "input.txt").write_bytes(b"abc\r\n")
    (tmp_path / "other.txt").write_bytes(b"abc")
    _, tokenizer = load_language_model(tmp_path / "ckpt.pt", tmp_path / "input.txt")
    assert tokenizer.decode([0, 1, 2, 3]) == "\nabc"
    assert tokenizer.end_of_text == 4
    with pytest.raises(UserError, match="3 different characters and the model 4"):
        load_language_model(tmp_path / "ckpt.pt", tmp_path / "other.txt")


def test_stale_files_of_an_export_are_recognized() -> None:
    for name in ("model-00001-of-00002.safetensors", "pytorch_model.bin.index.json", "merges.txt"):
        assert STALE.fullmatch(name)
    for name in ("train.txt", "model.py", "last.ckpt", "tokens.json"):
        assert not STALE.fullmatch(name)
