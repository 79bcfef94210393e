r"""Bloom filters of the 8-grams of training documents: counted, built, merged.

    python data_prep/filters.py train=[corpus/dedup] out=train.bloom
    python data_prep/filters.py merge=[part1.bloom,part2.bloom] out=train.bloom

The distinct 8-grams are estimated first (HyperLogLog), since their number is the filter's size.
Parts that are to be merged need one size: give each `ngrams=`, the number of them all. However
the documents are divided over parts, files, threads or Ray workers, the filter is the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_prep.ngrams.bloom import BloomFilter, blocks_for
from data_prep.ngrams.distinct import Count, count_file
from data_prep.ngrams.hashing import ngrams
from data_prep.stage import workers
from data_prep.stage.engine import NATIVE, each_on
from data_prep.stage.inputs import expand, find_inputs, refuse_repeats
from data_prep.stage.readers import SUFFIXES, Layout, batches
from data_prep.stage.settings import settings
from webtext_gpt.cli import entry_point
from webtext_gpt.errors import UserError


def count_ngrams(
    paths: Sequence[Path],
    layout: Layout,
    workers_at_once: int | None = None,
    engine: Mapping[str, Any] = NATIVE,
) -> Count:
    """Count the 8-grams of training files, in processes or on Ray.

    Raises:
        UserError: a file that cannot be read, or not one 8-gram in all of them.
    """
    found = each_on(
        engine, partial(count_file, layout=layout), paths, workers_at_once,
        total=sum(path.stat().st_size for path in paths), unit="B", label="counting 8-grams",
    )  # fmt: skip
    count = reduce(lambda whole, one: whole | one[1], found, Count.nothing())
    if not count.ngrams:
        raise UserError(f"train: no document of {paths[0]} and the other files has 8 words")
    return count


def build_filter(
    paths: Sequence[Path],
    layout: Layout,
    blocks: int,
    *,
    workers_at_once: int | None = None,
    engine: Mapping[str, Any] = NATIVE,
    scratch: Path,
) -> BloomFilter:
    """The filter of all 8-grams of training files, with `blocks` blocks a half.

    Natively, threads share one filter. On Ray, `workers_at_once` workers (2 where it is not said)
    build one each, leave it in `scratch`, a folder that all machines see, and they are merged.
    """
    total = sum(path.stat().st_size for path in paths)
    if engine["name"] == "native":
        from tqdm import tqdm

        bar = tqdm(total=total, unit="B", unit_scale=True, desc="8-grams of train", disable=None)
        with bar:
            whole = BloomFilter(blocks)
            add_files(whole, paths, layout, workers_at_once or workers.cores(), bar.update)
        return whole
    number = min(workers_at_once or 2, len(paths))
    parts = [(at, tuple(paths[at::number])) for at in range(number)]
    whole = BloomFilter(blocks)
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
    add_files(built, paths, layout, 1, workers.advance)
    target = scratch / f"part-{number}.bloom"
    built.save(target)
    return target


def add_files(
    target: BloomFilter,
    paths: Sequence[Path],
    layout: Layout,
    threads: int,
    on_bytes: Callable[[int], Any],
) -> None:
    """Add all 8-grams of some files, each thread to its own share of the blocks."""
    texts = (batch.texts for path in paths for batch in batches(path, layout, on_bytes))
    with ThreadPoolExecutor(threads) as pool:
        for group in _groups(texts, threads):
            hashes = np.concatenate([grams.hashes for grams in pool.map(ngrams, group)])
            add = partial(target.add_share, hashes, of=threads)
            list(pool.map(add, range(threads)))
            target.added += len(hashes)


def _groups(items: Iterable[Any], size: int) -> Iterable[list[Any]]:
    group = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def merge_filters(paths: Sequence[Path]) -> BloomFilter:
    """The filter of all parts together.

    Raises:
        UserError: a part that is no filter of ours, or of another size than the first.
    """
    whole = BloomFilter.load(paths[0], mapped=False)
    for path in paths[1:]:
        try:
            whole.merge(BloomFilter.load(path))
        except UserError as error:
            raise UserError(f"{path} and {paths[0]}: {error}") from error
    return whole


@entry_point("data_prep/filters")
def main(cfg: DictConfig) -> None:
    """Compose the configuration, build or merge a filter, say what it is."""
    kinds = {"rate": float, "lines": bool, "text_key": str, "out": str}
    kinds |= {key: list for key in ("train", "merge") if cfg[key] is not None}
    kinds |= {"ngrams": int} if cfg.ngrams is not None else {}
    options = settings(cfg, kinds)
    out = Path(options["out"])
    if (options["train"] is None) == (options["merge"] is None):
        raise UserError("give train=[FILES] to build a filter, or merge=[FILTERS] to merge some")
    if out.exists():
        raise UserError(f"{out} exists already; remove it, or name another file")
    out.parent.mkdir(parents=True, exist_ok=True)
    if options["merge"]:
        whole = merge_filters(expand(options["merge"], (".bloom",)))
    else:
        files = find_inputs(options["train"], SUFFIXES)
        refuse_repeats(files)
        paths = [file.path for file in files]
        layout = Layout(options["lines"], options["text_key"])
        shared = {"workers_at_once": options["workers"], "engine": options["engine"]}
        items = options["ngrams"] or count_ngrams(paths, layout, **shared).capacity()
        blocks = blocks_for(items, options["rate"])
        whole = build_filter(paths, layout, blocks, scratch=out.parent, **shared)
    whole.save(out)
    print(f"{out}: {whole.added:,} 8-grams added, {whole.n_bytes / 1e6:,.1f} MB, "
          f"false positives {whole.false_positive_rate():.3g}")  # fmt: skip


if __name__ == "__main__":
    main()
