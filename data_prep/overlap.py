r"""Overlap of test sets with training documents, as section 4 of the GPT-2 paper measures it.

    python data_prep/overlap.py train=[corpus/dedup] tests.wikitext2=wiki.test.raw \
        tests.lambada=lambada_test.jsonl out=corpus/overlap

Two directions. `train` is the paper's: a Bloom filter of all 8-grams of train is asked for those
of the tests. `test` is the inverse: the exact set of the tests' 8-grams is asked for those of
train, which also tells the documents that hold them, so that `remove=true` can leave them out.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from data_prep.filters import build_filter, count_ngrams
from data_prep.ngrams.bloom import RATE, BloomFilter, blocks_for
from data_prep.ngrams.exact import ExactSet, Scan, scan_file
from data_prep.ngrams.hashing import NGRAM, ngrams
from data_prep.ngrams.overlap_report import write_report
from data_prep.ngrams.overlap_result import Holders, TestResult, overlap_of
from data_prep.ngrams.remainder import Remainder
from data_prep.ngrams.testsets import load_test_set
from data_prep.ngrams.words import WORDS_VERSION
from data_prep.stage import workers
from data_prep.stage.engine import NATIVE
from data_prep.stage.inputs import InputFile, by_content, find_inputs, fingerprint
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import source_manifests
from data_prep.stage.readers import SUFFIXES, Layout
from data_prep.stage.settings import settings
from webtext_gpt.cli import entry_point
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced

DIRECTIONS = ("train", "test", "both")


@dataclass(frozen=True)
class OverlapRules:
    """What is asked, and what goes.

    Attributes:
        direction: `train` (Bloom filter of train), `test` (exact set of the tests) or `both`.
        rate: false positives of the Bloom filter.
        remove: whether documents over the threshold are left out of a copy of the corpus.
        threshold: distinct 8-grams of one test set from which a document is over it.
        layout: how documents lie in the files of train.
        tests_layout: how samples lie in those of the tests; default, as in train.
        worst: samples that the report shows of each test set.
    """

    direction: str = "both"
    rate: float = RATE
    remove: bool = False
    threshold: int = 1
    layout: Layout = field(default_factory=Layout)
    tests_layout: Layout | None = None
    worst: int = 5


def measure_overlap(
    train: Sequence[str],
    tests: Mapping[str, str | list[str]],
    out: str | Path,
    rules: OverlapRules,
    *,
    evalsets: str | Path | None = None,
    filter_file: str | Path | None = None,
    keep_filter: bool = False,
    workers_at_once: int | None = None,
    engine: Mapping[str, Any] = NATIVE,
) -> dict[str, Any]:
    """Make `out`: overlap.json, the report and its tables; return the manifest.

    `filter_file` is a filter made before, which is then asked instead of train; `keep_filter`
    leaves the one made here in `out`.

    Raises:
        UserError: documents or test sets that cannot be read; a filter that does not fit; no
            test set; settings out of range; `out` that holds something else.
    """
    started = time.monotonic()
    _check(rules, train, tests, filter_file)
    files = find_inputs(train, SUFFIXES) if train else []
    sources = source_manifests(file.path for file in files)
    inputs = list(files)
    if filter_file:
        inputs.append(InputFile(Path(filter_file), fingerprint(Path(filter_file))))
    layout = rules.tests_layout or rules.layout
    sets = [load_test_set(n, where, layout, evalsets) for n, where in sorted(tests.items())]
    config = {
        "ngram": NGRAM, "normalisation": WORDS_VERSION, "direction": rules.direction,
        "rate": rules.rate, "remove": rules.remove, "threshold": rules.threshold,
        "lines": rules.layout.lines, "text_key": rules.layout.text_key, "worst": rules.worst,
        "keep_filter": keep_filter,
        "tests": {test.name: {"cut": test.cut, "files": test.inputs} for test in sets},
    }  # fmt: skip
    with Ledger(Path(out), "overlap", config, inputs, sources=sources, started=started) as book:
        if not book.finished:
            results = [TestResult.of(test, ngrams(test.texts)) for test in sets]
            exact = ExactSet.of([result.grams for result in results])
            for result in results:
                result.which = np.searchsorted(exact.hashes, result.grams.hashes)
            run = _Run(book, by_content(files), rules, exact, results, workers_at_once, engine)
            if rules.direction != "test":
                run.ask_train_filter(Path(filter_file) if filter_file else None, keep_filter)
            scans = run.scan_train() if rules.direction != "train" else []
            _finish(book, run, scans)
        return book.manifest


def _check(
    rules: OverlapRules, train: Sequence[str], tests: Mapping[str, Any], filter_file: Any
) -> None:
    if rules.direction not in DIRECTIONS:
        raise UserError(f"direction={rules.direction}: expected {', '.join(DIRECTIONS)}")
    if not tests:
        raise UserError("no test set: give tests.NAME=PATH, one or more")
    if rules.threshold < 1 or rules.worst < 0:
        raise UserError("threshold must be at least 1, worst at least 0")
    if rules.remove and rules.direction == "train":
        raise UserError("remove=true needs to know the documents: direction=test or both")
    if not train and not (filter_file and rules.direction == "train"):
        raise UserError("give train=[FILES]; with direction=train, filter=FILE will do instead")


class _Run:
    """One measurement under way: what it is made of, and the two directions."""

    def __init__(
        self,
        book: Ledger,
        files: Sequence[InputFile],
        rules: OverlapRules,
        exact: ExactSet,
        results: list[TestResult],
        workers_at_once: int | None,
        engine: Mapping[str, Any],
    ) -> None:
        self.book, self.files, self.rules = book, files, rules
        self.exact, self.results = exact, results
        self.counts = Counter[str]()
        """Documents and 8-grams of train, and rows that held no text by reason."""
        self._on: dict[str, Any] = {"workers_at_once": workers_at_once, "engine": engine}

    def ask_train_filter(self, given: Path | None, keep: bool) -> None:
        """The paper's direction: build the filter of train, or take one, and ask for the tests."""
        kept = self.book.out / "train.bloom"
        file = given or (kept if keep else self.book.work / kept.name)
        if given is None:
            paths, layout = [file.path for file in self.files], self.rules.layout
            record = self.book.run_unit("count", lambda: self._count(paths))
            self.counts = Counter(record["rejected"])
            self.counts += Counter(documents=record["documents"], ngrams=record["ngrams"])
            blocks = blocks_for(record["items"], self.rules.rate)
            if not file.exists():
                whole = build_filter(paths, layout, blocks, scratch=self.book.work, **self._on)
                whole.save(file)
        asked = BloomFilter.load(file)
        found = asked.contains(self.exact.hashes)
        bound = max(self.rules.rate if given is None else 0.0, asked.false_positive_rate())
        for result in self.results:
            result.by_train = overlap_of(result, found, bound)

    def _count(self, paths: Sequence[Path]) -> dict[str, Any]:
        count = count_ngrams(paths, self.rules.layout, **self._on)
        return {
            "items": count.capacity(), "ngrams": count.ngrams,
            "documents": count.documents, "rejected": dict(count.rejected),
        }  # fmt: skip

    def scan_train(self) -> list[Scan]:
        """The inverse direction: ask every document of train, a file at a time."""
        members = np.zeros((len(self.results), len(self.exact)), np.bool_)
        for row, result in zip(members, self.results, strict=True):
            row[result.which] = True
        scan = partial(
            _scan, out=self.book.out, exact=self.exact, members=members, rules=self.rules
        )
        self.book.run_files(
            scan, self.files, label="asking train",
            workers=self._on["workers_at_once"], engine=self._on["engine"],
        )  # fmt: skip
        scans = [Scan.load(self.book.work / f"{file.hash}.npz") for file in self.files]
        times, left = np.zeros((2, len(self.exact)), np.int64)
        for one in scans:
            times[one.grams] += one.times
            left[one.grams] += one.left
        for result in self.results:
            result.by_test = overlap_of(result, times > 0, 0.0)
            result.after_removal = overlap_of(result, left > 0, 0.0)
        self.counts = sum((scan.counts for scan in scans), Counter[str]())
        return scans


def _scan(
    file: InputFile,
    out: Path,
    exact: ExactSet,
    members: np.ndarray,
    rules: OverlapRules,
) -> dict[str, Any]:
    """Scan one training file into `_work`; with `remove`, write what stays of it into `out`."""
    target = out / "_work" / f"{file.hash}.npz"
    with replaced(target) as partial, Remainder(out, file.hash) as rest:
        scan = scan_file(
            file.path, rules.layout, exact, members, rules.threshold, workers.advance,
            keep=rest.keep if rules.remove else None,
        )  # fmt: skip
        scan.save(partial)
    return {"documents": scan.counts["documents"]}


def _finish(book: Ledger, run: _Run, scans: list[Scan]) -> None:
    for result in run.results:
        result.note_likeness({file.hash for file in book.inputs})
    holders = Holders(scans, [file.name for file in run.files] if scans else [])
    write_report(book.out, run.results, holders, run.rules.threshold, run.rules.worst)
    counts = Counter(run.counts)
    documents, removed = counts.pop("documents", 0), counts.pop("removed", 0)
    total = counts.pop("ngrams", 0)
    rejected = Counter(counts)
    if run.rules.remove and removed:
        rejected["overlaps a test set"] = removed
    book.finish(
        rows_in=documents + counts.total(),
        rows_out=documents - (removed if run.rules.remove else 0),
        rejected=rejected,
        train_ngrams=total,
        over_threshold=removed,
        results={result.name: result.record() for result in run.results},
    )


def print_overlap(manifest: Mapping[str, Any]) -> None:
    """Show the figures of a manifest as Table 6 prints them."""
    print(f"{'test set':24} {'8-grams':>12} {'in train':>12} {'%':>8} {'% of distinct':>14}")
    for name, record in manifest["results"].items():
        main = record["overlap"]
        shares = [
            "-" if main[key] is None else f"{main[key]:.2f}"
            for key in ("percent", "percent_unique")
        ]
        print(
            f"{name:24} {main['ngrams']:>12,} {main['overlapping']:>12,} {shares[0]:>8} "
            f"{shares[1]:>14}" + (f"  {main['note']}" if "note" in main else "")
        )
    if manifest["config"]["remove"]:
        print(f"removed {manifest['over_threshold']:,} of {manifest['rows_in']:,} documents")


def run(cfg: DictConfig) -> dict[str, Any]:
    """Measure as a composed configuration says. Returns the manifest."""
    kinds: dict[str, type] = {
        "direction": str, "lines": bool, "text_key": str, "rate": float, "remove": bool,
        "threshold": int, "worst": int, "keep_filter": bool,
    }  # fmt: skip
    optional = {"train": list, "tests_lines": bool, "tests_text_key": str}
    kinds |= {key: kind for key, kind in optional.items() if cfg[key] is not None}
    options = settings(cfg, kinds)
    return measure_overlap(
        options["train"] or [],
        options["tests"],
        options["out"],
        overlap_rules(options),
        evalsets=options["evalsets"],
        filter_file=options["filter"],
        keep_filter=options["keep_filter"],
        workers_at_once=options["workers"],
        engine=options["engine"],
    )


@entry_point("data_prep/overlap", open_keys=["tests"])
def main(cfg: DictConfig) -> None:
    """Compose the configuration, measure, print the table."""
    manifest = run(cfg)
    print_overlap(manifest)
    print(Path(cfg.out) / "overlap.md")


def overlap_rules(options: Mapping[str, Any]) -> OverlapRules:
    """The rules in a composed configuration."""
    lines, key = options["tests_lines"], options["tests_text_key"]
    return OverlapRules(
        direction=options["direction"],
        rate=options["rate"],
        remove=options["remove"],
        threshold=options["threshold"],
        layout=Layout(options["lines"], options["text_key"]),
        tests_layout=Layout(
            options["lines"] if lines is None else lines,
            options["text_key"] if key is None else key,
        ),
        worst=options["worst"],
    )


if __name__ == "__main__":
    main()
