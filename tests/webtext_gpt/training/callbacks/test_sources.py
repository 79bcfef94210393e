"""The report of a mixture before training."""

from fractions import Fraction
from pathlib import Path

from webtext_gpt.data.mixture import Mixture
from webtext_gpt.data.pretraining import PretrainingData
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.tokenizer import build_char_vocabulary
from webtext_gpt.training.callbacks.sources import Sources


def _data(folder: Path) -> PretrainingData:
    """Sources of 1,000 and 100 tokens; a step takes 4 blocks of 10 tokens from each."""
    for name, n in (("long", 1000), ("short", 100)):
        documents = [("train", "a" * (n - 1)), ("validation", "aa")]
        write_shards(documents, build_char_vocabulary(["a"]), folder / name, {})
    sources = {name: TokenShards(folder / name) for name in ("long", "short")}
    mixture = Mixture(sources, {"long": Fraction(1), "short": Fraction(1)})
    return PretrainingData(mixture, block_size=10, global_batch_size=8, micro_batch_size=8, seed=0)


def test_each_source_is_listed_and_many_passes_are_noted(tmp_path: Path) -> None:
    report = Sources(_data(tmp_path), {})
    assert list(report.lines(10)) == [
        "source      long    50.0% of the samples, 1,000 tokens, read 0.40 times",
        "source      short   50.0% of the samples, 100 tokens, read 4.00 times",
    ]
    *_, note = report.lines(11)
    assert note.startswith("note        short is read 4.4 times; beyond 4 times, repeated text")


def test_the_length_that_gives_the_epochs_is_told(tmp_path: Path) -> None:
    lines = list(Sources(_data(tmp_path), {"long": 1.0, "short": 10.0}).lines(10))
    assert "trainer.max_tokens=2000 reads each as often as its epochs say" in lines[-1]
