r"""Bloom filters of the 8-grams of training documents, built or merged.

    python data_prep/filters.py train=[corpus/dedup] out=train.bloom
    python data_prep/filters.py merge=[part1.bloom,part2.bloom] out=train.bloom

Parts to merge must have the same size: build each with `ngrams=`, the number of distinct 8-grams
in all parts together.
"""

if __name__ == "__main__":  # before the imports below fail
    from webtext_gpt.extras import require

    require("corpus")

from pathlib import Path

from omegaconf import DictConfig

from data_prep.ngrams.bloom_size import blocks_for
from data_prep.ngrams.train_filter import build_filter, count_ngrams, merge_filters
from data_prep.stage.inputs import expand, find_inputs, refuse_repeats
from data_prep.stage.readers import SUFFIXES, Layout
from data_prep.stage.settings import settings
from webtext_gpt.cli import entry_point
from webtext_gpt.errors import UserError
from webtext_gpt.paths import check_output_file


@entry_point("data_prep/filters")
def main(cfg: DictConfig) -> None:
    """Build or merge a filter, and print its size and false-positive rate."""
    kinds: dict[str, type] = {"rate": float, "lines": bool, "text_key": str, "out": str}
    kinds |= {key: list for key in ("train", "merge") if cfg[key] is not None}
    kinds |= {"ngrams": int} if cfg.ngrams is not None else {}
    options = settings(cfg, kinds)
    out = Path(options["out"])
    if (options["train"] is None) == (options["merge"] is None):
        raise UserError("give either train=[FILES] to build a filter or merge=[FILTERS] to merge")
    if out.exists():
        raise UserError(f"{out} exists already; remove it or choose another out=")
    check_output_file(out, "out")
    out.parent.mkdir(parents=True, exist_ok=True)
    if options["merge"]:
        bloom = merge_filters(expand(options["merge"], (".bloom",), "merge"))
    else:
        files = find_inputs(options["train"], SUFFIXES, "train")
        refuse_repeats(files)
        paths = [file.path for file in files]
        layout = Layout(options["lines"], options["text_key"])
        workers, engine = options["workers"], options["engine"]
        items = options["ngrams"] or count_ngrams(paths, layout, workers, engine).capacity()
        bloom = build_filter(
            paths, layout, blocks_for(items, options["rate"]),
            workers_at_once=workers, engine=engine, scratch=out.parent,
        )  # fmt: skip
    bloom.save(out)
    print(f"{out}: {bloom.added:,} 8-grams added, {bloom.n_bytes / 1e6:,.1f} MB, "
          f"false-positive rate {bloom.false_positive_rate():.3g}")  # fmt: skip


if __name__ == "__main__":
    main()
