"""`packing=best_fit` in whole runs: resumed, of a mixture, with masks, and changed on resuming."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.training.corpus import open_shards
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.pretrain import pretrain

PACKED = ("packing=best_fit", "callbacks.samples=null", "scheduler=constant", "validate_every=9")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """130 documents of up to 30 words, most of them shorter than a row of 32 tokens."""
    path = tmp_path_factory.mktemp("documents") / "many.jsonl"
    draw = random.Random(0)
    with path.open("w") as file:
        for number in range(130):
            words = draw.choices(["a", "cat", "sees", "the", "old", "river"], k=draw.randint(0, 30))
            file.write(json.dumps({"text": f"{' '.join(words)} {number}."}) + "\n")
    return path


@pytest.fixture
def train(compose: Callable[..., Any], small_run: list[str], corpus: Path) -> Callable[..., dict]:
    """`train(*overrides)`: a small run that packs, in this process, new or resumed."""
    fixed = [*small_run, f"data.path={corpus}", *PACKED, "resume=auto"]
    return lambda *more: pretrain(compose("train", *fixed, *more))


@pytest.mark.slow
def test_a_resumed_run_equals_an_undisturbed_one(
    train: Callable[..., dict],
    compose: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With masks, over several epochs, and with other micro-batches."""
    masked = "mask_documents=true"
    whole = tmp_path / "whole"
    train(f"run_dir={whole}", masked, "trainer.max_steps=17")
    printed = capsys.readouterr().out
    train(masked, "trainer.max_steps=5")
    run = tmp_path / "run"
    pretrain(compose("train", f"resume={run}", "micro_batch_size=2", "trainer.max_steps=17"))
    losses = [[row["train_loss"] for row in read_metrics(f / "metrics.csv")] for f in (whole, run)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    ours, theirs = (read_checkpoint(f / "checkpoints" / "last.ckpt") for f in (run, whole))
    for name, value in theirs["state_dict"].items():
        torch.testing.assert_close(ours["state_dict"][name], value, atol=1e-4, rtol=1e-3)
    shards = TokenShards(next((tmp_path / "cache").glob("files-*/")))
    split = shards.split("train")
    lengths = split.document_lengths()
    assert lengths.sum() == split.n_tokens
    summary = json.loads((run / "summary.json").read_text())
    read = split.n_tokens - summary["left_out_tokens"]
    assert read % 32 == 0
    assert 2 * read / 32 < 17 * 8  # 8 rows a step: more than two epochs
    beyond = sum(max(0, int(n) - 32) for n in lengths)
    assert beyond <= summary["left_out_tokens"] < split.n_tokens / 2
    share = f"{summary['left_out_tokens'] / split.n_tokens:.1%}"
    assert (
        f"packing     {read // 32:,} rows an epoch; {share} of the training tokens are left out, "
        f"{beyond / split.n_tokens:.1%} in documents beyond the length of a row"
    ) in printed


def test_a_run_keeps_its_packing(
    train: Callable[..., dict], compose: Callable[..., Any], tmp_path: Path
) -> None:
    train("trainer.max_steps=1")
    run = tmp_path / "run"
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["packing"] == "best_fit"
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="was trained with packing=best_fit; leave the key out"):
        pretrain(compose("train", f"resume={run}", "packing=stream", "trainer.max_steps=2"))
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {path: after.get(path) for path in before} == before
    stream = tmp_path / "stream"
    train("packing=stream", f"run_dir={stream}", "trainer.max_steps=1")
    assert "packing" not in read_checkpoint(stream / "checkpoints" / "last.ckpt")
    config = stream / "config.yaml"  # as a run from before the key existed
    config.write_text(config.read_text().replace("packing: stream\n", ""))
    pretrain(compose("train", f"resume={stream}", "trainer.max_steps=2"))
    with pytest.raises(UserError, match="was trained with packing=stream; leave the key out"):
        pretrain(compose("train", f"resume={stream}", "packing=best_fit", "trainer.max_steps=3"))


def test_epochs_of_a_mixture_count_the_rows(
    compose: Callable[..., Any], small_run: list[str], corpus: Path, tmp_path: Path
) -> None:
    """Two sources, one read twice as often: their shares are in the ratio of 2 to 1 of rows."""
    rows = corpus.read_text().splitlines()
    small = [option for option in small_run if not option.startswith(("data=", "data.path="))]
    sources = []
    for name, lines, epochs in (("a", rows[:80], 2), ("b", rows[80:], 1)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        sources += [f"data.sources.{name}.path={tmp_path / name}.jsonl"]
        sources += [f"data.sources.{name}.epochs={epochs}"]
    settings = compose("train", "data=mixture", *sources, *small, *PACKED, "trainer.max_steps=2")
    pretrain(settings)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    epochs = {name: own["epochs"] for name, own in summary["sources"].items()}
    assert epochs["a"] / epochs["b"] == pytest.approx(2, rel=0.2)  # of 16 samples
    shares = open_shards(settings).shares
    read = {}
    for name, shards in open_shards(settings).sources.items():
        counts = {}
        for length in shards.split("train").document_lengths():
            counts[min(int(length), 32)] = counts.get(min(int(length), 32), 0) + 1
        read[name] = _rows(counts, 32)
    assert shares["a"] / shares["b"] == pytest.approx(2 * read["a"] / read["b"])


def _rows(counts: dict[int, int], row: int) -> int:
    """Count the rows of best fit, one document at a time."""
    rows = 0
    while True:
        room = row
        while room:
            fitting = [n for n, left in counts.items() if left and n <= room]
            others = [n for n, left in counts.items() if left]
            if not others:
                return rows
            chosen = max(fitting) if fitting else min(others)
            counts[chosen] -= 1
            room -= min(room, chosen)
        rows += 1


def test_text_of_one_document_is_refused_before_anything_is_written(
    compose: Callable[..., Any], small_run: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"packing=best_fit would use 32 of .* set packing=stream"):
        pretrain(compose("train", *small_run, *PACKED))
    assert not (tmp_path / "run").exists()
