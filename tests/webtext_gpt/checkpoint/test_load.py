"""Loading a model: one construction, one reading of each file, no random draw."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import (
    MODEL,
    LoadedModel,
    describe,
    empty_model,
    load,
    load_language_model,
    only_translator,
    save_model,
)
from webtext_gpt.checkpoint.parts import (
    STATE,
    Piece,
    part_contents,
    part_name,
    write_complete,
)
from webtext_gpt.checkpoint.store import read_checkpoint, save_checkpoint, write_file
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.command import run_command
from webtext_gpt.finetuning.model import add_head, load_body
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.model.empty import empty_gpt
from webtext_gpt.model.gpt import sinusoidal_positions
from webtext_gpt.model.lora import add_lora
from webtext_gpt.model.transformer import Transformer, TransformerConfig
from webtext_gpt.tokenizer import build_char_vocabulary
from webtext_gpt.training.start import load_start
from webtext_gpt.weights import hugging_face
from webtext_gpt.weights.convert import convert

SMALL = {"n_layer": 1, "n_head": 1, "n_embd": 8, "block_size": 4, "vocab_size": 4}
TOKENIZER = build_char_vocabulary(["abc"])
HEAD = ClassifierConfig(labels=("no", "yes"), pad_token_id=3)


def _as_file(folder: Path) -> Path:
    save_model(GPT(GPTConfig(**SMALL)), TOKENIZER, folder / "a.ckpt")
    return folder / "a.ckpt"


def _as_run(folder: Path) -> Path:
    save_model(GPT(GPTConfig(**SMALL)), TOKENIZER, folder / "checkpoints" / "last.ckpt")
    return folder


def _as_parts(folder: Path) -> Path:
    model = GPT(GPTConfig(**SMALL))
    weights = {f"{MODEL}{name}": value.detach() for name, value in model.named_parameters()}
    pieces = [Piece(name, 0, {"weight": value.flatten()}) for name, value in weights.items()]
    for number, part in enumerate((pieces[:3], pieces[3:])):
        write_file(part_contents(part), folder / part_name(number))
    shapes = {name: list(value.shape) for name, value in weights.items()}
    parts = {"shapes": shapes, "tied": {"model.lm_head.weight": "model.wte.weight"}}
    write_file({**describe(model, TOKENIZER), "parts": parts}, folder / STATE)
    write_complete(folder, 2)
    return folder


def _as_hugging_face(folder: Path) -> Path:
    hugging_face.save(GPT(GPTConfig(**SMALL)), TOKENIZER, folder / "export")
    return folder / "export"


def _as_classifier(folder: Path) -> Path:
    save_model(GPTClassifier(GPT(GPTConfig(**SMALL)), HEAD), TOKENIZER, folder / "a.ckpt")
    return folder / "a.ckpt"


def _as_hugging_face_classifier(folder: Path) -> Path:
    classifier = GPTClassifier(GPT(GPTConfig(**SMALL)), HEAD)
    hugging_face.save(classifier, TOKENIZER, folder / "export")
    return folder / "export"


def _as_lora(folder: Path) -> Path:
    model, lora = GPT(GPTConfig(**SMALL)), {"rank": 2, "alpha": 4.0, "dropout": 0.0}
    add_lora(model, **lora)
    weights = {f"{MODEL}{name}": value for name, value in model.state_dict().items()}
    contents = {"state_dict": weights, **describe(model, TOKENIZER), "lora": lora}
    save_checkpoint(contents, folder / "a.ckpt")
    return folder / "a.ckpt"


def _as_sinusoidal(folder: Path) -> Path:
    save_model(GPT(GPTConfig(**SMALL, positions="sinusoidal")), TOKENIZER, folder / "a.ckpt")
    return folder / "a.ckpt"


FORMATS = [
    _as_file,
    _as_run,
    _as_parts,
    _as_hugging_face,
    _as_classifier,
    _as_hugging_face_classifier,
    _as_lora,
    _as_sinusoidal,
]


@pytest.mark.parametrize("form", FORMATS)
def test_loading_leaves_the_generator_alone(form: Callable[[Path], Path], tmp_path: Path) -> None:
    path = form(tmp_path)
    before = torch.get_rng_state()
    loaded = load(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert not loaded.model.training
    for name, parameter in loaded.model.named_parameters():
        assert parameter.requires_grad, name
        assert parameter.dtype == torch.float32
        assert parameter.isfinite().all()


@pytest.mark.parametrize("form", [_as_file, _as_run, _as_parts])
def test_a_loaded_model_does_not_depend_on_its_file(
    form: Callable[[Path], Path], tmp_path: Path
) -> None:
    """The file may be overwritten in place while the model is in use."""
    model, _ = load_language_model(form(tmp_path))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for file in [file for file in tmp_path.rglob("*") if file.is_file()]:
        size = file.stat().st_size
        with file.open("r+b") as stream:
            stream.write(b"\xff" * size)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_same_head_is_drawn_on_a_checkpoint_and_its_export(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    hugging_face.save(*load_language_model(small_checkpoint), tmp_path / "export")
    classifiers = []
    for path in (small_checkpoint, tmp_path / "export"):
        torch.manual_seed(5)
        body, tokenizer = load_body(str(path))
        options = {"pairs": True, "both_orders": False, "dropout": 0.1}
        classifiers.append(add_head(body, tokenizer, ["no", "yes"], **options)[0])
    first, second = (classifier.state_dict() for classifier in classifiers)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_an_empty_model_lacks_only_its_weights() -> None:
    for positions in ("learned", "sinusoidal"):
        config = GPTConfig(**SMALL, positions=positions)
        for model in (empty_gpt(config), empty_model(describe(GPT(config), TOKENIZER))[0]):
            assert model.lm_head.weight is model.wte.weight
            assert model.config == config
        model.load_state_dict(GPT(config).state_dict())
        if positions == "sinusoidal":
            assert torch.equal(model.sinusoids, sinusoidal_positions(4, 8))
    assert empty_gpt(config, "meta").wte.weight.is_meta


class Counts:
    """Counts constructions of `GPT` and calls of `torch.load`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models = self.reads = 0
        make, read = GPT.__init__, torch.load

        def counted_make(*args: object, **kwargs: object) -> None:
            self.models += 1
            make(*args, **kwargs)

        def counted_read(*args: object, **kwargs: object) -> object:
            self.reads += 1
            return read(*args, **kwargs)

        monkeypatch.setattr(GPT, "__init__", counted_make)
        monkeypatch.setattr(torch, "load", counted_read)


@pytest.mark.parametrize("form", FORMATS)
def test_a_model_is_made_once_and_each_file_read_once(
    form: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = form(tmp_path)
    counts = Counts(monkeypatch)
    load(path)
    files = 0 if form in (_as_hugging_face, _as_hugging_face_classifier) else 1
    assert (counts.models, counts.reads) == (1, 3 if form is _as_parts else files)


def test_predicting_reads_the_classifier_once(
    small_checkpoint: Path,
    compose: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body, tokenizer = load_language_model(small_checkpoint)
    options = {"pairs": False, "both_orders": False, "dropout": 0.1}
    classifier, tokenizer = add_head(body, tokenizer, ["no", "yes"], **options)
    weights = {f"{MODEL}{name}": value for name, value in classifier.state_dict().items()}
    task = {"name": "file", "text": "sentence", "label": "animal"}
    contents = {"state_dict": weights, **describe(classifier, tokenizer), "task": task}
    save_checkpoint(contents, tmp_path / "classifier.ckpt")
    assert load(tmp_path / "classifier.ckpt").task == task
    (tmp_path / "texts.csv").write_text("sentence\nthe cat\nthe dog\n")
    counts = Counts(monkeypatch)
    run_command(
        compose(
            "finetune",
            f"checkpoint={tmp_path / 'classifier.ckpt'}",
            f"predict={tmp_path / 'texts.csv'}",
            f"run_dir={tmp_path}",
            "device=cpu",
        )
    )
    assert (counts.models, counts.reads) == (1, 1)
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert [row["sentence"] for row in rows] == ["the cat", "the dog"]


@pytest.mark.parametrize("dropout", [None, 0.25])
def test_fine_tuning_builds_its_body_once(
    dropout: float | None, small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = Counts(monkeypatch)
    body, _ = load_body(str(small_checkpoint), dropout=dropout)
    assert (counts.models, counts.reads) == (1, 1)
    weights = read_checkpoint(small_checkpoint)["state_dict"]
    for name, value in body.state_dict().items():
        assert torch.equal(value, weights[MODEL + name])
    p = 0.0 if dropout is None else dropout
    assert (body.config.embd_dropout, body.config.attn_dropout) == (p, p)
    assert {m.p for m in body.modules() if isinstance(m, torch.nn.Dropout)} == {p}
    assert {block.attn.attn_dropout for block in body.blocks} == {p}


def test_a_translation_model_comes_back_with_its_shape_and_weights(tmp_path: Path) -> None:
    config = TransformerConfig(
        n_encoder_layer=1, n_decoder_layer=2, n_head=2, n_embd=8, block_size=6, vocab_size=4
    )
    model = Transformer(config).eval()
    save_model(model, TOKENIZER, tmp_path / "a.ckpt")

    loaded = load(tmp_path / "a.ckpt")
    assert isinstance(loaded.model, Transformer)
    assert loaded.model.config == config
    assert loaded.model.lm_head.weight is loaded.model.wte.weight
    assert loaded.tokenizer.hash == TOKENIZER.hash
    source, target = torch.tensor([[0, 1, 3]]), torch.tensor([[3, 2]])
    lengths = torch.tensor([3])
    assert torch.equal(loaded.model(source, lengths, target), model(source, lengths, target))


def test_a_model_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    sizes = {"n_encoder_layer": 1, "n_decoder_layer": 1, "n_head": 1, "n_embd": 8}
    translator = Transformer(TransformerConfig(**sizes, block_size=4, vocab_size=4))
    path = tmp_path / "a.ckpt"
    save_model(translator, TOKENIZER, path)

    with pytest.raises(UserError, match=r"a\.ckpt holds a translation model, not a language model"):
        load_language_model(path)
    with pytest.raises(UserError, match="holds a translation model, not a language model or a cla"):
        load_body(str(path))
    with pytest.raises(UserError, match="holds a translation model"):
        load_start(str(path), {})
    with pytest.raises(UserError, match="holds a translation model"):
        convert(path, tmp_path / "a.gguf")
    with pytest.raises(UserError, match="folder holds a language model, not a translation model"):
        only_translator(load(_as_run(tmp_path / "folder")), "folder")
    classifier = LoadedModel(GPTClassifier(GPT(GPTConfig(**SMALL)), HEAD), TOKENIZER)
    with pytest.raises(UserError, match="holds a classifier, not a translation model"):
        only_translator(classifier, "it")
