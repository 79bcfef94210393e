"""Fine-tuning of a model with every option later than the GPT papers, and what is frozen of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model, save_model
from webtext_gpt.finetuning.model import add_head, choose_trained
from webtext_gpt.generation import GREEDY, generate
from webtext_gpt.model import GPT, GPTConfig, language_model
from webtext_gpt.model.lora import merge_lora
from webtext_gpt.tokenizer import Tokenizer, train_bpe

CONFIG = GPTConfig(
    n_layer=2,
    n_head=2,
    n_embd=32,
    block_size=64,
    vocab_size=280,
    positions="rotary",
    norm_type="rms",
    norm_gains=False,
    qk_norm=True,
    activation="relu_squared",
    residual_scalars=True,
    value_embeddings=True,
    tied_embeddings=False,
    logits_soft_cap=15.0,
)


@pytest.fixture(scope="module")
def tokenizer(prose: str) -> Tokenizer:
    return train_bpe([prose], 280)


@pytest.fixture
def body() -> GPT:
    torch.manual_seed(0)
    model = GPT(CONFIG).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def checkpoint(body: GPT, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    save_model(body, tokenizer, tmp_path / "later.ckpt")
    return tmp_path / "later.ckpt"


def test_new_tokens_have_value_embeddings(body: GPT, tokenizer: Tokenizer) -> None:
    texts = torch.randint(280, (2, 9))
    before = body(texts)
    model, more = add_head(body, tokenizer, ["a", "b"], pairs=True, both_orders=False, dropout=0.0)
    assert more.vocab_size == 282
    rows = {len(embedding.weight) for embedding in body.value_embeddings.values()}
    assert rows == {282}
    torch.testing.assert_close(body(texts)[..., :280], before)
    logits = body(torch.tensor([[280, 281]]))
    assert logits.shape == (1, 2, 282)
    assert logits.abs().max() <= 15
    again = GPT(body.config)
    again.load_state_dict(body.state_dict())
    assert language_model(model) is body


@pytest.mark.parametrize(
    ("layers", "lora", "trained"),
    [
        (1, None, {"body.blocks.1."}),
        (2, None, {"body.blocks.0.", "body.blocks.1."}),
        ("all", {"rank": 2, "alpha": 4.0, "dropout": 0.0}, {"body.blocks.0.", "body.blocks.1."}),
    ],
)
def test_embeddings_and_scalars_are_frozen_with_the_rest(
    layers: int | str, lora: dict | None, trained: set[str], body: GPT, tokenizer: Tokenizer
) -> None:
    model, _ = add_head(body, tokenizer, ["a", "b"], pairs=False, both_orders=False, dropout=0.0)
    tokens = torch.randint(281, (2, 9))
    before = body(tokens)
    assert choose_trained(model, layers, lora, lm_weight=0.5) == [280]
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    rest = [name for name in names if not name.startswith(tuple(trained))]
    assert rest == ["body.wte.new_rows", "head.weight"]
    if lora:
        adapted = {
            name.partition(".lora_")[0].split(".", 3)[-1] for name in names if "lora" in name
        }
        assert adapted == {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}
        torch.testing.assert_close(body(tokens), before)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter)
        changed = body(tokens)
        assert not torch.allclose(changed, before)
        merge_lora(model)
        torch.testing.assert_close(body(tokens), changed, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "choice",
    [
        pytest.param(c, marks=pytest.mark.slow)
        for c in ("lora.rank=2", "layers=1", "optimizer=muon")
    ],
)
def test_a_classifier_is_trained_saved_and_resumed(
    choice: str, finetune: Callable[..., dict], checkpoint: Path, tmp_path: Path
) -> None:
    short = [f"checkpoint={checkpoint}", choice, "validate_every=2", "scheduler=constant"]
    short += ["average=ema", "callbacks.checkpoints.save_every=2"]
    finetune(*short, "trainer.max_steps=4", f"run_dir={tmp_path / 'whole'}")
    finetune(*short, "trainer.max_steps=2")
    finetune(*short, "trainer.max_steps=4", "resume=auto")
    whole, resumed = (load(tmp_path / name).model for name in ("whole", "run"))
    assert whole.body.config.logits_soft_cap == 15
    assert whole.body.config.vocab_size == 281
    start = load_language_model(checkpoint)[0].state_dict()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
        old = start.get(name.removeprefix("body."))
        if "value_embeddings" in name or "residual_scalars" in name:
            assert torch.equal(value[: len(old)], old) == (choice != "optimizer=muon"), name


def test_completions_are_trained_and_the_cache_changes_nothing(
    finetune: Callable[..., dict], checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"say {word}", "completion": word} for word in ("cat", "dog") * 8]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = ["task=pairs", f"task.train={file}", f"task.validation={file}", "max_new_tokens=4"]
    finetune(f"checkpoint={checkpoint}", *pairs, "trainer.max_steps=2", "validate_every=2")
    model, tokenizer = load_language_model(tmp_path / "run")
    assert model.config == CONFIG
    prompt = tokenizer.encode("the cat")
    (text,) = generate(model, [prompt], max_new_tokens=6, sampling=GREEDY)
    expected = list(prompt)
    with torch.inference_mode():
        for _ in range(6):
            expected.append(int(model(torch.tensor([expected]))[0, -1].argmax()))
    assert text == expected[len(prompt) :]
