"""nanoGPT's checkpoints: layout of weights, vocabularies, and missing biases."""

from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import build_char_vocabulary, train_bpe

CHARACTERS = "".join(chr(c) for c in range(ord("A"), ord("A") + 65))
ARGUMENTS = {"n_layer": 2, "n_head": 4, "n_embd": 32, "block_size": 16, "bias": True}


def _reference(vocab_size: int, bias: bool) -> torch.nn.Module:
    """nanoGPT's model built with transformers: GPT-2 with the exact GELU."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(
            n_layer=2,
            n_head=4,
            n_embd=32,
            n_positions=16,
            vocab_size=vocab_size,
            activation_function="gelu",
        )
    ).eval()
    for name, value in model.named_parameters():
        torch.nn.init.normal_(value, std=0.1)
        if name.endswith("bias") and not bias:
            torch.nn.init.zeros_(value)
    return model


def _save(
    reference: torch.nn.Module, file: Path, *, compiled: bool = False, **arguments: object
) -> None:
    """Save like nanoGPT's train.py: Linear layout, both tied tensors, optimizer and settings."""
    arguments = {**ARGUMENTS, "vocab_size": reference.config.vocab_size, **arguments}
    weights = {}
    for name, value in reference.state_dict().items():
        if name.endswith("bias") and not arguments["bias"]:
            continue
        is_linear = name.endswith("weight") and (".attn." in name or ".mlp." in name)
        weights["_orig_mod." * compiled + name] = value.T.contiguous() if is_linear else value
    mask = torch.ones(1, 1, 16, 16).tril()  # nanoGPT keeps it if there is no fused attention
    weights["_orig_mod." * compiled + "transformer.h.0.attn.bias"] = mask
    optimizer = torch.optim.AdamW(reference.parameters()).state_dict()
    torch.save(
        {
            "model": weights,
            "optimizer": optimizer,
            "model_args": arguments,
            "iter_num": 7,
            "best_val_loss": torch.tensor(1.5),
            "config": {"dataset": "shakespeare_char", "decay_lr": True},
        },
        file,
    )


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_logits_of_a_character_model(bias: bool, compiled: bool, tmp_path: Path) -> None:
    reference = _reference(65, bias)
    _save(reference, tmp_path / "ckpt.pt", compiled=compiled, bias=bias, dropout=0.2)
    text = tmp_path / "input.txt"
    text.write_text(CHARACTERS[::-1] * 2)
    model, tokenizer = load_language_model(tmp_path / "ckpt.pt", tokenizer=text)
    assert model.config.activation == "gelu"
    assert model.config.resid_dropout == 0.2
    assert tokenizer.encode("AB") == [0, 1]  # nanoGPT numbers the sorted characters
    tokens = torch.randint(65, (2, 16))
    with torch.inference_mode():
        logits, expected = model(tokens), reference(tokens).logits
    torch.testing.assert_close(logits[..., :65], expected, atol=1e-4, rtol=0)
    # <|endoftext|>, which the model has never seen, gets the mean logit, so it is never likely.
    assert model.config.vocab_size == 66
    torch.testing.assert_close(logits[..., 65], expected.mean(-1), atol=1e-4, rtol=0)
    assert logits.softmax(-1)[..., 65].max() <= 1 / 66
    assert model.lm_head.weight is model.wte.weight


def test_a_padded_vocabulary_is_cut(tmp_path: Path, prose: str) -> None:
    tokenizer = train_bpe([prose], 290)
    assert tokenizer.vocab_size == 290
    reference = _reference(320, bias=True)  # 290 padded to a multiple of 64
    _save(reference, tmp_path / "ckpt.pt")
    tokenizer.save(tmp_path / "tokenizer.json")  # next to the checkpoint
    model, _ = load_language_model(tmp_path)
    assert model.config.vocab_size == model.wte.num_embeddings == 290
    tokens = torch.randint(290, (2, 16))
    with torch.inference_mode():
        expected = reference(tokens).logits[..., :290]
        torch.testing.assert_close(model(tokens), expected, atol=1e-4, rtol=0)
    assert model.lm_head.weight is model.wte.weight


def test_another_models_tokenizer_is_refused(tmp_path: Path, prose: str) -> None:
    _save(_reference(500, bias=True), tmp_path / "ckpt.pt")
    train_bpe([prose], 290).save(tmp_path / "tokenizer.json")
    with pytest.raises(UserError, match="tokenizer has 290 ids and the model 500"):
        load_language_model(tmp_path / "ckpt.pt")
    build_char_vocabulary([CHARACTERS]).save(tmp_path / "tokenizer.json")
    with pytest.raises(UserError, match="tokenizer has 66 ids and the model 500"):
        load_language_model(tmp_path / "ckpt.pt")


def test_a_tokenizer_must_be_given_for_a_vocabulary_of_its_own(tmp_path: Path) -> None:
    _save(_reference(65, bias=True), tmp_path / "ckpt.pt")
    with pytest.raises(UserError, match=r"does not name its tokenizer.*tokenizer=\.\.\."):
        load_language_model(tmp_path / "ckpt.pt")
    with pytest.raises(UserError, match=r"meta\.pkl is a pickle.*tokenizer=input\.txt"):
        load_language_model(tmp_path / "ckpt.pt", tokenizer=tmp_path / "meta.pkl")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_head": 5}, "model_args is invalid: .*n_embd=32 does not divide"),
        ({"n_layer": 10**9}, "n_layer is 1000000000, with 29 tensors in all"),
        ({"n_layer": 3}, "12 missing: transformer.h.2.attn.c_attn.bias"),
        ({"bias": False}, "13 not of this model"),
        ({"block_size": 8}, r"transformer.wpe.weight: \(16, 32\) found, \(8, 32\) expected"),
        ({"n_embd": None}, "model_args is invalid"),
    ],
    ids=str,
)
def test_a_checkpoint_that_contradicts_itself_is_refused(
    tmp_path: Path, arguments: dict, message: str
) -> None:
    _save(_reference(65, bias=True), tmp_path / "ckpt.pt")
    contents = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    contents["model_args"].update(arguments)
    torch.save(contents, tmp_path / "ckpt.pt")
    with pytest.raises(UserError, match=message):
        load_language_model(tmp_path / "ckpt.pt")
