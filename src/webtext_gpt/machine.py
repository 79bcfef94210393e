"""Resources of this machine that this process may use."""

import os
from pathlib import Path


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Return the bytes of memory that can be used without swapping; `None` if it is unknown.

    It is at most what the limit of this process's control group leaves, as in a container.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        (free,) = (int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
        group = Path("/sys/fs/cgroup")
        limit = group / "memory.max"
        allowed = limit.read_text(encoding="utf-8").strip() if limit.is_file() else "max"
        if not allowed.isdigit():
            return free
        used = int((group / "memory.current").read_text(encoding="utf-8"))
        numbers = (group / "memory.stat").read_text(encoding="utf-8").split()
        cache = int(numbers[numbers.index("inactive_file") + 1])  # given up when it is needed
        return min(free, int(allowed) - used + cache)
    except (OSError, ValueError):
        return None
