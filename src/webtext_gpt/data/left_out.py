"""Text that a source leaves out: rows by reason, and files with other endings."""

from collections import Counter
from typing import TypedDict

from webtext_gpt.data.rows import plural
from webtext_gpt.data.tally import MALFORMED, NO_TEXT
from webtext_gpt.paths import other_endings


class LeftOut(TypedDict, total=False):
    """Counts of what was left out, as plain values; a count of 0 has no key.

    Attributes:
        rows: rows read, if some were rejected.
        rejected: rows left out, by reason.
        other_files: names of files in the folders that have another ending.
        pieces: pieces of music found, if some were left out.
        faults: what is wrong with each piece that was left out.
    """

    rows: int
    rejected: dict[str, int]
    other_files: list[str]
    pieces: int
    faults: list[str]


SHOWN_FAULTS = 5


def left_out(rows: int, rejected: Counter[str], other_files: list[str]) -> LeftOut:
    """Return the description of rows and files that were left out."""
    found: LeftOut = {}
    if rejected:
        found |= {"rows": rows, "rejected": dict(rejected)}
    if other_files:
        found["other_files"] = other_files
    return found


def left_out_lines(found: LeftOut) -> list[str]:
    """Return the description as lines to print: `1 of 3 rows was malformed`."""
    lines = []
    for reason, count in found.get("rejected", {}).items():
        was = "was" if count == 1 else "were"
        what = {MALFORMED: f"{was} malformed", NO_TEXT: "had no text"}[reason]
        lines.append(f"{count:,} of {plural(found['rows'])} {what}")
    if faults := found.get("faults"):
        lines.append(f"{len(faults):,} of {plural(found['pieces'], 'piece')} left out")
        lines += faults[:SHOWN_FAULTS]
        if len(faults) > SHOWN_FAULTS:
            lines.append(f"... and {len(faults) - SHOWN_FAULTS:,} more")
    if others := found.get("other_files"):
        lines.append(other_endings(others))
    return lines
