r"""Bloom filters of the 8-grams of training documents, built or merged.

    python data_prep/filters.py train=[corpus/dedup] out=train.bloom
    python data_prep/filters.py merge=[part1.bloom,part2.bloom] out=train.bloom

Parts to merge must have the same size: build each with `ngrams=`, the number of distinct 8-grams
in all parts together.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("filters")


from data_prep.ngrams.bloom import BloomFilter
from data_prep.ngrams.bloom_size import blocks_for
from data_prep.ngrams.train_filter import build_filter, count_ngrams, merge_filters
from data_prep.settings import Filters
from data_prep.stage.engine import start_engine
from data_prep.stage.inputs import expand, find_inputs, refuse_repeats
from data_prep.stage.readers import SUFFIXES, Layout
from webtext_gpt.cli import Call
from webtext_gpt.errors import UserError
from webtext_gpt.paths import check_output_file, local_path
from webtext_gpt.terminal import say


def run(settings: Filters) -> BloomFilter:
    """Build or merge a filter, and write it.

    Raises:
        UserError: Documents or filters cannot be read, the filter holds more than it was sized
            for, or `out` exists.
    """
    out = local_path(settings.out, "out")
    if out.exists():
        raise UserError(f"{out} exists already; remove it or choose another out=")
    check_output_file(out, "out")
    if settings.merge is not None:
        bloom = merge_filters(expand(settings.merge, (".bloom",), "merge", any_name=True))
    else:
        files = find_inputs(settings.train or [], SUFFIXES, "train")
        refuse_repeats(files)
        paths = [file.path for file in files]
        layout = Layout(settings.lines, settings.text_key)
        workers, engine = settings.workers, settings.engine.arguments()
        out.parent.mkdir(parents=True, exist_ok=True)
        start_engine(engine, files, out.parent)
        items = settings.ngrams or count_ngrams(paths, layout, workers, engine).capacity()
        if not items:
            raise UserError(f"train: {paths[0]} and the other files hold no document")
        blocks = blocks_for(items, settings.rate)
        bloom = build_filter(
            paths, layout, blocks, workers_at_once=workers, engine=engine, scratch=out.parent
        )
        bloom.room = items
    bloom.refuse_overfull(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    bloom.save(out)
    return bloom


def main(settings: Filters, call: Call) -> None:
    """Build or merge a filter, and print its size and false-positive rate."""
    bloom = run(settings)
    say(
        f"{bloom.added:,} 8-grams added, about {bloom.distinct():,.0f} of them distinct, "
        f"{bloom.n_bytes / 1e6:,.1f} MB, false-positive rate {bloom.false_positive_rate():.3g}",
        label="filter",
    )
