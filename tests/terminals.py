"""Programs run with a terminal of a given width as their output."""

import os
import pty
import re
import subprocess
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ


def run_on_terminal(
    command: Sequence[str], width: int, folder: Path | None = None
) -> tuple[int, list[str]]:
    """Run a program; return its exit code and each line that it has drawn.

    Args:
        command: the program and its arguments.
        width: columns of the terminal.
        folder: where to run it; None means the current folder.
    """
    main, terminal = pty.openpty()
    ioctl(terminal, TIOCSWINSZ, pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, cwd=folder)
    os.close(terminal)
    shown = b""
    while True:
        try:
            shown += os.read(main, 4096)
        except OSError:  # the other end is closed
            break
    os.close(main)
    return process.wait(), re.split(r"[\r\n]+", shown.decode())
