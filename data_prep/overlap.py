r"""Overlap of test sets with training documents (the GPT-2 paper, section 4 and Table 6).

    python data_prep/overlap.py train=[corpus/dedup] tests.wikitext2=wiki.test.raw \
        tests.lambada=lambada_test.jsonl out=corpus/overlap

There are two directions. `train` is the paper's: build a Bloom filter of all 8-grams of train and
look up those of the test sets. `test` is the inverse: build the exact set of the test sets'
8-grams and scan train for them. The inverse also finds the training documents that hold them, so
that `remove=true` can drop these.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("overlap")


import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.ngrams.filter_lookup import look_up_tests
from data_prep.ngrams.filter_passes import ask_file, ask_train
from data_prep.ngrams.hashing import NGRAM
from data_prep.ngrams.measurement import (
    FilterFigures,
    Measurement,
    OverlapRules,
    TrainCounts,
)
from data_prep.ngrams.overlap_report import write_report
from data_prep.ngrams.overlap_result import Holders
from data_prep.ngrams.testsets import load_test_set
from data_prep.ngrams.train_pass import TrainPass, read_train
from data_prep.ngrams.words import WORDS_VERSION
from data_prep.settings import Overlap
from data_prep.stage.engine import NATIVE, Engine, start_engine
from data_prep.stage.inputs import InputFile, find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, source_manifests
from data_prep.stage.outputs import fingerprint
from data_prep.stage.readers import SUFFIXES, Layout
from webtext_gpt.cli import Call
from webtext_gpt.data.rows import plural
from webtext_gpt.paths import readable_path
from webtext_gpt.remote.addresses import under
from webtext_gpt.terminal import LABELS, quoted, say, say_rows


def measure_overlap(
    train: Sequence[str],
    tests: Mapping[str, str | list[str]],
    out: str | Path,
    rules: OverlapRules,
    *,
    evalsets: str | Path | None = None,
    filter_file: str | Path | None = None,
    keep_filter: bool = False,
    filter_memory: int | None = None,
    workers_at_once: int | None = None,
    engine: Engine = NATIVE,
) -> Manifest:
    """Write overlap.json, the report and its tables.

    Args:
        train: Files, folders or globs of training documents.
        tests: Location of each test set, by its name in the report; see `load_test_set`.
        out: Folder to create.
        rules: Settings of the measurement.
        evalsets: Folder in which names of evaluation sets are looked up.
        filter_file: An existing filter of train, used instead of building one.
        keep_filter: Whether to keep the filter that is built here, as `out/train.bloom`.
        filter_memory: Most memory for the bits of the filter, in bytes; a larger one is built and
            asked in parts. None means three quarters of the free memory. Changes no result.
        workers_at_once: Number of processes or threads. None means one per core.
        engine: Where the passes over train run.

    Returns:
        The manifest.

    Raises:
        UserError: Documents, test sets or the filter cannot be read, or `out` holds other files.
    """
    started = time.monotonic()
    given = readable_path(filter_file, "filter") if filter_file is not None else None
    files = find_inputs(train, SUFFIXES, "train", check_later=True, out=out) if train else []
    sources = source_manifests(file.path for file in files)
    inputs = [*files, *([InputFile(given, fingerprint(given))] if given else [])]
    layout = rules.tests_layout or rules.layout
    sets = [load_test_set(n, where, layout, evalsets) for n, where in sorted(tests.items())]
    config = {
        "ngram": NGRAM, "normalisation": WORDS_VERSION, "direction": rules.direction,
        "rate": rules.rate, "remove": rules.remove, "threshold": rules.threshold,
        "lines": rules.layout.lines, "text_key": rules.layout.text_key, "worst": rules.worst,
        "keep_filter": keep_filter, "passes": 1,
        "tests": {test.name: {"cut": test.cut, "files": test.inputs} for test in sets},
    }  # fmt: skip
    with Ledger(
        out,
        "overlap",
        config,
        inputs,
        sources=sources,
        started=started,
        newer_keys=("passes",),
    ) as ledger:
        if not ledger.finished:
            start_engine(engine, inputs, ledger.out)
            run = Measurement.begin(
                ledger, files, rules, sets, workers_at_once, engine, filter_memory
            )
            _measure(run, given, keep_filter)
        return ledger.manifest


def _measure(run: Measurement, given: Path | None, keep_filter: bool) -> None:
    """Read train once and look up both ways, as the direction demands."""
    answer = ask_file(run, given) if given else None
    figures = None
    train = TrainPass([], TrainCounts(), [])
    if answer is None or run.rules.direction != "train":
        train = read_train(run, run.rules.direction != "test" and answer is None)
    if run.rules.direction != "test":
        answer = answer or ask_train(run, train, keep_filter)
        figures = look_up_tests(run, answer, given)
    _finish(run, train, figures)


def _finish(run: Measurement, train: TrainPass, figures: FilterFigures | None) -> None:
    """Write the report and the manifest."""
    for result in run.results:
        result.note_if_in_train({file.hash for file in run.ledger.inputs})
    scans, counts = train.scans, train.counts
    holders = Holders(scans, [file.name for file in run.files] if scans else [])
    write_report(run.ledger.out, run.results, holders, run.rules.threshold, run.rules.worst)
    removed = counts.removed if run.rules.remove else 0
    rejected = counts.rejected.copy()
    rejected["overlaps a test set"] += removed
    run.ledger.finish(
        rows_in=counts.documents + counts.rejected.total(),
        rows_out=counts.documents - removed,
        rejected=rejected,
        train_ngrams=counts.ngrams,
        over_threshold=counts.removed,
        results={result.name: result.record() for result in run.results},
        filter=figures,
    )


def print_overlap(manifest: Manifest) -> None:
    """Print the figures of a manifest in the form of Table 6."""
    say(f"{'test set':24} {'8-grams':>12} {'in train':>12} {'%':>8} {'% of distinct':>14}")
    for name, record in manifest["results"].items():
        main = record["overlap"]
        shares = [
            "-" if main[key] is None else f"{main[key]:.2f}"
            for key in ("percent", "percent_unique")
        ]
        say(
            f"{name:24} {main['ngrams']:>12,} {main['overlapping']:>12,} {shares[0]:>8} "
            f"{shares[1]:>14}" + (f"  {main['note']}" if "note" in main else "")
        )
    if figures := manifest.get("filter"):
        room = "" if figures["room"] is None else f", room for {figures['room']:,}"
        say(
            f"about {figures['distinct']:,} distinct 8-grams{room}, false-positive rate "
            f"{figures['false_positive_rate']:.3g}",
            label="filter",
        )
    if manifest["config"]["remove"]:
        removed = f"{manifest['over_threshold']:,} of {plural(manifest['rows_in'], 'document')}"
        say(removed, label="removed")


def run(settings: Overlap) -> Manifest:
    """Run the stage and return the manifest."""
    layout = Layout(settings.lines, settings.text_key)
    lines, text_key = settings.tests_lines, settings.tests_text_key
    rules = OverlapRules(
        direction=settings.direction,
        rate=settings.rate,
        remove=settings.remove,
        threshold=settings.threshold,
        layout=layout,
        tests_layout=Layout(
            layout.lines if lines is None else lines,
            layout.text_key if text_key is None else text_key,
        ),
        worst=settings.worst,
    )
    return measure_overlap(
        settings.train or [],
        settings.tests,
        settings.out,
        rules,
        evalsets=settings.evalsets,
        filter_file=settings.filter,
        keep_filter=settings.keep_filter,
        filter_memory=settings.filter_memory,
        workers_at_once=settings.workers,
        engine=settings.engine.arguments(),
    )


def main(settings: Overlap, call: Call) -> None:
    """Measure, and print the figures and the path of the report."""
    print_overlap(run(settings))
    say_rows({"report": quoted(under(settings.out, "overlap.md"))}, least=LABELS - 2)
