"""Memory that is available, and how many processes fit into it."""

from pathlib import Path

import pytest

from data_prep.stage import memory


def test_the_sum_of_the_largest_needs_must_fit() -> None:
    fit = memory.processes_that_fit
    assert fit([5, 1, 1, 1], 6) == 2  # 5 + 1, whichever two run
    assert fit([5, 1, 1, 1], 8) == 4
    assert fit([5, 1, 1, 1], 4) == 1  # one always runs
    assert fit([3] * 10, 10) == 3
    assert fit([3] * 10, None) == 10
    assert fit([], 10) == 1


@pytest.mark.parametrize(
    ("system", "limit", "used", "cached", "expected"),
    [
        (8000, "max", 0, 0, 8000),
        (8000, "3000", 1000, 500, 2500),
        (8000, "900", 1000, 0, 0),
        (1000, "3000", 0, 0, 1000),
    ],
)
def test_the_system_and_the_control_group_both_limit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: int,
    limit: str,
    used: int,
    cached: int,
    expected: int,
) -> None:
    group = tmp_path / "user/mine"
    group.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/user/mine\n")
    (group.parent / "memory.max").write_text(f"{limit}\n")
    (group.parent / "memory.current").write_text(f"{used}\n")
    (group.parent / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    kilobytes = system // 1024
    (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:   {kilobytes} kB\n")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    found = memory.available_memory()
    assert found == (kilobytes * 1024 if expected == system else expected)


def test_memory_of_an_unknown_system_has_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    monkeypatch.setattr(memory, "OWN_GROUPS", tmp_path / "none")
    assert memory.available_memory() is None
