"""The model to fine-tune: frozen weights, vocabularies, dropout."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import train_bpe
from webtext_gpt.weights import hugging_face

Finetune = Callable[..., dict]


@pytest.mark.parametrize(
    ("choice", "trained"),
    [
        ("layers=0", lambda name: name == "head.weight"),
        ("layers=1", lambda name: name.startswith(("head", "body.blocks.1", "body.ln_f"))),
        ("lora.rank=2", lambda name: name == "head.weight" or ".mlp." in name or ".attn." in name),
    ],
    ids=["head", "last block", "lora"],
)
def test_frozen_weights_do_not_change(
    choice: str,
    trained: Callable[[str], bool],
    finetune: Finetune,
    small_checkpoint: Path,
    tmp_path: Path,
) -> None:
    finetune(
        choice, "trainer.max_steps=6", "validate_every=3", "callbacks.checkpoints.save_every=3"
    )
    model = load(tmp_path / "run").model
    before = load_language_model(small_checkpoint)[0].state_dict()
    for name, value in model.state_dict().items():
        old = before.get(name.removeprefix("body."))
        if old is not None and value.dim() > 1:
            assert torch.equal(value[: len(old)], old) != trained(name), name
    assert model.body.config.vocab_size == 281  # the extract token is new


def test_a_checkpoint_with_another_vocabulary_is_refused(
    finetune: Finetune, small_checkpoint: Path, prose: str, tmp_path: Path
) -> None:
    """A folder whose tokenizer has ten ids fewer than its model, which padding does not explain."""
    model, _ = load_language_model(small_checkpoint)
    hugging_face.save(model, train_bpe([prose], 270), tmp_path / "other")
    with pytest.raises(UserError, match="270 ids and the model 280; they do not belong together"):
        finetune(f"checkpoint={tmp_path / 'other'}")
    assert not (tmp_path / "run" / "config.yaml").exists()
