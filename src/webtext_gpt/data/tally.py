"""Rows that hold no document, by reason, and the refusal of a file that holds nothing else."""

from pathlib import Path

from webtext_gpt.errors import UserError

MALFORMED = "malformed row"
NO_TEXT = "no text"

FIRST_ROWS = 1000  # rows after which a file without a usable one is not read on


class Tally:
    """Rows of one file, and those of which no document could be made whatever they held.

    Args:
        source: the file, or another name for messages.

    Attributes:
        rows: rows read so far.
    """

    def __init__(self, source: Path | str) -> None:
        self.source = source
        self.rows = self._unusable = 0
        self._first: tuple[type[UserError], str] | None = None

    def fault(self, expected: str, found: str, error: type[UserError] = UserError) -> None:
        """Count a row that is not what every row should be, completing "none of the rows ..."."""
        self._unusable += 1
        self._first = self._first or (error, f"{expected}: {found}")

    def check(self, *, ended: bool) -> None:
        """Refuse a file without one usable row, at its end or after `FIRST_ROWS` rows.

        Raises:
            UserError: says what is wrong with the first row.
        """
        if self._first and self._unusable == self.rows and (ended or self.rows >= FIRST_ROWS):
            error, first = self._first
            raise error(f"{self.source}: none of the first {self.rows:,} rows {first}")
