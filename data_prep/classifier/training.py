"""Train the classifier on labelled texts, and measure it on texts held out by their content."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from data_prep.classifier.features import buckets_of
from data_prep.classifier.labels import BAD, GOOD, LabelledBatch
from data_prep.classifier.model import QualityModel
from data_prep.ngrams.arrays import Integers
from webtext_gpt.data.rows import plural
from webtext_gpt.errors import UserError

Read = Callable[[], Iterator[LabelledBatch]]
"""Reads all labelled texts, in the same order each time."""


@dataclass
class Choice:
    """The texts that are used, by the number of their row among all labelled ones.

    Attributes:
        rows: Numbers of the rows, in the order of their texts' hashes, (N,).
        labels: GOOD or BAD for each, (N,).
        held_out: Which of them are held out from training, (N,).
        rejected: Rows that are not used, by reason.
        rows_in: Rows read.
    """

    rows: Integers
    labels: npt.NDArray[np.int8]
    held_out: npt.NDArray[np.bool_]
    rejected: Counter[str]
    rows_in: int


def choose(batches: Iterable[LabelledBatch], most: int, fraction: float) -> Choice:
    """Choose the texts to use: each text once, at most `most` of a class, by hashes of the texts.

    The choice and the split do not depend on the order of the files or rows.

    Raises:
        UserError: A class has no text, or too few for the split.
    """
    hashes, labels, rejected = [np.empty((0, 2), np.uint64)], [np.empty(0, np.int8)], Counter[str]()
    for batch in batches:
        texts = batch.texts.to_pylist()
        digests = b"".join(xxhash.xxh3_128_digest(text.encode()) for text in texts)
        hashes.append(np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64))
        labels.append(batch.labels)
        rejected.update(batch.rejected)
    keys, label = np.concatenate(hashes), np.concatenate(labels)
    rows_in = len(label) + rejected.total()
    _, rows, group, counts = np.unique(
        keys, axis=0, return_index=True, return_inverse=True, return_counts=True
    )  # sorted by hash
    good = np.bincount(group.ravel(), label, minlength=len(rows))
    clear = (good == 0) | (good == counts)
    rejected["both labels"] += int(counts[~clear].sum())
    rejected["repeated text"] += int((counts[clear] - 1).sum())
    rows = rows[clear]
    chosen = [rows[label[rows] == which][:most] for which in (GOOD, BAD)]
    rejected["over the limit"] += len(rows) - sum(map(len, chosen))
    rows = rows[np.isin(rows, np.concatenate(chosen))]
    held_out = keys[rows, 1] < np.uint64(fraction * 2.0**64)
    _check_sizes(label[rows], held_out, fraction, +rejected)
    return Choice(rows, label[rows], held_out, rejected, rows_in)


def _check_sizes(
    labels: npt.NDArray[np.int8], held_out: npt.NDArray[np.bool_], fraction: float,
    rejected: Counter[str],
) -> None:  # fmt: skip
    counts = {"good": int((labels == GOOD).sum()), "bad": int((labels == BAD).sum())}
    for name, count in counts.items():
        if not count:
            left_out = ", ".join(f"{n:,} {reason}" for reason, n in rejected.items())
            raise UserError(
                f"there is no {name} text, and the classifier needs both classes"
                f"{left_out and f'; left out: {left_out}'}"
            )
    for (name, count), which in zip(counts.items(), (GOOD, BAD), strict=True):
        out = int((held_out & (labels == which)).sum())
        if out in (0, count):
            raise UserError(
                f"too few texts, {plural(count, f'{name} text')}: held_out={fraction:g} leaves "
                f"{count - out:,} to train on and {out:,} to measure on; give more texts, or "
                "change held_out"
            )


def train(read: Read, choice: Choice, *, ngram: int, buckets: int, l2: float) -> QualityModel:
    """Fit a logistic regression on the chosen texts that are not held out.

    Both classes have the same total weight, so that a score of 0.5 does not depend on how many
    texts of each were given. The solver runs on one core and gives the same model each time.

    Args:
        read: Reads the labelled texts.
        choice: The texts to use.
        ngram: Words of the longest n-gram.
        buckets: Number of weights.
        l2: Strength of the penalty on the squared weights, relative to the sum of the losses.

    Returns:
        The model, with its area under the ROC curve on the texts that were held out.

    Raises:
        UserError: The texts are too many.
    """
    from scipy.sparse import csr_array
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    lists, lengths = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    for texts in _chosen(read, np.sort(choice.rows)):
        found, offsets = buckets_of(texts, ngram, buckets)
        lists.append(found.astype(np.int32))  # the solver takes no wider ones
        lengths.append(np.diff(offsets))
    length = np.concatenate(lengths)
    offsets = np.concatenate(([0], np.cumsum(length)))
    if offsets[-1] >= 1 << 31:
        raise UserError(
            f"the texts to train on hold {offsets[-1]:,} n-grams, and the solver takes fewer than "
            f"{1 << 31:,}; set a lower texts="
        )
    share = np.repeat(1 / np.maximum(length, 1), length)  # a text's score is a mean
    parts = (share, np.concatenate(lists), offsets.astype(np.int32))
    matrix = csr_array(parts, shape=(len(length), buckets))
    matrix.sum_duplicates()
    matrix = matrix[np.argsort(np.argsort(choice.rows))]  # into the order of `choice`
    fitted = LogisticRegression(
        C=1 / l2, solver="liblinear", class_weight="balanced", max_iter=1000, random_state=0
    ).fit(matrix[~choice.held_out], choice.labels[~choice.held_out])
    weights, bias = fitted.coef_[0].astype(np.float32), float(fitted.intercept_[0])
    logits = matrix[choice.held_out] @ weights
    auc = float(roc_auc_score(choice.labels[choice.held_out], logits))
    return QualityModel(weights, bias, ngram, auc=auc)


def _chosen(read: Read, rows: Integers) -> Iterator[pa.Array]:
    """Yield the texts with the numbers `rows`, which are sorted."""
    first = 0
    for batch in read():
        low, high = np.searchsorted(rows, [first, first + len(batch.texts)])
        yield batch.texts.take(pa.array(rows[low:high] - first))
        first += len(batch.texts)
