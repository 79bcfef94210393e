"""Translation models as transformers' MarianMT: its logits, its search, and the way back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from webtext_gpt.checkpoint.load import load
from webtext_gpt.data.pair_layout import source_ids
from webtext_gpt.errors import UserError
from webtext_gpt.generation.translate import translate
from webtext_gpt.model.transformer import Transformer, TransformerConfig
from webtext_gpt.tokenizer import build_char_vocabulary
from webtext_gpt.weights import hugging_face
from webtext_gpt.weights.convert import convert

TOKENIZER = build_char_vocabulary(["abcdefghijkl"])
END = 12
SHAPE = {"n_encoder_layer": 2, "n_decoder_layer": 3, "n_head": 4, "n_embd": 32, "vocab_size": 13}


def _model(**options: object) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(**{**SHAPE, "block_size": 40, **options})).eval()
    for parameter in model.parameters():  # so that no gain or bias is neutral
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def _theirs(folder: Path) -> Any:
    from transformers import AutoModelForSeq2SeqLM, MarianMTModel

    model, report = AutoModelForSeq2SeqLM.from_pretrained(folder, output_loading_info=True)
    assert isinstance(model, MarianMTModel)
    assert not report["unexpected_keys"]
    return model.eval()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tied_embeddings": False, "activation": "gelu_tanh"},
        {"activation": "relu_squared", "n_encoder_layer": 1, "n_decoder_layer": 1},
    ],
)
@torch.no_grad()
def test_logits_are_those_of_transformers(options: dict[str, Any], tmp_path: Path) -> None:
    model = _model(**options)
    hugging_face.save(model, TOKENIZER, tmp_path / "out")
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(13, (3, 17), generator=generator)
    target = torch.randint(13, (3, 30), generator=generator)
    lengths = torch.tensor([17, 5, 11])
    mask = (torch.arange(17) < lengths[:, None]).long()
    theirs = _theirs(tmp_path / "out")(source, attention_mask=mask, decoder_input_ids=target)
    ours = model(source, lengths, target)
    assert ours.std() > 0.5
    torch.testing.assert_close(ours, theirs.logits, rtol=0, atol=1e-5)


def test_export_and_import_are_inverse(tmp_path: Path) -> None:
    for name, options in {"tied": {}, "untied": {"tied_embeddings": False}}.items():
        model = _model(**options)
        hugging_face.save(model, TOKENIZER, tmp_path / name)
        loaded = load(tmp_path / name)
        assert isinstance(loaded.model, Transformer)
        assert loaded.model.config == model.config
        assert loaded.tokenizer.hash == TOKENIZER.hash
        again = dict(loaded.model.named_parameters())
        assert set(again) == {n for n, _ in model.named_parameters()}
        assert all(torch.equal(again[n], value) for n, value in model.named_parameters())
        assert (loaded.model.lm_head.weight is loaded.model.wte.weight) == (name == "tied")


def test_transformers_encodes_and_translates_as_we_do(
    small_translator: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    ours = convert(small_translator, tmp_path / "out")
    theirs, tokenizer = _theirs(tmp_path / "out"), AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = ["the cat sees the old dog", "a river", "the small bird and a cat"]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    end = ours.tokenizer.end_of_text
    assert tokenizer(texts).input_ids == [source_ids(ours.tokenizer.encode(t), end) for t in texts]
    for beams in (1, 4):
        written = theirs.generate(
            **inputs, num_beams=beams, length_penalty=0.0, max_length=24, early_stopping=False
        )
        expected = tokenizer.batch_decode(written, skip_special_tokens=True)
        assert isinstance(ours.model, Transformer)
        found = translate(ours.model, ours.tokenizer, texts, num_beams=beams, length_penalty=0.0)
        assert found == [text.strip() for text in expected]
    assert len(set(found)) == 3


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    hugging_face.save(_model(), TOKENIZER, tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "swish"}, "activation_function is 'swish', not one of relu, gelu"),
        ({"decoder_start_token_id": 3}, "decoder_start_token_id is 3 and eos_token_id is 12; in"),
        ({"scale_embedding": False}, "scale_embedding is False; our model supports only True"),
        ({"encoder_ffn_dim": 64}, "encoder_ffn_dim is 64; our model supports only 128"),
        ({"decoder_attention_heads": 2}, "decoder_attention_heads is 2; our model supports only 4"),
        ({"share_encoder_decoder_embeddings": False}, "share_encoder_decoder_embeddings is False"),
        ({"decoder_vocab_size": 5}, "decoder_vocab_size is 5"),
        ({"normalize_before": True}, "normalize_before is True"),
        ({"d_model": "wide"}, "d_model is 'wide', not a whole number"),
        ({"encoder_layers": 900}, "more layers than there are tensors"),
        ({"encoder_layers": 1}, "not of this model: model.encoder.layers.1"),
        ({"decoder_layers": 4}, "missing: model.decoder.layers.3"),
        ({"d_model": 64, "encoder_ffn_dim": 256, "decoder_ffn_dim": 256}, "of another shape"),
        ({"max_position_embeddings": 10**9}, "max_position_embeddings is 1000000000, above"),
        ({"eos_token_id": 5, "decoder_start_token_id": 5}, "eos_token_id is 5, and the tokenizer"),
    ],
)
def test_what_our_model_cannot_express_is_refused_by_name(
    exported: Path, changes: dict[str, Any], message: str
) -> None:
    config = json.loads((exported / "config.json").read_text())
    (exported / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(UserError, match=message):
        load(exported)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {"final_logits_bias": torch.ones(1, 13)}, "final_logits_bias is not zero"),
        (
            lambda w: {"model.encoder.embed_tokens.weight": w["model.shared.weight"] + 1},
            "embed_tokens.weight differs from model.shared.weight; our model has one embedding",
        ),
        (
            lambda w: {"model.decoder.embed_positions.weight": torch.zeros(40, 32)},
            "embed_positions.weight is not Marian's table of sinusoids",
        ),
    ],
)
def test_tensors_that_our_model_has_not_are_refused_unless_they_say_nothing(
    exported: Path, change: Callable[[dict], dict], message: str
) -> None:
    file = exported / "model.safetensors"
    weights = load_file(file)
    theirs = _theirs(exported)
    silent = {
        "final_logits_bias": torch.zeros(1, 13),
        "model.encoder.embed_positions.weight": theirs.model.encoder.embed_positions.weight.data,
        "model.decoder.embed_tokens.weight": weights["model.shared.weight"].clone(),
    }
    save_file({**weights, **silent}, file)
    load(exported)
    save_file({**weights, **change(weights)}, file)
    with pytest.raises(UserError, match=message):
        load(exported)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "pre"}, "model.norm=pre cannot be exported: MarianMTModel supports only post"),
        ({"positions": "learned"}, "model.positions=learned cannot be exported: MarianMTModel"),
        ({"vocab_size": 20}, "the tokenizer has 13 ids and the model 20"),
    ],
)
def test_what_marian_cannot_express_is_refused_by_name(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        hugging_face.save(_model(**options), TOKENIZER, tmp_path / "out")
    assert not (tmp_path / "out").exists()
