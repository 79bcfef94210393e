"""ONNX exports, run by onnxruntime."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import save_model
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary
from webtext_gpt.weights import onnx
from webtext_gpt.weights.convert import convert

SMALL = GPTConfig(n_layer=1, n_head=2, n_embd=16, vocab_size=8, block_size=16)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_char_vocabulary(["abcd"])


def random_model(config: GPTConfig) -> GPT:
    torch.manual_seed(0)
    model = GPT(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def assert_same_logits(model: GPT, path: Path) -> None:
    """At batches of 1 and 3, and lengths of 1, 7 and the whole context."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        for length in (1, 7, model.config.block_size):
            tokens = torch.randint(0, model.config.vocab_size, (batch, length))
            (logits,) = session.run(["logits"], {"input_ids": tokens.numpy()})
            with torch.inference_mode():
                expected = model(tokens)
            torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=0, atol=1e-4)


def test_onnxruntime_computes_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    import onnxruntime
    import tokenizers

    model, path = random_model(SMALL), tmp_path / "new" / "model.onnx"
    onnx.save(model, tokenizer, path)
    assert_same_logits(model, path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.onnx", "tokenizer.json"]
    text = tokenizers.Tokenizer.from_file(str(path.parent / "tokenizer.json"))
    assert text.encode("badc").ids == [1, 0, 3, 2]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata == {"block_size": "16", "end_of_text": "4"}
    too_long = torch.zeros(1, 17, dtype=torch.long).numpy()
    with pytest.raises(Exception, match="16 by 17"):
        session.run(["logits"], {"input_ids": too_long})
    assert str(Path(__file__).parents[3]).encode() not in path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"norm": "post", "n_layer": 2},
        {"positions": "sinusoidal", "scale_embeddings": True, "activation": "relu"},
        {"tied_embeddings": False, "activation": "gelu", "block_size": 1024},
        {"positions": "rotary", "norm_type": "rms", "norm_gains": False, "qk_norm": True},
        {"residual_scalars": True, "value_embeddings": True, "logits_soft_cap": 3.0, "n_layer": 2},
        {"activation": "relu_squared", "norm_gains": False, "positions": "rotary"},
        {"block_size": 8, "n_embd": 192, "n_head": 3, "n_layer": 3, "vocab_size": 50_304},
    ],
)
def test_every_option_is_exported(
    tokenizer: Tokenizer, tmp_path: Path, options: dict[str, Any]
) -> None:
    model = random_model(dataclasses.replace(SMALL, **options))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    onnx.save(model, tokenizer, tmp_path / "model.onnx")
    assert_same_logits(model, tmp_path / "model.onnx")
    stored = 4 * model.num_parameters
    assert (tmp_path / "model.onnx").stat().st_size < 1.01 * stored + 100_000


@pytest.mark.slow
def test_large_weights_are_in_a_file_of_their_own(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model, path = random_model(dataclasses.replace(SMALL, n_embd=64)), tmp_path / "model.onnx"
    onnx.save(model, tokenizer, path, max_bytes=1000)
    names = ["model.onnx", "model.onnx.data", "tokenizer.json"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert_same_logits(model, path)
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in names:
        (tmp_path / name).rename(moved / name)
    assert_same_logits(model, moved / "model.onnx")
    onnx.save(model, tokenizer, moved / "model.onnx")
    assert sorted(file.name for file in moved.iterdir()) == ["model.onnx", "tokenizer.json"]
    assert_same_logits(model, moved / "model.onnx")


def test_a_classifier_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    head = ClassifierConfig(labels=("bad", "good"), pad_token_id=1, extract_token_id=0)
    save_model(GPTClassifier(random_model(SMALL), head), tokenizer, tmp_path / "classifier.ckpt")
    with pytest.raises(UserError, match="a classifier cannot be exported to ONNX"):
        convert(tmp_path / "classifier.ckpt", tmp_path / "new" / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["classifier.ckpt"]


def test_a_context_of_one_token_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.block_size=1 "):
        onnx.save(random_model(dataclasses.replace(SMALL, block_size=1)), tokenizer, tmp_path / "m")


def test_another_tokenizer_is_not_replaced(tokenizer: Tokenizer, tmp_path: Path) -> None:
    build_char_vocabulary(["xyz"]).save(tmp_path / "tokenizer.json")
    before = (tmp_path / "tokenizer.json").read_bytes()
    with pytest.raises(UserError, match=r"tokenizer\.json is another tokenizer.*force=true"):
        onnx.save(random_model(SMALL), tokenizer, tmp_path / "model.onnx")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize("suffix", ["gguf", "onnx"])
def test_a_missing_package_is_named_before_the_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr("webtext_gpt.extras.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as missing:
        convert(tmp_path / "absent", tmp_path / f"model.{suffix}")
    assert missing.value.name == {"gguf": "gguf", "onnx": "onnxscript"}[suffix]


def test_a_failed_write_leaves_nothing(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, external_data: bool) -> None:
        path.write_bytes(b"half a model")
        raise OSError("disk full")

    program = SimpleNamespace(model=SimpleNamespace(metadata_props={}), save=fail)
    monkeypatch.setattr(onnx, "_export", lambda model: program)
    with pytest.raises(OSError, match="disk full"):
        onnx.save(random_model(SMALL), tokenizer, tmp_path / "new" / "model.onnx")
    assert list(tmp_path.iterdir()) == []
