"""Bits per byte of held-out documents."""

import math
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options
from webtext_gpt.evaluation.confidence import ratio_values
from webtext_gpt.evaluation.corpora.inputs import HeldOutSet
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.progress import progress_bar

METRIC = "bits_per_byte"


@dataclass(frozen=True)
class HeldOut(Benchmark):
    """Bits per byte of a set of documents, each scored by itself from its beginning.

    Attributes:
        documents: the set.
    """

    documents: HeldOutSet

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Score all documents with a sliding window. See `Benchmark.run`.

        The figure is total bits / total bytes; see `ratio_values` for a document's own value.
        """
        per_document = [scorer.sliding_windows(text) for text in self.documents.texts]
        with progress_bar(self.name, total=sum(map(len, per_document)), unit="window") as bar:
            bits = [-nats / math.log(2) for nats in scorer.documents(per_document, bar.update)]
        sizes = [len(text.encode()) for text in self.documents.texts]
        n_bytes = sum(sizes)
        values = ratio_values(bits, sizes, n_bytes)
        n_tokens = sum(window.scored for own in per_document for window in own)
        counts = {"bytes": n_bytes, "tokens": n_tokens}
        return Measurement({METRIC: math.fsum(bits) / n_bytes}, len(bits), counts, {METRIC: values})


def benchmark_of(documents: HeldOutSet) -> HeldOut:
    """Return the benchmark of a held-out set."""
    return HeldOut(documents.name, DataSource((), ()), {}, documents)
