"""Progress bars for terminals, and a line every ten seconds for log files."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from tqdm import tqdm

from webtext_gpt.terminal import columns

LOG_SECONDS = 10
"""Seconds between two lines in a log file."""
SETTLED = 2.0
"""Seconds of measured work before an estimate of the time left is shown."""
UNKNOWN, UNKNOWN_SHORT = "time left not known yet", "time left ?"
"""Text in place of an estimate, in a log and on a terminal."""
DAYS_FROM = 100
"""Hours from which the time left is shown in days."""
NARROWEST_BAR = 5


def progress_bar(description: str, **options: Any) -> "Progress":
    """Return a bar on standard error: live on a terminal, a line every ten seconds in a file.

    Work that ends within a second shows no bar on a terminal; within ten seconds, no line in a
    file.

    Args:
        description: text before the bar.
        options: further arguments of `tqdm`.
    """
    interactive = sys.stderr.isatty()
    return Progress(
        desc=description,
        delay=1,  # seconds
        file=sys.stderr if interactive else _Lines(sys.stderr),
        mininterval=0.1 if interactive else LOG_SECONDS,
        miniters=1,
        **options,
    )


class Progress(tqdm):
    """A `tqdm` bar with figures of the work, and a steady estimate of the time left.

    The estimate uses the mean speed after the first update, since the first step of some work takes
    much longer than the others.

    Attributes:
        figures: further figures to show, the most important first; a narrow terminal leaves the
            last ones out.
        limit: returns the seconds after which the work ends even if it is not complete.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.figures: list[str] = []
        self.limit: Callable[[], float] | None = None
        self._first: tuple[float, float] | None = None  # time and count after the first update
        self._drawn: tuple[float, list[str]] | None = None  # count and figures, as drawn last
        super().__init__(*arguments, **options)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over `iterable`; `tqdm` itself would count its items only when it draws."""
        for item in self.iterable:
            yield item
            self.update()
        self.close()

    def update(self, n: float | None = 1) -> bool | None:
        """Advance the count."""
        if self._first is None and n:
            self._first = (time.monotonic(), self.n + n)
        shown: bool | None = super().update(n)
        return shown

    def refresh(self, *arguments: Any, **options: Any) -> None:
        """Draw the bar, unless the work began less than `delay` seconds ago."""
        now = time.time()
        if self.delay and now - getattr(self, "start_t", 0.0) < self.delay:
            return
        self.last_print_t = now  # `close` ends the line of a bar that was drawn
        super().refresh(*arguments, **options)

    def close(self) -> None:
        """Draw the bar for the last time; a log gets no line that repeats the one before."""
        if self._drawn == (self.n, self.figures) and not sys.stderr.isatty():
            self.leave = False
        super().close()

    def seconds_left(self) -> float | None:
        """Return the estimated seconds to the end; None while it is not known."""
        if self._first is None or not self.total:
            return None
        now, (started, before) = time.monotonic(), self._first
        if self.n <= before or now - started < SETTLED:
            return None
        left = max(0.0, (self.total - self.n) * (now - started) / (self.n - before))
        return left if self.limit is None else min(left, max(0.0, self.limit()))

    def __str__(self) -> str:
        """Return what to show: a bar that fits the terminal, or a line of a log."""
        self._drawn = (self.n, list(self.figures))
        width = columns(sys.stderr) if sys.stderr.isatty() else None
        if width is None:
            share = f" ({self._percent}%)" if self.total else ""
            parts = [f"{self.desc}: {self._count(' of ')}{share}", *self.figures, self._rate()]
            return ", ".join(filter(None, [*parts, self._end(UNKNOWN)]))
        end = self._end(UNKNOWN_SHORT)
        figures = list(self.figures)
        while True:
            rest = "  ".join(filter(None, [self._count("/"), *figures, self._rate(), end]))
            percent = f" {self._percent:3}% " if self.total else " "
            room = width - 1 - len(self.desc) - len(percent) - len(rest) - 3
            if room >= NARROWEST_BAR or not figures:
                break
            figures.pop()
        if not self.total or room < NARROWEST_BAR:
            return f"{self.desc}{percent} {rest}"[: width - 1].ljust(width - 1)
        full = int(room * self._share)
        return f"{self.desc}{percent}|{'█' * full}{' ' * (room - full)}| {rest}"

    @property
    def _share(self) -> float:
        return min(1.0, self.n / self.total) if self.total else 0.0

    @property
    def _percent(self) -> int:
        """Percent that are done; 100 means all."""
        return math.floor(100 * self._share)

    def _count(self, of: str) -> str:
        unit = "" if self.unit in ("B", "it") else f" {self.unit.removesuffix('s')}s"
        done = self._size(self.n)
        return f"{done}{of}{self._size(self.total)}{unit}" if self.total else f"{done}{unit}"

    def _size(self, n: float) -> str:
        return f"{tqdm.format_sizeof(n)}B" if self.unit == "B" else f"{n:,.0f}"

    def _rate(self) -> str:
        """Return the mean speed, unless a figure gives one."""
        if self.figures or self._first is None:
            return ""
        speed = (self.n - self.initial) / max(time.time() - self.start_t, 1e-3)
        return f"{self._size(speed)}/s" if speed >= 10 else f"{speed:.2g}/s"

    def _end(self, unknown: str) -> str:
        """Return the time left, or that it is unknown; for finished or endless work, the time."""
        if not self.total or self.n >= self.total or self.disable:
            taken = tqdm.format_interval(time.time() - self.start_t)
            return f"in {taken}" if self.total else f"after {taken}"
        left = self.seconds_left()
        if left is None:
            return unknown
        if left >= 3600 * DAYS_FROM:
            return f"{left / 86400:.0f} days left"
        return f"{tqdm.format_interval(left)} left"


class _Lines:
    """Writes a bar's output as whole lines, without carriage returns and repeated lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = ""

    def write(self, text: str) -> None:
        """Write a line, unless it is blank."""
        line = text.replace("\r", "").strip()
        if line and line != self._last:
            self._last = line
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        """Flush the file."""
        self._stream.flush()
