"""MinHash signatures of documents by Daft, stored as one key per band and a hash of all words."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.near_duplicates.candidates import band_keys
from data_prep.near_duplicates.identity import comparable
from data_prep.near_duplicates.key_files import write_keys
from data_prep.ngrams.arrays import Hashes
from data_prep.stage.engine import daft_paths
from data_prep.stage.ledger import Ledger

if TYPE_CHECKING:
    from daft import Expression

PARTS_AT_ONCE = 16  # parts that one query reads: enough for every worker of a small cluster
ROWS_AT_ONCE = 1 << 19  # documents that one query signs: their minima are held in memory
HASH: Final = "xxhash3_64"
BATCH = 512  # documents a thread takes at a time; by default Daft gives all of them to one thread


def sign_parts(
    ledger: Ledger, parts: Sequence[Path], *, ngram: int, bands: int, rows: int
) -> list[Path]:
    """Sign all documents and return the files of their keys.

    The columns of a file (`key_files`) are two hashes of a document's words, then a key for each
    band.
    """
    files, start = [], 0
    for some in _queries(parts):
        target = ledger.work / f"bands-{start:05d}.npy"
        if not target.exists():
            write_keys(target, _signed(some, ngram, bands, rows))
        files.append(target)
        start += len(some)
    return files


def _queries(parts: Sequence[Path]) -> Iterator[list[Path]]:
    """Divide the parts into those of one query each."""
    some: list[Path] = []
    rows = 0
    for part in parts:
        more = pq.read_metadata(part).num_rows
        if some and (len(some) == PARTS_AT_ONCE or rows + more > ROWS_AT_ONCE):
            yield some
            some, rows = [], 0
        some.append(part)
        rows += more
    if some:
        yield some


def _signed(parts: Sequence[Path], ngram: int, bands: int, rows: int) -> Hashes:
    import daft
    from daft import col
    from daft.functions import hash as hashed
    from daft.functions import minhash

    # Daft may return rows in any order; the ids restore the order of the parts.
    words = (
        daft.read_parquet(daft_paths(parts))
        .into_batches(BATCH)
        .select(col("id"), _joined_words(col("text")).alias("words"))
    )
    table = words.select(
        col("id"),
        hashed(col("words"), seed=1, hash_function=HASH).alias("one"),
        hashed(col("words"), seed=2, hash_function=HASH).alias("two"),
        minhash(col("words"), num_hashes=bands * rows, ngram_size=ngram, hash_function=HASH).alias(
            "minima"
        ),
    ).to_arrow()
    if not table.num_rows:
        return np.empty((0, 2 + bands), np.uint64)
    minima = table["minima"].combine_chunks()
    if isinstance(minima, pa.ChunkedArray):
        minima = pa.concat_arrays(minima.chunks)
    signatures = minima.flatten().to_numpy().reshape(-1, bands * rows)
    text_hashes = np.stack([table[name].to_numpy() for name in ("one", "two")], axis=1)
    keys = np.concatenate([text_hashes, band_keys(signatures, bands)], axis=1)
    wanted = pa.chunked_array(
        [chunk for part in parts for chunk in pq.read_table(part, columns=["id"])["id"].chunks],
        pa.string(),
    )
    found = table["id"].cast(pa.string()).combine_chunks()
    return keys[pc.index_in(wanted, value_set=found).to_numpy()]


def _joined_words(text: "Expression") -> "Expression":
    """`comparable` as a Daft expression; its compiled loop runs in threads."""
    from daft import DataType, Series, func

    @func.batch(return_dtype=DataType.string(), use_process=False)
    def join(texts: Series) -> pa.Array:
        return comparable(texts.to_arrow())

    expression: Expression = join(text)
    return expression
