r"""Train a classifier of good and bad texts, for the quality scores of `documents.py`.

    python data_prep/quality.py good=[wanted.jsonl] bad=[unwanted.jsonl] out=corpus/quality
    python data_prep/quality.py labelled=[rows.csv] label_key=label out=corpus/quality
    python data_prep/quality.py documents=[corpus/documents] links=[corpus/links] \
        good_karma=50 bad_karma=4 out=corpus/quality

It is a logistic regression over hashed word n-grams, as in fastText. Its area under the ROC curve
is measured on texts that are held out by a hash of their content.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("quality")


import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.classifier.labels import (
    BAD,
    GOOD,
    LABELLED_SUFFIXES,
    LabelledBatch,
    LabelOf,
    by_column,
    by_file,
    by_karma,
    labelled,
)
from data_prep.classifier.model import STAGE
from data_prep.classifier.training import choose, train
from data_prep.ngrams.words import WORDS_VERSION
from data_prep.settings import Quality
from data_prep.stage.inputs import InputFile, by_content, find_inputs
from data_prep.stage.ledger import Ledger
from data_prep.stage.manifest import Manifest, print_counts, source_manifests
from data_prep.stage.readers import PARQUET, Layout
from webtext_gpt.cli import Call
from webtext_gpt.terminal import say


class Source(NamedTuple):
    """Files with one way to label their rows."""

    key: str
    files: list[InputFile]
    label_of: LabelOf


def train_quality(settings: Quality) -> Manifest:
    """Train the classifier and write it to `settings.out`.

    Returns:
        The manifest. `auc` is the area under the ROC curve on the texts that were held out, `model`
        the hash of the weights' file; `trained` and `held_out` count the texts of each class.

    Raises:
        UserError: Texts cannot be read, a class is empty or too small, or `out` holds other files.
    """
    started = time.monotonic()
    links = find_inputs(settings.links, PARQUET, "links") if settings.links else []
    sources = _sources(settings, links)
    files = [*links, *(file for source in sources for file in source.files)]
    config = _config(settings)
    config["roles"] = {s.key: sorted(file.hash for file in s.files) for s in sources}
    with Ledger(
        settings.out, STAGE, config, files,
        sources=source_manifests(file.path for file in files), started=started,
    ) as ledger:  # fmt: skip
        if not ledger.finished:
            read = partial(_read, sources, Layout(settings.lines, settings.text_key))
            choice = choose(read(), settings.texts, settings.held_out)
            model = train(
                read, choice, ngram=settings.ngram, buckets=settings.buckets, l2=settings.l2
            )
            ledger.finish(
                rows_in=choice.rows_in,
                rows_out=len(choice.rows),
                rejected=choice.rejected,
                model=model.save(ledger.out),
                auc=model.auc,
                trained=_counts(choice.labels[~choice.held_out]),
                held_out=_counts(choice.labels[choice.held_out]),
            )
        return ledger.manifest


def _sources(settings: Quality, links: Sequence[InputFile]) -> list[Source]:
    """Return the files that are given, each with its way to label rows."""

    def found(key: str) -> list[InputFile]:
        return find_inputs(getattr(settings, key), LABELLED_SUFFIXES, key)

    if settings.labelled is not None:
        column = by_column(settings.label_key, settings.good_labels, settings.bad_labels)
        return [Source("labelled", found("labelled"), column)]
    if settings.good_karma is not None and settings.bad_karma is not None:
        karma = by_karma(links, settings.good_karma, settings.bad_karma)
        return [Source("documents", found("documents"), karma)]
    return [Source("good", found("good"), by_file(GOOD)), Source("bad", found("bad"), by_file(BAD))]


def _config(settings: Quality) -> dict[str, Any]:
    """Return the settings that change the output: all but those that name files."""
    names = {"good", "bad", "labelled", "documents", "links", "out"}
    config = {k: v for k, v in settings.arguments().items() if k not in names}
    return {**config, "words": WORDS_VERSION}


def _read(sources: Sequence[Source], layout: Layout) -> Iterator[LabelledBatch]:
    for source in sources:
        for file in by_content(source.files):
            yield from labelled(file, layout, source.label_of)


def _counts(labels: npt.NDArray[np.int8]) -> dict[str, int]:
    return {"good": int((labels == GOOD).sum()), "bad": int((labels == BAD).sum())}


def run(settings: Quality) -> Manifest:
    """Run the stage and return the manifest."""
    return train_quality(settings)


def main(settings: Quality, call: Call) -> None:
    """Train the classifier, and print the counts and the area under the ROC curve."""
    manifest = run(settings)
    print_counts(manifest)
    for key, name in (("trained", "trained on"), ("held_out", "held out")):
        say(f"{manifest[key]['good']:,} good, {manifest[key]['bad']:,} bad", label=name)
    say(f"{manifest['auc']:.4f}, area under the ROC curve of the texts held out", label="AUC")
