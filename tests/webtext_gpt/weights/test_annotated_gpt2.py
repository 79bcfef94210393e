"""State dicts of GPT-2 without a configuration, with the names of The Annotated GPT-2 or OpenAI."""

from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import build_char_vocabulary


@pytest.mark.parametrize("annotated", [True, False])
def test_logits_equal_transformers(annotated: bool, tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(
        GPT2Config(n_layer=2, n_head=2, n_embd=128, n_positions=16, vocab_size=5)
    ).eval()
    for value in theirs.parameters():
        torch.nn.init.normal_(value, std=0.1)
    weights = {n.removeprefix("transformer."): v for n, v in theirs.state_dict().items()}
    head = weights.pop("lm_head.weight")
    weights["h.0.attn.bias"] = torch.ones(1, 1, 16, 16).tril()
    if annotated:
        weights = {n.replace(".mlp.", ".feedforward."): v for n, v in weights.items()}
        weights["out.weight"] = head
    torch.save(weights, tmp_path / "gpt2.bin")
    build_char_vocabulary(["abcd"]).save(tmp_path / "tokenizer.json")
    model, _ = load_language_model(tmp_path / "gpt2.bin", tokenizer=tmp_path / "tokenizer.json")
    assert model.config.n_head == 2  # 64 wide, as in every GPT-2
    tokens = torch.randint(5, (2, 16))
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, atol=1e-4, rtol=0)
    weights.pop("h.1.ln_2.bias")
    torch.save(weights, tmp_path / "gpt2.bin")
    with pytest.raises(UserError, match=r"1 missing: h\.1\.ln_2\.bias"):
        load_language_model(tmp_path / "gpt2.bin", tokenizer=tmp_path / "tokenizer.json")


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"layer.weight": torch.zeros(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other\.pt holds neither a checkpoint of"):
        load_language_model(tmp_path / "other.pt")
    torch.save({"state_dict": {}, "model_config": {}}, tmp_path / "ours.pt")
    with pytest.raises(UserError, match=r"ours\.pt is a checkpoint of webtext-gpt.*\.ckpt"):
        load_language_model(tmp_path / "ours.pt")
