"""The samples and documents that a training step reads."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from webtext_gpt.data import pretraining
from webtext_gpt.data.pretraining import PretrainingData
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.tokenizer import build_char_vocabulary

LENGTHS = [5, 1, 9, 3, 3, 20, 2]  # 50 tokens with the end-of-text token of each document
LETTERS = "abcdefg"  # document k consists of the k-th letter, whose token id is k
END_OF_TEXT = 7


@pytest.fixture
def data(tmp_path: Path) -> PretrainingData:
    documents = [("train", letter * n) for letter, n in zip(LETTERS, LENGTHS, strict=True)]
    documents.append(("validation", "ab"))
    tokenizer = build_char_vocabulary([LETTERS])
    write_shards(documents, tokenizer, tmp_path / "shards", {}, shard_tokens=12)
    return PretrainingData(
        TokenShards(tmp_path / "shards"),
        block_size=4,
        global_batch_size=12,
        micro_batch_size=2,
        seed=3,
    )


# Documents begin at tokens 0, 6, 8, 18, 22, 26 and 47. A sample reads a block and one more token.
@pytest.mark.parametrize(
    ("start", "tokens", "documents"),
    [
        (0, [7, 0, 0, 0, 0], [0]),
        (1, [0, 0, 0, 0, 0], [0]),
        (2, [0, 0, 0, 0, 7], [0, 1]),
        (4, [0, 0, 7, 1, 7], [0, 1, 2]),
        (6, [7, 1, 7, 2, 2], [1, 2]),
        (18, [7, 3, 3, 3, 7], [3, 4]),
        (25, [4, 7, 5, 5, 5], [4, 5]),
        (45, [5, 5, 7, 6, 6], [5, 6]),
        (46, [5, 7, 6, 6, 7], [5, 6, 0]),  # wraps around the end of the corpus
        (49, [6, 7, 0, 0, 0], [6, 0]),
    ],
)
def test_tokens_and_documents_of_a_block(
    data: PretrainingData,
    monkeypatch: pytest.MonkeyPatch,
    start: int,
    tokens: list[int],
    documents: list[int],
) -> None:
    monkeypatch.setattr(pretraining, "block_start", lambda sample, *_: start)
    inputs, targets = data.training[0]
    assert inputs.tolist() == tokens[:-1]
    assert targets.tolist() == tokens[1:]
    assert data.documents(0) == documents


def test_documents_of_a_sample_are_those_of_its_tokens(data: PretrainingData) -> None:
    wrapped = 0
    for sample in range(60):
        inputs, targets = data.training[sample]
        tokens = [*inputs.tolist(), int(targets[-1])]
        expected = {token for token in tokens if token != END_OF_TEXT}
        if tokens[-1] == END_OF_TEXT:  # this end-of-text belongs to the next document
            expected.add((tokens[-2] + 1) % len(LETTERS))
        assert set(data.documents(sample)) == expected
        wrapped += {0, len(LETTERS) - 1} <= expected
    assert wrapped  # some blocks wrap around the end of the corpus


def test_samples_of_a_step(data: PretrainingData) -> None:
    assert data.samples(step=5, world_size=3).tolist() == [
        [[60, 61], [62, 63], [64, 65]],
        [[66, 67], [68, 69], [70, 71]],
    ]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_batches_are_pinned_for_a_gpu_of_the_run(
    device: str, data: PretrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run on a machine's CPUs does not pin them because the machine has a GPU too."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=0, world_size=1, global_step=0, strategy=strategy
    )
    loaders = [data.train_dataloader(), *data.val_dataloader()]
    assert [loader.pin_memory for loader in loaders] == [device == "cuda"] * 2
