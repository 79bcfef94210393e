"""Memory that a step frees is there for the next one."""

import subprocess
import sys

import pytest

COUNT = """
import resource, sys, torch
from webtext_gpt.training.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(30):
    if step == 20:  # by now the heap has grown to its size
        before = faults()
    torch.zeros(2**24)  # 64 MiB
print(faults() - before)
"""
"""Prints the page faults of ten steps that allocate, fill and free a tensor."""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
@pytest.mark.slow
def test_freed_memory_is_not_paged_in_again() -> None:
    """In processes of their own, since the setting stays."""

    def faults(how: str) -> int:
        call = [sys.executable, "-c", COUNT, how]
        return int(subprocess.run(call, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < faults("plain") / 10
