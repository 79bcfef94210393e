"""Score the documents of a stage by quality, and drop those below a limit.

A score depends on the document's text alone, and the limit on the scores of all documents, so the
order of the files and the number of processes change nothing.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.classifier.model import QualityModel, Scores
from data_prep.stage.ledger import Ledger
from data_prep.stage.records import Records
from webtext_gpt.files import replaced

LOW = "low quality"
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class QualityLimit:
    """Rule for dropping documents. At most one limit is given.

    Attributes:
        threshold: Lowest score of a document that is kept.
        percentile: Percentage of documents to drop, those with the lowest scores.
    """

    threshold: float | None = None
    percentile: float | None = None

    def lowest(self, scores: Scores) -> float:
        """Return the lowest score of a document that is kept.

        A percentile of P drops the floor(N P / 100) documents with the lowest scores, or fewer
        where equal scores would have to be divided.
        """
        if self.percentile is None:
            return 0.0 if self.threshold is None else self.threshold
        dropped = int(len(scores) * self.percentile / 100)
        return float(np.partition(scores, dropped)[dropped]) if len(scores) else 0.0


class ScoreRecord(TypedDict):
    """Record of one file: its documents, and those that were dropped."""

    rows: int
    rejected: dict[str, int]


def score_documents(
    ledger: Ledger,
    folder: Path,
    model: QualityModel,
    limit: QualityLimit,
    sample: int,
    by_part: Callable[..., Any],
) -> tuple[Counter[str], dict[str, Any]]:
    """Write the documents of a stage to its folder, with the column `quality`.

    Args:
        ledger: The stage. The documents of an input with hash H are `documents-H.parquet`.
        folder: Where the documents without scores are, and in `dropped/H.parquet` the texts that
            were dropped before, if they are kept.
        model: The classifier.
        limit: Rule for dropping documents.
        sample: Characters kept of each text in `dropped`.
        by_part: `Ledger.run_parts`, with its engine.

    Returns:
        The documents dropped here, by reason, and the record of the scores for the manifest.
    """
    hashes = [file.hash for file in ledger.inputs]
    marks = [ledger.work / f"scores-{name}.npy" for name in hashes]
    files = {
        f"score-{name}": (folder / f"documents-{name}.parquet", mark)
        for name, mark in zip(hashes, marks, strict=True)
    }
    by_part(partial(_score, model=model), files, label="scoring documents")
    every = [np.load(mark, allow_pickle=False) for mark in marks]
    lowest = limit.lowest(np.concatenate([np.empty(0, np.float32), *every]))
    records: Records[ScoreRecord] = by_part(
        partial(_cut, folder=folder, out=ledger.out, lowest=lowest, sample=sample),
        {f"cut-{name}": (name, mark) for name, mark in zip(hashes, marks, strict=True)},
        label="writing documents",
    )
    return records.rejected, {"model": model.hash, "auc": model.auc, "lowest": lowest}


def _score(files: tuple[Path, Path], model: QualityModel) -> ScoreRecord:
    source, target = files
    with pq.ParquetFile(source) as file, replaced(target) as temporary:
        found = [model.scores(batch["text"]) for batch in file.iter_batches(ROWS_AT_ONCE)]
        with temporary.open("wb") as stream:
            np.save(stream, np.concatenate([np.empty(0, np.float32), *found]))
    return {"rows": sum(map(len, found)), "rejected": {}}


def _cut(
    marked: tuple[str, Path], folder: Path, out: Path, lowest: float, sample: int
) -> ScoreRecord:
    """Write one file's documents whose score is at least `lowest`, and the others as dropped."""
    name, mark = marked
    scores = np.load(mark, allow_pickle=False)
    rows = 0
    low: list[pa.Table] = []
    source, target = (place / f"documents-{name}.parquet" for place in (folder, out))
    with pq.ParquetFile(source) as file, replaced(target) as temporary:
        schema = file.schema_arrow.append(pa.field("quality", pa.float32()))
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                part = pa.array(scores[rows : rows + len(batch)])
                table = pa.Table.from_batches([batch]).append_column(schema.field("quality"), part)
                rows += len(batch)
                kept = pc.greater_equal(part, pa.scalar(lowest, pa.float32()))
                writer.write_table(table.filter(kept))
                low.append(_dropped(table.filter(pc.invert(kept)), sample))
    before = folder / "dropped" / f"{name}.parquet"
    if before.exists():
        after = out / "dropped" / before.name
        after.parent.mkdir(exist_ok=True)
        with replaced(after) as temporary:
            every = pa.concat_tables([pq.read_table(before), *low])
            pq.write_table(every, temporary, compression="zstd")
    dropped = sum(table.num_rows for table in low)
    return {"rows": rows, "rejected": {LOW: dropped} if dropped else {}}


def _dropped(table: pa.Table, sample: int) -> pa.Table:
    """Return the columns of `dropped`: url, reason and the beginning of the text."""
    return pa.table({
        "url": table["url"],
        "reason": pa.array([LOW] * table.num_rows, pa.string()),
        "text": pc.utf8_slice_codeunits(table["text"], 0, sample),
    })  # fmt: skip
