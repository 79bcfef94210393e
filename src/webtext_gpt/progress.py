"""Progress bars that behave on a terminal and in a log file."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(description: str, **options: Any) -> tqdm:
    """A `tqdm` bar on standard error: live on a terminal, a line every ten seconds in a log."""
    interactive = sys.stderr.isatty()
    return tqdm(
        desc=description,
        delay=1,  # what is done at once needs no bar
        file=sys.stderr,
        mininterval=0.1 if interactive else 10,
        dynamic_ncols=interactive,
        ncols=None if interactive else 80,
        **options,
    )
