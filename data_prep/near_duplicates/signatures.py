"""MinHash signatures of documents by Daft, stored as one key per band and a hash of all words."""

from collections.abc import Callable, Sequence
from functools import partial
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
from data_prep.stage.engine import daft_paths, start_daft

if TYPE_CHECKING:
    from daft import Expression

HASH: Final = "xxhash3_64"
BATCH = 512  # documents a thread takes at a time; by default Daft gives all of them to one thread


def sign_parts(
    parts: Sequence[Path], by_part: Callable[..., object], *, ngram: int, bands: int, rows: int
) -> list[Path]:
    """Sign all documents and return the files of their keys.

    The columns of a file (`key_files`) are two hashes of a document's words, then a key for each
    band.

    Args:
        parts: Parquet files of documents with unique ids; their keys are written beside them.
        by_part: `Ledger.run_parts`, with its engine.
        ngram: Words per n-gram.
        bands: Groups of minima per document.
        rows: Minima per group.
    """
    targets = [part.with_name(f"bands-{at:05d}.npy") for at, part in enumerate(parts)]
    by_part(
        partial(sign_part, ngram=ngram, bands=bands, rows=rows),
        {target.name: (part, target) for part, target in zip(parts, targets, strict=True)},
        label="signing documents",
    )
    return targets


def sign_part(files: tuple[Path, Path], ngram: int, bands: int, rows: int) -> dict[str, int]:
    """Sign the documents of one part: (part, file of its keys); see `sign_parts`."""
    part, target = files
    keys = _signed(part, ngram, bands, rows)
    write_keys(target, keys)
    return {"rows": len(keys)}


def _signed(part: Path, ngram: int, bands: int, rows: int) -> Hashes:
    start_daft()
    import daft
    from daft import col
    from daft.functions import hash as hashed
    from daft.functions import minhash

    # Daft may return rows in any order; the ids restore that of the part.
    words = (
        daft.read_parquet(daft_paths([part]))
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
    wanted = pq.read_table(part, columns=["id"])["id"].cast(pa.string())
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
