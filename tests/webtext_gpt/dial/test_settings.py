"""`size=` and `budget=` on the command line: what they set, keep and refuse."""

from pathlib import Path

import pytest

from webtext_gpt.cli import parse, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.dial import fitted
from webtext_gpt.dial.derive import describe
from webtext_gpt.dial.laws import LossLaw, Shape
from webtext_gpt.dial.speed import MEASURED
from webtext_gpt.errors import UserError
from webtext_gpt.settings.optimization import Muon
from webtext_gpt.settings.train import Train


@pytest.fixture(autouse=True)
def _law(monkeypatch: pytest.MonkeyPatch) -> None:
    """L = 1 + 100 / N^0.5 + 10,000 / D^0.5, and 10^12 operations a second."""
    monkeypatch.setattr(fitted, "LOSS", LossLaw(1.0, 100.0, 0.5, 10_000.0, 0.5))
    monkeypatch.setattr(fitted, "SMALLEST", Shape(2))
    monkeypatch.setattr(fitted, "LARGEST", Shape(5))
    monkeypatch.setattr(fitted, "FEWEST_TOKENS", 10_000)
    monkeypatch.setenv(MEASURED, "0.0 1e-12")


def _read(*arguments: str) -> Train:
    command = COMMANDS["train"]
    settings = read_settings(command, parse(["trainer.devices=1", *arguments], command))
    assert isinstance(settings, Train)
    return settings


def test_size_sets_shape_batch_rates_and_length() -> None:
    """With 2^20 tokens, steps are of 4 sqrt(2^20) = 4,096 tokens, and 256 in number."""
    plain = _read("recipe=modern")
    settings = _read("size=780k", f"trainer.max_tokens={2**20}")
    model = settings.model
    assert (model.n_layer, model.n_head, model.n_embd) == (4, 4, 128)
    assert model.positions == "rotary"  # recipe=modern is implied
    assert settings.global_batch_tokens == 4096
    assert settings.trainer.max_tokens == 2**20
    assert settings.trainer.max_steps is None
    assert settings.scheduler.warmup_steps == 26
    assert isinstance(settings.optimizer, Muon)
    assert settings.optimizer == plain.optimizer  # the recipe's rates are for width 128
    larger = _read("size=6.3M").optimizer
    assert isinstance(larger, Muon)
    assert larger.adamw_lr == pytest.approx(settings.optimizer.adamw_lr * 0.5**0.5)
    assert larger.lr == settings.optimizer.lr


def test_size_alone_has_the_best_length() -> None:
    """The law's optimum: 3 x 0.5 x 100 / N^0.5 = p x 0.5 x 10,000 / D^0.5.

    N = 786,432; p = (3 x 4,718,592 + 3,145,728 + 2 x 1,572,864) / 9,437,184 = 2.1667, so that
    D = N (100 p / 3)^2 = 786,432 x 5,216 = 4.102 G tokens; 4 sqrt(D) = 256,188 tokens are 1,000.7
    sequences, in units of 128: 1,024.
    """
    settings = _read("size=786432")
    assert settings.global_batch_tokens == 1024 * 256
    assert settings.trainer.max_steps == round(786_432 * (100 * 2.166667 / 3) ** 2 / 2**18)
    assert settings.scheduler.warmup_steps == 100
    text = describe(settings)
    assert "size=786432: 4 layers of width 128 (786,432 weights in the blocks)" in text
    # 1 + 100 / 886.8 + 10,000 / sqrt(4.102 G) = 1 + 0.113 + 0.156
    assert "1.27 nats" in text


def test_budget_sets_time_and_the_best_model() -> None:
    settings = _read("budget=10", "seed=3")
    assert settings.trainer.max_minutes == 10
    assert settings.trainer.max_steps is None
    losses = {}
    for depth in range(2, 11):
        model = {"n_layer": depth, "n_embd": 32 * depth, "vocab_size": 4096}
        flops = settings.model.build(**{**model, "n_head": depth}).flops_per_token
        tokens = 0.85 * 600 * 1e12 / flops  # 0.85 of a budget is planned for
        losses[depth] = 1 + 100 / (12_288 * depth**3) ** 0.5 + 10_000 / tokens**0.5
    assert settings.model.n_layer == min(losses, key=lambda depth: losses[depth])


def test_given_keys_keep_their_values() -> None:
    settings = _read(
        *("size=780k", "trainer.max_steps=500", "global_batch_tokens=2048"),
        *("optimizer.adamw_lr=0.1", "scheduler.warmup_steps=7", "model.block_size=128"),
    )
    assert (settings.trainer.max_steps, settings.global_batch_tokens) == (500, 2048)
    assert isinstance(settings.optimizer, Muon)
    assert settings.optimizer.adamw_lr == 0.1
    assert settings.scheduler.warmup_steps == 7
    assert settings.model.block_size == 128


def test_batch_divides_among_devices_and_micro_batches() -> None:
    # 16 sequences for 2^20 tokens: the nearest multiple of 2 x 3 is 18
    settings = _read(
        "size=780k", f"trainer.max_tokens={2**20}", "trainer.devices=2", "micro_batch_size=3"
    )
    assert settings.global_batch_tokens == 18 * 256


def test_null_is_no_dial() -> None:
    assert _read("size=null", "budget=null", "run_dir=a") == _read("run_dir=a")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["size=1M", "budget=3"], ["size=1M", "budget=3", "trainer.max_minutes=3"]),
        (["size=1M", "recipe=null"], ["size=1M", "recipe=null", "recipe=modern"]),
        (["size=1M", "optimizer=adamw"], ["size=1M", "optimizer=adamw"]),
        (["budget=3", "model=small"], ["budget=3", "model=small"]),
        (["size=1M", "experiment=quickstart"], ["size=1M", "experiment=quickstart"]),
        (["size=1M", "model.n_layer=3"], ["size=1M", "model.n_layer=3"]),
        (["budget=3", "trainer.max_steps=3"], ["budget=3", "trainer.max_steps=3"]),
        (["budget=3", "trainer.max_minutes=3"], ["budget=3", "trainer.max_minutes=3"]),
        (["size=1M", "checkpoint=gpt2"], ["size=1M", "checkpoint=gpt2"]),
        (["size=1M", "resume=runs/a"], ["size=1M", "resume=runs/a"]),
        (["budget=3", "resume=auto", "run_dir=runs/a"], ["budget=3", "resume=auto", "size="]),
        (["size=1G"], ["size=1000000000", "98,304 to 12,288,000"]),
        (["size=1k"], ["size=1000", "98,304 to 12,288,000"]),
        (["budget=1e-9"], ["budget=1e-09", "minutes or more"]),
        (["budget=1e9"], ["budget=1e+09", "minutes or less"]),
        (["size=ten"], ["size=ten"]),
    ],
)
def test_refusals(arguments: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        _read(*arguments)
    assert all(word in str(refused.value) for word in words), refused.value


def test_size_of_a_configuration_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text("# @package _global_\nsize: 1M\n")
    with pytest.raises(UserError, match="size and budget .* command line"):
        _read("experiment=mine", f"--config-dir={tmp_path}")


def test_python_code_that_leaves_the_derived_keys_out_is_refused() -> None:
    settings = _read("recipe=modern")
    settings.size = 2_000_000
    with pytest.raises(UserError, match=r"size=2000000 .*webtext_gpt\.dial\.derive"):
        describe(settings)
