"""MinHash signatures of documents through Daft, kept as one key a band and a hash of all words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_prep.near_duplicates.candidates import band_keys
from data_prep.near_duplicates.words import normalised
from data_prep.stage.ledger import Ledger
from webtext_gpt.files import replaced

PARTS_AT_ONCE = 16  # parts one query reads: enough for every worker of a small cluster
HASH: Final = "xxhash3_64"
BATCH = 512  # documents a thread takes at a time; by default Daft gives all of them to one


def sign_parts(
    book: Ledger, parts: Sequence[Path], *, ngram: int, bands: int, rows: int
) -> list[Path]:
    """Sign all documents; files of uint64 (N, 2 + bands): two hashes of the words, then bands."""
    files = []
    for start in range(0, len(parts), PARTS_AT_ONCE):
        some = parts[start : start + PARTS_AT_ONCE]
        target = book.work / f"keys-{start:05d}.npy"
        if not target.exists():
            keys = _signed(some, ngram, bands, rows)
            with replaced(target) as partial, partial.open("wb") as file:
                np.save(file, keys, allow_pickle=False)
        files.append(target)
    return files


def _signed(parts: Sequence[Path], ngram: int, bands: int, rows: int) -> np.ndarray:
    import daft
    from daft import col
    from daft.functions import hash as hashed
    from daft.functions import minhash

    # A runner may return rows in any order: the ids bring them back into that of the parts.
    words = (
        daft.read_parquet([str(part) for part in parts])
        .into_batches(BATCH)
        .select(col("id"), normalised(col("text")).alias("words"))
    )
    table = words.select(
        col("id"),
        hashed(col("words"), seed=1, hash_function=HASH).alias("one"),
        hashed(col("words"), seed=2, hash_function=HASH).alias("two"),
        minhash(col("words"), num_hashes=bands * rows, ngram_size=ngram, hash_function=HASH).alias(
            "minima"
        ),
    ).to_arrow()
    minima = table["minima"].combine_chunks()
    if isinstance(minima, pa.ChunkedArray):
        minima = pa.concat_arrays(minima.chunks)
    signatures = minima.flatten().to_numpy().reshape(-1, bands * rows)
    whole = np.stack([table[name].to_numpy() for name in ("one", "two")], axis=1)
    keys = np.concatenate([whole, band_keys(signatures, bands)], axis=1)
    wanted = pa.chunked_array(
        [chunk for part in parts for chunk in pq.read_table(part, columns=["id"])["id"].chunks],
        pa.string(),
    )
    found = table["id"].cast(pa.string()).combine_chunks()
    return keys[pc.index_in(wanted, value_set=found).to_numpy()]
