"""Count the rows of a file that hold no document, and refuse a file that has no other rows."""

from pathlib import Path

from webtext_gpt.errors import UserError

MALFORMED = "malformed row"
NO_TEXT = "no text"

FIRST_ROWS = 1000  # rows after which a file without a usable one is not read on


class Tally:
    """Counts of the rows of one file, and of those that could not be read as documents.

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
        """Count a faulty row; `expected` completes the message "none of the first rows ..."."""
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
