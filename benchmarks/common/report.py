"""Report of a benchmark: a Markdown table on the terminal, and a record for `make bench`.

Two ways, for a script that `benchmarks/run_all.py` lists:

    costs = alternate({"webtext-gpt": ours, "transformers": theirs}, rounds=8)
    report_costs("How fast is a training step?", costs, amount=x.numel(), unit="tokens")

    report("How good are the texts?", ("", "F1"), [("ours", "0.91"), ("theirs", "0.88")])

A script may report more than once.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.common.timing import Cost, median

RESULT = "BENCHMARK_RESULT"
"""Environment variable with the file that each report is appended to, one per line."""


def report(
    question: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    ratios: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
    costs: Mapping[str, Sequence[Cost]] | None = None,
) -> None:
    """Print a table, and pass it to `make bench` if that runs the script.

    Args:
        question: the question that the table answers, in one line.
        columns: heading of the table; the first column names the rows.
        rows: cells, as many as there are columns.
        ratios: figures that sum up the table, by description.
        notes: sentences below the table.
        costs: every measurement, kept in the record.
    """
    record = {
        "question": question,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
        "ratios": dict(ratios or {}),
        "notes": list(notes),
        "costs": {name: [list(cost) for cost in some] for name, some in (costs or {}).items()},
    }
    print(f"{question}\n\n{markdown_table(columns, rows)}", flush=True)
    for line in (*(f"{name}: {value:.2f}" for name, value in record["ratios"].items()), *notes):
        print(line, flush=True)
    if path := os.environ.get(RESULT):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def report_costs(
    question: str,
    costs: Mapping[str, Sequence[Cost]],
    *,
    amount: float | None = None,
    unit: str = "",
    more: Mapping[str, Mapping[str, str]] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Report the medians of an alternating measurement; the first side is ours.

    Args:
        question: the question that the table answers, in one line.
        costs: the measurements of each side, from `alternate`.
        amount: size of the work, the same for every side; gives a column of speeds.
        unit: unit of the amount.
        more: further columns, each with a cell for every side.
        notes: sentences below the table.
    """
    medians = {name: median(some) for name, some in costs.items()}
    columns = ["", *([f"{unit}/s"] if amount else []), "seconds", "least to most", "CPU seconds"]
    columns += more or {}
    rows = []
    for name, some in costs.items():
        walls = [cost.wall for cost in some]
        row = [name, *([figure(amount / medians[name].wall)] if amount else [])]
        row += [figure(medians[name].wall), f"{figure(min(walls))} to {figure(max(walls))}"]
        row += [figure(medians[name].cpu), *(column[name] for column in (more or {}).values())]
        rows.append(row)
    ours, *others = medians
    ratios = {}
    for name in others:
        ratios[f"{name} / {ours}, seconds"] = medians[name].wall / medians[ours].wall
        if medians[ours].cpu:
            ratios[f"{name} / {ours}, CPU seconds"] = medians[name].cpu / medians[ours].cpu
    report(question, columns, rows, ratios=ratios, notes=notes, costs=costs)


def figure(value: float) -> str:
    """Return a number with three significant digits, in full: 0.0123, 4.56, 7,890; NaN is "-"."""
    if math.isnan(value):  # such as the mean time of steps of which there were none
        return "-"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, with a newline at its end."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
