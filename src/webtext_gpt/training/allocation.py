"""Keep the memory that a training step on a CPU frees, for the next step."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt(3)."""


def keep_freed_memory() -> None:
    """Have glibc reuse freed memory of any size in this process instead of returning it.

    By default it returns each large tensor to the system, which pages it in again, zeroed, 4 KiB
    at a time, when the next step allocates it. On systems without glibc, do nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_MMAP_MAX, 0)
