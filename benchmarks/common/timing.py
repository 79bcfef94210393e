"""Wall-clock and CPU seconds of work, and of several programs' work in turn."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Cost(NamedTuple):
    """Seconds that some work took.

    Attributes:
        wall: elapsed time.
        cpu: user and system time of all threads of this process, and of the child processes that
            have ended meanwhile. Other programs on the machine affect it less.
    """

    wall: float
    cpu: float


def cpu_seconds() -> float:
    """Return the CPU time so far of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def timed(work: Callable[[], object]) -> Cost:
    """Do some work, wait for the GPU, and return the cost."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    torch = sys.modules.get("torch")  # not imported here, since a benchmark may measure memory
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return Cost(time.perf_counter() - wall, cpu_seconds() - cpu)


def alternate(
    sides: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1
) -> dict[str, list[Cost]]:
    """Measure the sides in turn, so that drift in the machine's speed affects all of them.

    Args:
        sides: the work of each, by name.
        rounds: measurements of each.
        warm_up: rounds before them that do not count.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(warm_up + rounds):
        for name, work in sides.items():
            cost = timed(work)
            if number >= warm_up:
                costs[name].append(cost)
    return costs


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of the wall-clock and of the CPU seconds."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))
