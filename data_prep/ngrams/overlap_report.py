"""Overlap report: overlap.json, overlap.md and .html, their picture, tables of samples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.ngrams.overlap_picture import draw_overlap
from data_prep.ngrams.overlap_result import Holders, TestResult
from webtext_gpt.files import replaced, write_json, write_text
from webtext_gpt.page import write_page

SAMPLES = pa.schema([
    ("test", pa.string()), ("sample", pa.string()), ("ngrams", pa.int64()),
    ("overlapping", pa.int64()), ("percent", pa.float64()),
    ("passages", pa.list_(pa.string())),
])  # fmt: skip
DOCUMENTS = pa.schema([
    ("id", pa.string()), ("file", pa.string()), ("test", pa.string()),
    ("shared", pa.int64()), ("ngrams", pa.int64()), ("over_threshold", pa.bool_()),
])  # fmt: skip
PASSAGES = 5
"""Maximum passages of a sample in overlap.md; `samples.parquet` has all."""
LONGEST_PASSAGE = 400
"""Maximum characters of a passage in overlap.md."""


def write_report(
    out: Path, results: Sequence[TestResult], holders: Holders, threshold: int, worst: int
) -> None:
    """Write all files of the report.

    Args:
        out: The output folder.
        results: Results of the test sets.
        holders: Training documents that hold 8-grams of them; without scans, there is no table of
            documents.
        threshold: The setting `threshold`, for the text.
        worst: Samples of each test set to show.
    """
    figures = {r.name: r.figures(r.main) for r in results}
    write_json(out / "overlap.json", figures, indent=1, ensure_ascii=False)
    _write_samples(out / "samples.parquet", results)
    _write_documents(out / "train_documents.parquet", results, holders)
    draw_overlap(out / "overlap.png", {r.name: _shares(r) for r in results})
    text = ["# Overlap of test sets with the training set", "", *_table_6(results)]
    text += [*_distribution(results), "![Overlap by sample](overlap.png)", ""]
    if holders.scans:
        text += _documents(results, holders, threshold)
    for result in results:
        text += _worst(result, holders, worst)
    write_text(out / "overlap.md", "\n".join(text) + "\n")
    write_page(out / "overlap.md")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [" | ".join(map(_cell, row)) for row in [head, ["---"] * len(head), *rows]]
    return [*(f"| {line} |" for line in lines), ""]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


def _table_6(results: Sequence[TestResult]) -> list[str]:
    rows = []
    for result in results:
        main = result.figures(result.main)
        exact = result.by_test and int(result.by_test.found.sum())
        rows.append((
            result.name, len(result.test.texts), main["ngrams"], main["overlapping"],
            f"**{_percent(main['percent'])}**", _percent(main["percent_unique"]), exact,
            f"{main['false_positive_bound']:.2g}",
        ))  # fmt: skip
    head = ("test set", "samples", "8-grams", "in train", "% (Table 6)", "% of distinct",
            "in train, exactly", "false positives")  # fmt: skip
    text = [
        "The share of a test set's 8-grams (lower-cased alphanumeric words) that the training set",
        "holds, as in Table 6 of Radford et al. 2019.", "", *_table(head, rows),
    ]  # fmt: skip
    return (
        text + [f"- **{result.name}**: {result.note}." for result in results if result.note] + [""]
    )


def _distribution(results: Sequence[TestResult]) -> list[str]:
    rows = []
    for result in results:
        _, sizes, found = result.shares()
        if not len(sizes):
            continue
        shares = 100 * found / sizes
        rows.append((
            result.name, len(shares), len(result.test.texts) - len(shares),
            f"{np.median(shares):.2f} %", f"{np.mean(shares < 1):.1%}",
            f"{np.mean(found == 0):.1%}", f"{shares.max():.2f} %",
        ))  # fmt: skip
    head = ("test set", "samples with 8-grams", "shorter", "median overlap", "under 1 %", "none",
            "largest")  # fmt: skip
    return ["## By sample", "", *_table(head, rows)] if rows else []


def _shares(result: TestResult) -> np.ndarray:
    """Return each sample's share of 8-grams that train holds, in per cent, (samples,)."""
    _, sizes, found = result.shares()
    return 100 * found / np.maximum(sizes, 1)


def _documents(results: Sequence[TestResult], holders: Holders, threshold: int) -> list[str]:
    over = sum(int((~scan.stays).sum()) for scan in holders.scans)
    total = sum(scan.counts["documents"] for scan in holders.scans)
    touched = sum(len(scan.names) for scan in holders.scans)
    rows = []
    for result in results:
        if result.after_removal is not None:
            left = result.figures(result.after_removal)
            rows.append((result.name, left["overlapping"], _percent(left["percent"])))
    return [
        "## Training documents", "",
        f"{touched:,} of {total:,} documents hold an 8-gram of a test set; "
        "`train_documents.parquet` lists them. "
        f"{over:,} of them hold {threshold:,} or more distinct 8-grams of one test set "
        f"(`threshold`). Overlap without these {over:,}:", "",
        *_table(("test set", "in train", "%"), rows),
    ]  # fmt: skip


def _worst(result: TestResult, holders: Holders, worst: int) -> list[str]:
    samples, sizes, found = result.shares()
    order = np.lexsort((samples, -sizes, -found / np.maximum(sizes, 1)))[:worst]
    text = [f"## {result.name}: samples with the largest overlap", ""]
    for at in order:
        if not found[at]:
            break
        sample = int(samples[at])
        share = 100 * found[at] / sizes[at]
        text += [f"**{_cell(result.test.ids[sample].as_py())}**: {found[at]:,} of {sizes[at]:,} "
                 f"8-grams ({share:.1f} %)", ""]  # fmt: skip
        passages = result.passages(sample)
        text += [f"> {_shown(passage)}\n>" for passage in passages[:PASSAGES]]
        if len(passages) > PASSAGES:
            text.append(f"> and {len(passages) - PASSAGES:,} more, in samples.parquet")
        first, last = result.grams.offsets[sample : sample + 2]
        grams = result.which[first:last][result.main.found[first:last]]
        held = [f"{_cell(name)} ({count:,})" for name, count in holders.of(grams, 3)]
        text += ["", *([f"In train: {', '.join(held)}", ""] if held else [])]
    return text if len(text) > 2 else []


def _shown(passage: str) -> str:
    line = " ".join(passage.split())
    return line if len(line) <= LONGEST_PASSAGE else line[:LONGEST_PASSAGE] + " ..."


def _write_samples(path: Path, results: Sequence[TestResult]) -> None:
    tables = [SAMPLES.empty_table()]
    for result in results:
        numbers, sizes, found = result.shares()
        columns = [
            pa.array([result.name] * len(numbers), pa.string()),
            result.test.ids.take(pa.array(numbers)), pa.array(sizes), pa.array(found),
            pa.array(100 * found / np.maximum(sizes, 1), pa.float64()),
            pa.array([result.passages(int(n)) for n in numbers], pa.list_(pa.string())),
        ]  # fmt: skip
        tables.append(pa.Table.from_arrays(columns, schema=SAMPLES))
    with replaced(path) as partial:
        pq.write_table(pa.concat_tables(tables), partial, compression="zstd")


def _write_documents(path: Path, results: Sequence[TestResult], holders: Holders) -> None:
    """Write a row for each pair of a training document and a test set that share 8-grams."""
    if not holders.scans:
        return
    names = np.array([result.name for result in results], object)
    with (
        replaced(path) as partial,
        pq.ParquetWriter(partial, DOCUMENTS, compression="zstd") as writer,
    ):
        for file, scan in zip(holders.files, holders.scans, strict=True):
            document, test = np.nonzero(scan.shared)
            ids = pa.array(scan.names, pa.string()).take(pa.array(document, pa.int64()))
            columns = [
                ids, pa.array([file] * len(document), pa.string()),
                pa.array(names[test], pa.string()),
                pa.array(scan.shared[document, test]), pa.array(scan.sizes[document]),
                pa.array(~scan.stays[document]),
            ]  # fmt: skip
            writer.write_table(pa.Table.from_arrays(columns, schema=DOCUMENTS))
