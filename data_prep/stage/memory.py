"""Memory that this process may still use, and the number of processes that fit into it."""

from collections.abc import Sequence
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
OWN_GROUPS = Path("/proc/self/cgroup")


def available_memory() -> int | None:
    """Return the bytes that can be used without swapping; None if unknown.

    The result is the smaller of the system's available memory and the rest of the limit of a
    control group (v1 or v2) of this process. Cached files do not count as used.
    """
    found = [_available_in_system(), *_left_in_groups()]
    return min((number for number in found if number is not None), default=None)


def _available_in_system() -> int | None:
    try:
        lines = MEMINFO.read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    kilobytes = fields.get("MemAvailable", "").split()
    return int(kilobytes[0]) * 1024 if kilobytes else None


def _left_in_groups() -> list[int | None]:
    """Return the unused rest of the limit of each group of this process, and of those above."""
    left: list[int | None] = []
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return left
    for line in lines:
        _, kinds, name = line.split(":", 2)
        if kinds not in ("", "memory") and "memory" not in kinds.split(","):
            continue
        root = CGROUPS / "memory" if kinds else CGROUPS
        group = root / name.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                left.append(_left(folder, v1=bool(kinds)))
    return left


def _left(folder: Path, *, v1: bool) -> int | None:
    limit, used = ("memory.limit_in_bytes", "memory.usage_in_bytes") if v1 else (
        "memory.max", "memory.current")  # fmt: skip
    try:
        allowed = (folder / limit).read_text().strip()
        if not allowed.isdigit():  # "max"
            return None
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = int(stat.get("total_inactive_file" if v1 else "inactive_file", 0))
        return max(int(allowed) - int((folder / used).read_text()) + cached, 0)
    except (OSError, ValueError):
        return None


def processes_that_fit(needs: Sequence[int], available: int | None) -> int:
    """Return the number of tasks, at least 1, that fit into memory at once, whichever they are.

    Args:
        needs: Memory that each task needs, in bytes.
        available: Memory for all of them; None for no limit.
    """
    if available is None:
        return max(len(needs), 1)
    total = fit = 0
    for need in sorted(needs, reverse=True):
        total += need
        if total > available:
            break
        fit += 1
    return max(fit, 1)
