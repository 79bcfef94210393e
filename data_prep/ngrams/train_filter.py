"""Bloom filter of all 8-grams of training files: count them, build it, merge parts.

The distinct 8-grams are estimated first, because their number decides the size of the filter. The
filter does not depend on how the documents are divided over files, threads and workers.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.distinct import Count, count_file
from data_prep.ngrams.hashing import ngrams
from data_prep.stage import workers
from data_prep.stage.engine import NATIVE, Engine, each_on
from data_prep.stage.readers import Layout, batches
from webtext_gpt.errors import UserError
from webtext_gpt.progress import progress_bar


def count_ngrams(
    paths: Sequence[Path],
    layout: Layout,
    workers_at_once: int | None = None,
    engine: Engine = NATIVE,
) -> Count:
    """Count the 8-grams of training files, in processes or on Ray.

    Raises:
        UserError: A file cannot be read, or there are documents but none has an 8-gram.
    """
    found = each_on(
        engine, partial(count_file, layout=layout), paths, workers_at_once,
        total=sum(path.stat().st_size for path in paths), unit="B", label="counting 8-grams",
    )  # fmt: skip
    count = reduce(lambda total, one: total | one[1], found, Count.empty())
    if not count.ngrams and count.documents:
        raise UserError(f"train: no document in {paths[0]} or the other files has 8 words")
    return count


def build_filter(
    paths: Sequence[Path],
    layout: Layout,
    blocks: int,
    *,
    workers_at_once: int | None = None,
    engine: Engine = NATIVE,
    scratch: Path,
) -> BloomFilter:
    """Build the filter of all 8-grams of training files.

    Args:
        paths: The training files.
        layout: Layout of the documents in them.
        blocks: Blocks of each half; see `blocks_for`.
        workers_at_once: Natively, the number of threads that fill one filter; None means one per
            core. On Ray, the number of workers, each of which builds a filter of its own; None
            means 2.
        engine: Where the filter is built.
        scratch: Folder that all machines share, through which Ray workers return their filters.

    Raises:
        UserError: A file cannot be read.
    """
    total = sum(path.stat().st_size for path in paths)
    whole = BloomFilter(blocks)
    if engine["name"] == "native":
        with progress_bar("8-grams of train", total=total, unit="B") as bar:
            _add_files(whole, paths, layout, workers_at_once or workers.cores(), bar.update)
        return whole
    number = min(workers_at_once or 2, len(paths))
    parts = [(at, tuple(paths[at::number])) for at in range(number)]
    build = partial(_build_part, layout=layout, blocks=blocks, scratch=scratch)
    for _, file in each_on(
        engine, build, parts, number, total=number, unit="part", label="8-grams of train"
    ):
        whole.merge(BloomFilter.load(file))
        file.unlink()
    return whole


def _build_part(
    part: tuple[int, Sequence[Path]], layout: Layout, blocks: int, scratch: Path
) -> Path:
    number, paths = part
    built = BloomFilter(blocks)
    _add_files(built, paths, layout, 1, workers.advance)
    target = scratch / f"part-{number}.bloom"
    built.save(target)
    return target


def _add_files(
    target: BloomFilter,
    paths: Sequence[Path],
    layout: Layout,
    threads: int,
    on_bytes: Callable[[int], object],
) -> None:
    """Add all 8-grams of some files."""
    texts = (batch.texts for path in paths for batch in batches(path, layout, on_bytes))
    with ThreadPoolExecutor(threads) as pool:
        for group in _groups(texts, threads):
            hashes = np.concatenate([grams.hashes for grams in pool.map(ngrams, group)])
            target.add_on(pool, threads, hashes)
            target.added += len(hashes)


def _groups(items: Iterable[pa.Array], size: int) -> Iterator[list[pa.Array]]:
    group = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def merge_filters(paths: Sequence[Path]) -> BloomFilter:
    """Merge filters of parts into the filter of all of them.

    Raises:
        UserError: A file is not a filter, or differs in size from the first.
    """
    whole = BloomFilter.load(paths[0], mapped=False)
    for path in paths[1:]:
        try:
            whole.merge(BloomFilter.load(path))
        except UserError as error:
            raise UserError(f"{path} and {paths[0]}: {error}") from error
    return whole
