"""The base module: optimizer settings of a resumed run, per-step seed, documents of a bad batch."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import build_char_vocabulary
from webtext_gpt.training.guard import Guard
from webtext_gpt.training.module import TrainingModule
from webtext_gpt.training.optim import adamw
from webtext_gpt.training.schedule import linear

CONFIG = GPTConfig(n_layer=1, n_head=1, n_embd=8, block_size=4, vocab_size=4)


class Data:
    """Two processes with two micro-batches of two samples; sample s has document 10 s."""

    def samples(self, step: int, world_size: int) -> np.ndarray:
        return step * 8 + np.arange(8).reshape(2, world_size, 2)

    def documents(self, sample: int) -> list[int]:
        return [10 * sample]


def _module(lr: float = 0.5, not_finite: str = "stop", **trainer: Any) -> TrainingModule:
    def loss(inputs: Tensor) -> Tensor:
        return inputs.mean()

    module = TrainingModule(
        GPT(CONFIG),
        build_char_vocabulary(["abc"]),
        loss,
        corpus="c",
        make_optimizer=lambda model: adamw(model, lr=lr, weight_decay=0.25),
        schedule=lambda step, total_steps: linear(step, total_steps=total_steps),
        seed=3,
        tokens_per_step=8,
        guard=Guard(not_finite, spike=10),
    )
    stub = {
        "max_steps": 10,
        "accumulate_grad_batches": 1,
        "world_size": 1,
        "global_rank": 0,
        "is_global_zero": True,
        "default_root_dir": "nowhere",
        "datamodule": Data(),
        "barebones": False,
    }
    module._trainer = SimpleNamespace(**{**stub, **trainer})  # type: ignore[assignment]
    return module


def test_groups_of_the_optimizer_are_known_by_name() -> None:
    module = _module()
    optimizer = module.configure_optimizers()["optimizer"]
    decayed, plain = module.parameter_names
    assert [len(group["params"]) for group in optimizer.param_groups] == [len(decayed), len(plain)]
    assert "model.wte.weight" in decayed
    assert "model.ln_f.bias" in plain


def test_this_calls_optimizer_settings_override_the_checkpoints() -> None:
    """Peak 0.5 for 10 steps, resumed after 4 with peak 0.2: 0.2 (1 - 4/10), decay of this call."""
    earlier = _module(lr=0.5).configure_optimizers()
    optimizer, scheduler = earlier["optimizer"], earlier["lr_scheduler"]["scheduler"]
    for group in optimizer.param_groups:
        group["betas"] = (0.1, 0.2)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 * 0.6)

    module = _module(lr=0.2)
    now = module.configure_optimizers()
    now["optimizer"].load_state_dict(optimizer.state_dict())
    now["lr_scheduler"]["scheduler"].load_state_dict(scheduler.state_dict())
    module.trainer.lr_scheduler_configs = [
        SimpleNamespace(scheduler=now["lr_scheduler"]["scheduler"])
    ]
    module._apply_optimizer_settings()
    decayed, plain = now["optimizer"].param_groups
    assert decayed["lr"] == plain["lr"] == pytest.approx(0.2 * 0.6)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.25, 0.0)
    assert decayed["betas"] == (0.9, 0.95)
    now["optimizer"].step()
    now["lr_scheduler"]["scheduler"].step()
    assert decayed["lr"] == pytest.approx(0.2 * 0.5)


def test_dropout_depends_on_the_step_and_the_rank_alone() -> None:
    draws = {}
    for rank in (0, 1):
        for step in (0, 1):
            module = _module(world_size=2, global_rank=rank)
            module.trainer.global_step = step
            torch.manual_seed(99)
            module.on_train_batch_start(None, 0)
            draws[rank, step] = torch.rand(1).item()
    assert len(set(draws.values())) == 4
    module.on_train_batch_start(None, 0)
    assert torch.rand(1).item() == draws[1, 1]


def test_the_documents_of_micro_batches_without_a_finite_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Step 3, so samples 16 to 23: rank 0 has a bad second micro-batch, rank 1 none."""
    module = _module(world_size=2)
    others = torch.tensor([False, False])
    monkeypatch.setattr(module, "all_gather", lambda mine: torch.stack((mine, others)))
    assert module._documents(3, [True, False]) == [200, 210]
    assert module._documents(3, None) == [10 * s for s in range(16, 24)]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_one_process_names_the_documents_of_a_bad_micro_batch(accumulation: int) -> None:
    """Step 1, so the samples begin at 0. A single flag must select a micro-batch, not a sample."""
    module = _module(accumulate_grad_batches=accumulation)
    module.trainer.datamodule = SimpleNamespace(
        samples=lambda step, world_size: np.arange(2 * accumulation).reshape(accumulation, 1, 2),
        documents=lambda sample: [sample],
    )
    module.all_gather = lambda mine: mine  # type: ignore[method-assign]
    bad_last = [True] * (accumulation - 1) + [False]
    last = 2 * accumulation
    assert module._documents(1, bad_last) == [last - 2, last - 1]


def test_resuming_another_training_is_refused() -> None:
    module = _module()
    saved = {**module.description(), "tokens_per_step": 8, "seed": 3}
    module.refuse_other_training(saved)
    for changed, message in (
        ({"corpus": "d"}, "another corpus than this call"),
        ({"tokens_per_step": 16}, "global_batch_tokens=16, .* but this call has 8"),
        ({"seed": 4}, "seed=4, .* but this call has 3"),
    ):
        with pytest.raises(UserError, match=message):
            module.refuse_other_training({**saved, **changed})
