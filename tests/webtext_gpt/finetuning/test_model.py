"""The model to fine-tune: frozen weights, vocabularies, dropout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model
from webtext_gpt.checkpoint.store import read_checkpoint, save_checkpoint
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


SHORT = ("trainer.max_steps=4", "validate_every=2", "callbacks.checkpoints.save_every=2")


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param("layers=0", marks=pytest.mark.slow),
        pytest.param("layers=1", marks=pytest.mark.slow),
        "lora.rank=2",
    ],
    ids=["head", "last block", "lora"],
)
def test_new_tokens_learn_while_the_embedding_is_frozen(
    choice: str, finetune: Finetune, small_checkpoint: Path, tmp_path: Path
) -> None:
    """The model has width 32; pairs have two new tokens, and the animals three labels."""
    pairs = ("task.text_pair=other", choice, *SHORT)
    trained = finetune(*pairs)
    frozen = finetune(*pairs, "train_new_tokens=false", f"run_dir={tmp_path / 'frozen'}")
    assert trained["trained_parameters"] - frozen["trained_parameters"] == 2 * 32
    old, _ = load_language_model(small_checkpoint)
    learned, kept = (
        load(tmp_path / name).model.body.wte.weight for name in ("run", "frozen")
    )  # both began with the same two rows, which the seed draws
    assert learned.shape == kept.shape == (282, 32)
    assert torch.equal(learned[:280], old.wte.weight)
    assert torch.equal(kept[:280], old.wte.weight)
    assert not torch.isclose(learned[280:], kept[280:]).all(dim=1).any()


@pytest.mark.slow
@pytest.mark.parametrize("choice", ["layers=1", "lora.rank=2"])
def test_new_tokens_resume_as_they_were_saved(
    choice: str, finetune: Finetune, tmp_path: Path
) -> None:
    same = (choice, "scheduler=constant", *SHORT[1:])
    finetune(*same, "trainer.max_steps=4", f"run_dir={tmp_path / 'whole'}")
    finetune(*same, "trainer.max_steps=2")
    finetune(*same, "trainer.max_steps=4", "resume=auto")
    whole, resumed = (
        load(tmp_path / name / "checkpoints" / "last.ckpt").model.state_dict()
        for name in ("whole", "run")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(UserError, match="the run to resume has another new_tokens"):
        finetune(*same, "trainer.max_steps=6", "resume=auto", "train_new_tokens=false")


def test_a_run_of_an_earlier_version_resumes_without_training_new_tokens(
    finetune: Finetune, tmp_path: Path
) -> None:
    finetune("layers=1", *SHORT, "train_new_tokens=false")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    contents = dict(read_checkpoint(last))
    assert contents.pop("new_tokens") is None
    save_checkpoint(contents, last.resolve())
    before = load(tmp_path / "run").model.body.wte.weight
    summary = finetune("layers=1", *SHORT[1:], "trainer.max_steps=6", "resume=auto")
    assert summary["step"] == 6
    assert torch.equal(load(last).model.body.wte.weight, before)


def test_a_choice_about_new_tokens_needs_a_frozen_embedding(compose: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="train_new_tokens=false is for a frozen embedding"):
        compose("finetune", "task=sst2", "train_new_tokens=false")
