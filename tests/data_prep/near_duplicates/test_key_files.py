"""Equal keys of documents in files, sorted a share at a time."""

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
