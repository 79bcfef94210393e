"""Progress bars for terminals and log files."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(description: str, **options: Any) -> tqdm:
    """Return a `tqdm` bar on standard error: live on a terminal, every ten seconds in a log.

    Args:
        description: text before the bar.
        options: further arguments of `tqdm`.
    """
    interactive = sys.stderr.isatty()
    return tqdm(
        desc=description,
        delay=1,  # seconds; short work shows no bar
        file=sys.stderr,
        mininterval=0.1 if interactive else 10,
        dynamic_ncols=interactive,
        ncols=None if interactive else 80,
        **options,
    )
