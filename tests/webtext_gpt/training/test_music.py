"""`train.py` on music: nothing but the data= is new."""

import json
from pathlib import Path

import pytest

from webtext_gpt.checkpoint.load import load
from webtext_gpt.errors import UserError
from webtext_gpt.music.grid import CHORALE
from webtext_gpt.music.vocabulary import encoding_of
from webtext_gpt.training.corpus import expected_vocabulary, open_shards
from webtext_gpt.training.metrics import read_metrics

SHAPE = [
    "model.n_layer=1", "model.n_head=2", "model.n_embd=16", "model.block_size=16",
    "global_batch_tokens=128", "trainer.accelerator=cpu", "trainer.precision=32-true",
    "trainer.max_steps=30", "scheduler.warmup_steps=2", "optimizer.lr=1e-2", "validate_every=15",
    "callbacks.samples.max_new_tokens=5",
]  # fmt: skip


@pytest.fixture
def chorales(tmp_path: Path) -> str:
    piece = [[60, 55, 52, 48], [62, 55, 53, 47]] * 8
    path = tmp_path / "chorales.json"
    path.write_text(json.dumps({"train": [piece], "valid": [piece]}))
    return f"data.path={path}"


@pytest.mark.slow
def test_a_model_of_chorales_learns_and_continues(call, chorales: str, tmp_path: Path) -> None:
    cache, first = f"cache_dir={tmp_path / 'cache'}", tmp_path / "first"
    done = call("train.py", "data=chorales", chorales, *SHAPE, cache, f"run_dir={first}")
    assert done.returncode == 0, done.stderr
    assert "2 pieces: 1 for training x 12 keys, 1 for validation" in done.stdout
    losses = [row["val_loss"] for row in read_metrics(first / "metrics.csv") if row.get("val_loss")]
    assert losses[-1] < 4  # nats; a uniform guess among 162 tokens has ln 162 = 5.09
    assert encoding_of(load(first).tokenizer) is CHORALE
    more = [f"checkpoint={first}", f"run_dir={tmp_path / 'second'}", cache, *SHAPE[4:]]
    again = call("train.py", "data=chorales", chorales, *more)
    assert again.returncode == 0, again.stderr
    assert "building token shards" not in again.stdout


def test_the_vocabulary_is_known_before_training(compose, chorales: str, tmp_path: Path) -> None:
    settings = compose("train", "data=chorales", chorales, f"cache_dir={tmp_path / 'cache'}")
    assert settings.tokenizer is None
    assert expected_vocabulary(settings) == 162
    assert open_shards(settings).vocab_size == 162


@pytest.mark.parametrize("given", ["tokenizer=char", "tokenizer.vocab_size=300"])
def test_another_tokenizer_is_refused(compose, chorales: str, given: str) -> None:
    with pytest.raises(UserError, match="music has a tokenizer of its own"):
        compose("train", "data=chorales", chorales, given)


def test_a_text_model_is_refused(
    call, chorales: str, small_checkpoint: Path, tmp_path: Path
) -> None:
    done = call(
        "train.py", "data=chorales", chorales, f"checkpoint={small_checkpoint}",
        f"cache_dir={tmp_path / 'cache'}", f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.returncode == 1
    assert "has another vocabulary (280 ids) than this data=" in done.stderr


def test_a_mixture_of_music_is_refused(compose, chorales: str) -> None:
    path = chorales.removeprefix("data.path=")
    with pytest.raises(UserError, match="kind=chorales"):
        compose(
            "train", "data=mixture", "data.sources.a.kind=chorales", f"data.sources.a.path={path}"
        )
