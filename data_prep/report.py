r"""Report on a corpus: tables and plots made from the manifests of its stages, as one page.

    python data_prep/report.py links=corpus/links pages=corpus/pages \
        documents=corpus/documents dedup=corpus/dedup out=corpus/report

The report has a section for each stage that is given.
"""

if __name__ == "__main__":
    from webtext_gpt.commands import run_script

    run_script("report")


from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.classifier.scoring import LOW
from data_prep.report_pictures import (
    draw_clusters,
    draw_domains,
    draw_funnel,
    draw_lengths,
    draw_quality,
)
from data_prep.settings import REPORTED, Report
from data_prep.stage.manifest import MANIFEST, Manifest, read_manifest
from webtext_gpt.cli import Call
from webtext_gpt.errors import UserError, explain
from webtext_gpt.evaluation.tables import markdown_table
from webtext_gpt.files import read_text, write_text
from webtext_gpt.page import write_page
from webtext_gpt.paths import place_of, readable_path
from webtext_gpt.remote.uploads import written_folder
from webtext_gpt.terminal import LABEL_WIDTH, quoted, say_rows

TOP = 20  # rows of the tables of domains and languages


def write_report(
    stages: Mapping[str, str | Path], out: str | Path, webtext_domains: str | Path | None = None
) -> Path:
    """Write `report.md`, its plots, and `report.html` with all of them inside.

    Args:
        stages: Folders by name of the stage.
        out: Folder to write to.
        webtext_domains: Table of `count name` lines, as OpenAI published it for WebText.

    Returns:
        Path of `report.md`.

    Raises:
        UserError: A folder is not finished or belongs to another stage, the table cannot be read,
            or `out` holds other files.
    """
    folders = {s: readable_path(folder, f"stages.{s}").absolute() for s, folder in stages.items()}
    manifests = {}
    for stage, folder in folders.items():
        if not (folder / MANIFEST).exists():
            raise UserError(f"{folder}: no {MANIFEST}; run data_prep/{stage}.py first")
        manifests[stage] = read_manifest(folder / MANIFEST)
        if manifests[stage].get("stage") != stage:
            raise UserError(f"{folder} was made by {manifests[stage].get('stage')}, not {stage}")
    webtext = webtext_table(webtext_domains) if webtext_domains else {}
    with written_folder(out) as folder:
        _write(folder, folders, manifests, webtext)
    return place_of(out, "out") / "report.md"


def _write(
    out: Path,
    folders: Mapping[str, Path],
    manifests: Mapping[str, Manifest],
    webtext: Mapping[str, int],
) -> None:
    """Write the report of some stages, given as folders and manifests by name."""
    ours = ("report.md", "report.html")
    if out.exists() and any(p.name not in ours and p.suffix != ".png" for p in out.iterdir()):
        raise UserError(f"{out} holds more than a report; choose another out=")
    out.mkdir(parents=True, exist_ok=True)
    stages = ", ".join(stage for stage in REPORTED if stage in manifests)
    text = ["# Corpus report", "", f"Stages: {stages}. Made on {date.today().isoformat()}.", ""]
    text += _funnel(manifests, out)
    last = next((s for s in ("dedup", "documents") if s in folders), None)
    if last:
        files = sorted(folders[last].glob("documents-*.parquet"))
        text += [*_domains(files, webtext, out), *_lengths(files, out), *_languages(files)]
    if "quality" in manifests.get("documents", {}):
        files = sorted(folders["documents"].glob("documents-*.parquet"))
        text += _quality(manifests["documents"], files, out)
    if "dedup" in folders:
        text += _clusters(folders["dedup"] / "clusters.parquet", out)
    if "overlap" in folders:
        text += _overlap(manifests["overlap"])
    if "shards" in folders:
        text += _tokens(manifests["shards"])
    write_text(out / "report.md", "\n".join(text) + "\n")
    write_page(out / "report.md")


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table, with a blank line at the end."""
    cells = [[f"{c:,}" if isinstance(c, int) else str(c) for c in row] for row in rows]
    return [markdown_table([head, *cells]), ""]


def _funnel(manifests: Mapping[str, Manifest], out: Path) -> list[str]:
    """Return the rows in, rejected and out of each stage, and plot them."""
    text = ["## From posts to documents", "", "![From posts to documents](funnel.png)", ""]
    given = {stage: manifests[stage] for stage in REPORTED if stage in manifests}
    draw_funnel(out / "funnel.png", given)
    for stage, manifest in given.items():
        text += [f"### {stage}", ""]
        received = manifest["rows_in"]
        rows = [("in", received)]
        rows += sorted(manifest["rejected"].items(), key=lambda item: (-item[1], item[0]))
        if merged := manifest["rows_used"] - manifest["rows_out"]:
            rows.append(("merged with others", merged))
        rows.append(("**out**", manifest["rows_out"]))
        shares = [(name, count, f"{count / max(received, 1):.1%}") for name, count in rows]
        text += _table(("", "rows", "share"), shares)
    return text


def _column(files: Sequence[Path], name: str) -> Iterator[pa.Array]:
    """Yield one column of the files that have it, a batch at a time."""
    for path in files:
        file = pq.ParquetFile(path)
        if name in file.schema_arrow.names:
            for batch in file.iter_batches(columns=[name]):
                yield batch.column(0)


def _counts(files: Sequence[Path], name: str) -> Counter[str]:
    """Count the values of a column that are not empty."""
    counts: Counter[str] = Counter()
    for column in _column(files, name):
        counts.update(value for value in column.to_pylist() if value)
    return counts


def webtext_table(path: str | Path) -> dict[str, int]:
    """Read OpenAI's table of domains, in its order.

    Raises:
        UserError: The file is not such a table.
    """
    try:
        lines = read_text(readable_path(path, "webtext_domains")).splitlines()
    except OSError as error:
        raise UserError(f"webtext_domains={path}: {explain(error)}") from error
    try:
        pairs = [line.strip().partition(" ") for line in lines if line.strip()]
        return {name: int(count) for count, _, name in pairs}  # one line has no name
    except ValueError as error:
        raise UserError(f"{path}: not a table of `count name` lines: {error}") from error


def _domains(files: Sequence[Path], webtext: Mapping[str, int], out: Path) -> list[str]:
    """Return the table of registered domains, and plot it; WebText's omits their suffixes."""
    ours = _counts(files, "domain")
    total, webtext_total = sum(ours.values()) or 1, sum(webtext.values()) or 1
    rank = {name: at + 1 for at, name in enumerate(webtext)}
    rows, shares = [], []
    for name, count in sorted(ours.items(), key=lambda item: (-item[1], item[0]))[:TOP]:
        label = name.partition(".")[0]
        there = webtext[label] / webtext_total if label in webtext else None
        row = [name, count, f"{count / total:.2%}"]
        if webtext:
            row.append("-" if there is None else f"{there:.2%} (no. {rank[label]})")
        rows.append(row)
        shares.append((name, count / total, there))
    head = ["domain", "documents", "share"]
    if webtext:
        head.append("share of WebText's top 1,000")
    text = ["## Domains", "", *_table(head, rows)]
    if shares:
        draw_domains(out / "domains.png", shares, len(ours))
        text += ["![Domains](domains.png)", ""]
    return text


def _lengths(files: Sequence[Path], out: Path) -> list[str]:
    """Return percentiles of the documents' lengths in characters, and plot them."""
    import pyarrow.compute as pc

    lengths = [pc.utf8_length(column).to_numpy() for column in _column(files, "text")]
    values = np.concatenate(lengths) if lengths else np.empty(0, np.int64)
    if not len(values):
        return ["## Lengths", "", "No documents.", ""]
    draw_lengths(out / "lengths.png", values)
    points = [
        (f"{p} % have at most", round(float(np.percentile(values, p)))) for p in (5, 25, 50, 75, 95)
    ]
    rows = [("all documents", int(values.sum())), *points]
    return ["## Lengths", "", *_table(("", "characters"), rows), "![Lengths](lengths.png)", ""]


def _languages(files: Sequence[Path]) -> list[str]:
    counts = _counts(files, "language").most_common(TOP)
    return ["## Languages", "", *_table(("language", "documents"), counts)] if counts else []


def _quality(manifest: Manifest, files: Sequence[Path], out: Path) -> list[str]:
    """Return the classifier's figures and what it dropped, and plot the remaining scores."""
    scores = np.concatenate([np.empty(0, np.float32), *map(np.asarray, _column(files, "quality"))])
    quality = manifest["quality"]
    rows = [
        ("area under the ROC curve, on texts held out from training", f"{quality['auc']:.4f}"),
        ("lowest score that is kept", f"{quality['lowest']:.4f}"),
        ("dropped for a lower one", manifest["rejected"].get(LOW, 0)),
        *((f"{p} % of the documents kept score at most", f"{np.percentile(scores, p):.4f}")
          for p in (5, 25, 50, 75, 95) if len(scores)),
    ]  # fmt: skip
    draw_quality(out / "quality.png", scores, quality["lowest"])
    return ["## Quality scores", "", *_table(("", ""), rows), "![Quality](quality.png)", ""]


def _clusters(path: Path, out: Path) -> list[str]:
    """Return counts of duplicates and clusters, and plot the sizes of clusters."""
    table = pq.read_table(path)
    kinds = Counter(table["kind"].to_pylist())
    sizes = Counter(count + 1 for count in Counter(table["kept"].to_pylist()).values())
    if not sizes:
        return ["## Copies", "", "None.", ""]
    draw_clusters(out / "clusters.png", sizes)
    rows = [("exact copies", kinds["exact"]), ("near copies", kinds["near"]),
            ("clusters", sizes.total()), ("largest cluster", max(sizes))]  # fmt: skip
    return ["## Copies", "", *_table(("", ""), rows), "![Clusters](clusters.png)", ""]


def _overlap(manifest: Manifest) -> list[str]:
    """Return Table 6 of the GPT-2 paper, one row per test set."""
    rows = []
    for name, record in manifest["results"].items():
        main, left = record["overlap"], record.get("after_removal", {})
        shares = [main["percent"], left.get("percent")]
        shown = ["-" if share is None else f"{share:.2f}" for share in shares]
        rows.append((name, main["ngrams"], main["overlapping"], *shown, main.get("note", "")))
    head = ("test set", "8-grams", "in train", "%", "% without documents over the threshold", "")
    return ["## Overlap with test sets", "", *_table(head, rows)]


def _tokens(manifest: Manifest) -> list[str]:
    """Return documents, bytes and tokens of each split."""
    rows = []
    for split in ("train", "validation"):
        files = [file for file in manifest["files"] if file["split"] == split]
        counts = [sum(f[key] for f in files) for key in ("n_documents", "n_bytes", "n_tokens")]
        rows.append((split, *counts, f"{counts[1] / max(counts[2], 1):.2f}"))
    head = ("split", "documents", "bytes", "tokens", "bytes per token")
    return ["## Tokens", "", *_table(head, rows)]


def main(settings: Report, call: Call) -> None:
    """Write the report and print its path."""
    report = write_report(settings.stages, settings.out, settings.webtext_domains)
    say_rows({"report": quoted(report.with_suffix(".html"))}, least=LABEL_WIDTH)
