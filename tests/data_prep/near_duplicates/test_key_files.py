"""Equal keys of documents in files, sorted a share at a time."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from data_prep.near_duplicates import key_files
from data_prep.near_duplicates.key_files import equal_keys, key_shape, write_keys

TOP = 2**64 - 1

KEYS = np.array(
    # two hashes of the words, one key of a band
    [[7, 1, 0], [TOP, 5, TOP], [7, 1, 3], [7, 2, TOP], [TOP, 5, 0], [2**63, 0, 2**63],
     [7, 1, 2**63 - 1]],
    np.uint64,
)  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Seven documents in three files, one of them empty."""
    paths = [tmp_path / f"{number}.npy" for number in range(3)]
    for path, rows in zip(paths, (KEYS[:3], KEYS[3:3], KEYS[3:]), strict=True):
        write_keys(path, rows)
    return paths


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
def test_groups_do_not_depend_on_the_keys_sorted_at_once(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """By hand: documents 0, 2 and 6 have the words (7, 1); 1 and 4 have (TOP, 5)."""
    monkeypatch.setattr(key_files, "SORTED_AT_ONCE", at_once)
    assert key_shape(files) == (3, 7)

    def groups(columns: list[int], left_out: list[int]) -> list[list[int]]:
        flags = np.isin(np.arange(7), left_out)
        found = []
        for members, bounds in equal_keys(files, columns, flags):
            found += [one.tolist() for one in np.split(members, bounds[1:-1]) if len(one)]
        return found

    assert groups([0, 1], []) == [[0, 2, 6], [1, 4]]
    assert groups([0], []) == [[0, 2, 3, 6], [1, 4]]
    assert groups([2], []) == [[0, 4], [1, 3]]
    assert groups([2], [4]) == [[1, 3]]


def test_no_document_has_no_group(tmp_path: Path) -> None:
    write_keys(tmp_path / "none.npy", np.empty((0, 3), np.uint64))
    ((members, bounds),) = equal_keys([tmp_path / "none.npy"], [0, 1], np.zeros(0, bool))
    assert len(members) == 0
    assert bounds.tolist() == [0]


def test_memory_is_that_of_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting all 400,000 keys takes 8 bytes each for the keys, their order and the sorted keys.

    That is 9.6 MB at least. A share of 10,000 takes under 1 MB, and the flags a few bytes a key.
    """
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{number}.npy" for number in range(4)]
    for file in files:
        write_keys(file, rng.integers(0, 1 << 64, (100_000, 1), np.uint64))
    left_out = np.zeros(400_000, bool)
    peaks = []
    for at_once in (1 << 30, 10_000):
        monkeypatch.setattr(key_files, "SORTED_AT_ONCE", at_once)
        tracemalloc.start()
        assert sum(len(members) for members, _ in equal_keys(files, [0], left_out)) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > 9.6e6
    assert peaks[1] < 3e6
