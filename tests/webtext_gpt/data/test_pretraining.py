"""Which samples and which documents a step reads."""

from pathlib import Path

import numpy as np

from webtext_gpt.data.pretraining import PretrainingData
from webtext_gpt.data.sampler import GlobalBatchSampler, block_start
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.tokenizer import build_char_vocabulary

LENGTHS = [5, 1, 9, 3, 3, 20, 2]


def _data(tmp_path: Path) -> PretrainingData:
    tokenizer = build_char_vocabulary(["ab"])
    documents = [("train", "a" * n) for n in LENGTHS] + [("validation", "ab")]
    write_shards(documents, tokenizer, tmp_path / "shards", {}, shard_tokens=12)
    return PretrainingData(
        TokenShards(tmp_path / "shards"),
        block_size=4,
        global_batch_size=12,
        micro_batch_size=2,
        seed=3,
    )


def test_documents_of_a_sample(tmp_path: Path) -> None:
    owners = np.repeat(np.arange(len(LENGTHS)), np.array(LENGTHS) + 1)  # with end-of-text
    data = _data(tmp_path)
    wrapped = 0
    for sample in range(60):
        start = block_start(sample, 3, len(owners), 4)
        tokens = [owners[(start + i) % len(owners)] for i in range(5)]
        assert set(data.documents(sample)) == set(tokens)
        wrapped += start + 5 > len(owners)
    assert wrapped  # some blocks run over the corpus's end


def test_samples_are_those_that_the_sampler_deals_out(tmp_path: Path) -> None:
    samples = _data(tmp_path).samples(step=5, world_size=3)
    assert samples.shape == (2, 3, 2)
    for rank in range(3):
        dealt = iter(GlobalBatchSampler(12, 2, rank=rank, world_size=3, first_step=5))
        for micro_batch in range(2):
            assert samples[micro_batch, rank].tolist() == next(dealt)
