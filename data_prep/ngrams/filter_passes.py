"""The test sets' 8-grams, looked up in the filter of train one part at a time.

A filter that does not fit into memory is divided into parts of equal size. Each is built from all
stored hashes (or read from a file), queried for all 8-grams of the tests, counted, and dropped. The
answers and counts do not depend on the number of parts.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

import numpy as np

from data_prep.ngrams.arrays import Flags
from data_prep.ngrams.bloom import checked_header, new_header
from data_prep.ngrams.bloom_file import put_words, read_words, seal_filter
from data_prep.ngrams.bloom_fill import Fill
from data_prep.ngrams.bloom_part import BLOCK_BYTES, FilterPart, part_ranges
from data_prep.ngrams.bloom_size import HALVES, blocks_for
from data_prep.ngrams.hash_file import read_hashes
from data_prep.ngrams.measurement import FilterFigures, Measurement
from data_prep.ngrams.train_pass import TrainPass
from data_prep.stage import workers
from data_prep.stage.memory import available_memory
from webtext_gpt.files import replaced
from webtext_gpt.progress import progress_bar

FREE_SHARE = 0.75
"""Share of the free memory that a filter may take unless a number of bytes is given."""
FILTER = "train.bloom"


@dataclass(frozen=True)
class Answer:
    """Answers of a filter.

    Attributes:
        found: Which 8-grams of the tests it finds, by their number in the exact set.
        fill: Counts of its bits.
        added: 8-grams added, repeats included.
        room: Distinct 8-grams that it was sized for; None if unknown.
    """

    found: Flags
    fill: Fill
    added: int
    room: int | None

    @property
    def false_positive_rate(self) -> float:
        """The filter's false-positive rate, computed from its bits."""
        return self.fill.false_positive_rate(self.added)

    def figures(self) -> FilterFigures:
        """Return the figures of the manifest."""
        return {
            "false_positive_rate": self.false_positive_rate,
            "distinct": round(self.fill.distinct()),
            "room": self.room,
            "added": self.added,
            "bytes": HALVES * self.fill.blocks * BLOCK_BYTES,
        }


class _PartRecord(TypedDict):
    """Record of one part: its counts, see `Fill`."""

    bits: int
    passing: list[int]


def ask_file(run: Measurement, path: Path) -> Answer:
    """Look up the 8-grams of the tests in an existing filter.

    Raises:
        UserError: The file is not a sound filter, or holds more than it was sized for.
    """
    header = checked_header(path)
    found, fill = np.ones(len(run.exact), np.bool_), Fill(header.blocks)
    for low, high in part_ranges(header.blocks, _most_bytes(run)):
        part = FilterPart(header.blocks, low, high)
        read_words(path, low, part.words)
        found &= part.contains(run.exact.hashes)
        fill += part.fill()
        del part  # before the next one is read
    fill.refuse_overfull(path, header.added, header.room)
    return Answer(found, fill, header.added, header.room)


def ask_train(run: Measurement, train: TrainPass, keep: bool) -> Answer:
    """Build the filter of train from the stored hashes, and look up the tests' 8-grams in it.

    A part that an earlier call finished is not built again, unless the division has changed.

    Args:
        run: The measurement.
        train: The pass.
        keep: Whether to write the filter to the output folder.
    """
    room = max(train.capacity(), 1)
    blocks = blocks_for(room, run.rules.rate)
    found, fill = np.ones(len(run.exact), np.bool_), Fill(blocks)
    ranges = part_ranges(blocks, _most_bytes(run))
    words = run.ledger.work / FILTER if keep else None
    for number, (low, high) in enumerate(ranges, start=1):
        label = "filling the filter"
        label += f", part {number} of {len(ranges)}" if len(ranges) > 1 else ""
        unit = f"filter-{low}-{high}"
        answers = run.ledger.work / f"{unit}.npy"
        ask = partial(_ask_part, run, train, blocks, (low, high), answers, words, label)
        record = run.ledger.run_unit(unit, ask)
        found &= np.load(answers)
        fill += Fill(blocks, record["bits"], (record["passing"][0], record["passing"][1]))
    added = train.counts.ngrams
    fill.refuse_overfull("train", added, room)
    if words is not None and words.exists():  # else an earlier call has moved it
        seal_filter(words, new_header(blocks, added, room))
        words.replace(run.ledger.out / FILTER)
    return Answer(found, fill, added, room)


def _ask_part(
    run: Measurement,
    train: TrainPass,
    blocks: int,
    limits: tuple[int, int],
    answers: Path,
    words: Path | None,
    label: str,
) -> _PartRecord:
    """Build one part of the filter, write its answers and, if asked to, its words."""
    part = FilterPart(blocks, *limits)
    threads = run.workers_at_once or workers.cores()
    with (
        progress_bar(label, total=train.counts.ngrams, unit="8-gram", unit_scale=True) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        for path in train.hashes:
            for some in read_hashes(path):
                part.add_on(pool, threads, some)
                bar.update(len(some))
    with replaced(answers) as temporary, temporary.open("wb") as file:
        np.save(file, part.contains(run.exact.hashes))
    if words is not None:
        put_words(words, part.low, part.words)
    fill = part.fill()
    return {"bits": fill.bits, "passing": list(fill.passing)}


def _most_bytes(run: Measurement) -> int | None:
    """Return the largest size of a part; None if the free memory is unknown."""
    if run.filter_memory is not None:
        return run.filter_memory
    free = available_memory()
    return None if free is None else int(FREE_SHARE * free)
