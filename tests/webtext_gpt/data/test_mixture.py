"""Samples and validation windows of a mixture of three sources."""

from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from webtext_gpt.data.mixture import Mixture
from webtext_gpt.data.pretraining import PretrainingData
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import build_char_vocabulary

TOKENIZER = build_char_vocabulary(["abcdefghi"])
TEXTS = {"x": "abc", "y": "def", "z": "ghi"}  # source x has ids 0 to 2, y 3 to 5, z 6 to 8
WEIGHTS = {"x": Fraction(2), "y": Fraction(1), "z": Fraction(1)}


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, TokenShards]:
    opened = {}
    for number, (name, letters) in enumerate(TEXTS.items()):
        documents = [("train", letter * (20 + 7 * number)) for letter in letters * 3]
        documents.append(("validation", letters * (number + 2)))
        write_shards(documents, TOKENIZER, tmp_path / name, {})
        opened[name] = TokenShards(tmp_path / name)
    return opened


def _data(mixture: TokenShards | Mixture, *, step: int = 0, rank: int = 0, devices: int = 1):
    data = PretrainingData(mixture, block_size=4, global_batch_size=8, micro_batch_size=2, seed=3)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(
        global_rank=rank, world_size=devices, global_step=step, strategy=strategy
    )
    return data


def _samples(data: PretrainingData, batches: int) -> list[list[int]]:
    found = islice(data.train_dataloader(), batches)
    return [row for inputs, _ in found for row in inputs.tolist()]


def test_two_processes_and_a_resumed_run_read_the_same_samples(
    sources: dict[str, TokenShards],
) -> None:
    mixture = Mixture(sources, WEIGHTS)
    alone = _samples(_data(mixture), 40)  # 10 steps of 4 micro-batches
    assert _samples(_data(mixture, step=6), 16) == alone[48:]
    ranks = [_samples(_data(mixture, rank=rank, devices=2), 20) for rank in (0, 1)]
    assert sorted(ranks[0] + ranks[1]) == sorted(alone)
    resumed = [_samples(_data(mixture, step=6, rank=r, devices=2), 8) for r in (0, 1)]
    assert resumed == [ranks[0][24:], ranks[1][24:]]
    # Micro-batches of the global batch are dealt in turn.
    assert ranks[0][:4] == alone[0:2] + alone[4:6]
    assert ranks[1][:4] == alone[2:4] + alone[6:8]


def test_samples_come_from_the_sources_in_their_shares(sources: dict[str, TokenShards]) -> None:
    data = _data(Mixture(sources, WEIGHTS))
    counts = dict.fromkeys(TEXTS, 0)
    for sample in range(200):
        ids = set(data.training[sample][0].tolist()) - {TOKENIZER.end_of_text}
        (name,) = {"xyz"[token // 3] for token in ids}
        counts[name] += 1
        assert all(document.startswith(f"{name} ") for document in data.documents(sample))
    assert counts == {"x": 100, "y": 50, "z": 50} == data.sample_counts(200)
    # 9 documents of 20 letters and an end-of-text token: 189 tokens; 100 samples of 4 tokens.
    assert data.passes(200)["x"] == 400 / 189


def test_neither_the_order_of_sources_nor_the_scale_of_weights_plays_a_part(
    sources: dict[str, TokenShards],
) -> None:
    backwards = {name: sources[name] for name in reversed(sources)}
    scaled = {name: weight * 10 for name, weight in WEIGHTS.items()}
    first, second = Mixture(sources, WEIGHTS), Mixture(backwards, scaled)
    assert first.hash == second.hash
    assert _samples(_data(first), 8) == _samples(_data(second), 8)


def test_an_epoch_of_a_source_reads_each_of_its_blocks_once(
    sources: dict[str, TokenShards],
) -> None:
    data = _data(Mixture(sources, WEIGHTS))
    blocks = sources["x"].split("train").n_tokens // 4
    own = [k for k in range(4 * blocks) if data.training.pattern.locate(k)[0] == 0][:blocks]
    read = torch.stack([data.training[k][0] for k in own])
    starts = {tuple(data.documents(k)) for k in own}
    assert len(read) == 47
    assert len(starts) >= 9
    stream = torch.from_numpy(sources["x"].split("train").read(0, 189))
    seen = torch.bincount(read.flatten(), minlength=10)
    missed = torch.bincount(stream, minlength=10) - seen
    assert missed.sum() == 1  # 189 tokens, 47 blocks of 4: all but one token, once
    assert missed.min() == 0


@pytest.mark.parametrize(
    "changed",
    [
        lambda s: Mixture(s, WEIGHTS | {"y": Fraction(2)}),
        lambda s: Mixture({"x": s["x"], "y": s["y"]}, WEIGHTS),
        lambda s: Mixture({"x": s["x"], "y": s["y"], "w": s["z"]}, WEIGHTS | {"w": Fraction(1)}),
        lambda s: Mixture({"x": s["x"], "y": s["z"], "z": s["y"]}, WEIGHTS),
    ],
)
def test_the_hash_covers_names_weights_and_tokens(
    sources: dict[str, TokenShards], changed: Callable[[dict[str, TokenShards]], Mixture]
) -> None:
    assert changed(sources).hash != Mixture(sources, WEIGHTS).hash


def test_each_source_is_validated_as_by_itself(sources: dict[str, TokenShards]) -> None:
    loaders = _data(Mixture(sources, WEIGHTS)).val_dataloader()
    assert len(loaders) == 3
    for loader, shards in zip(loaders, sources.values(), strict=True):
        (alone,) = _data(shards).val_dataloader()
        for (inputs, targets), (own_inputs, own_targets) in zip(loader, alone, strict=True):
            assert torch.equal(inputs, own_inputs)
            assert torch.equal(targets, own_targets)
    # Every token but the first of each source is a target once, on two processes too.
    for rank_loaders in zip(
        *(_data(Mixture(sources, WEIGHTS), rank=r, devices=2).val_dataloader() for r in (0, 1)),
        strict=True,
    ):
        batches = [list(loader) for loader in rank_loaders]
        assert len(batches[0]) == len(batches[1])
    targets = [
        int((targets >= 0).sum())
        for loaders in [
            _data(Mixture(sources, WEIGHTS), rank=r, devices=2).val_dataloader() for r in (0, 1)
        ]
        for loader in loaders
        for _, targets in loader
    ]
    assert sum(targets) == (6 + 9 + 12)  # 2, 3 and 4 times 3 letters, after an end-of-text token


def test_a_source_shorter_than_a_block_is_named(sources: dict[str, TokenShards]) -> None:
    with pytest.raises(UserError, match=r"data\.sources\.x: the training split has 189 tokens"):
        PretrainingData(
            Mixture(sources, WEIGHTS),
            block_size=189,
            global_batch_size=1,
            micro_batch_size=1,
            seed=0,
        )


def test_a_source_without_a_split_is_named(sources: dict[str, TokenShards], tmp_path: Path) -> None:
    write_shards([("train", "abc" * 9)], TOKENIZER, tmp_path / "t", {})
    with pytest.raises(UserError, match=r"data\.sources\.t: .*has no validation split"):
        _data(Mixture(sources | {"t": TokenShards(tmp_path / "t")}, WEIGHTS | {"t": Fraction(1)}))
