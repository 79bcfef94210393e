"""The system's errors in plain words."""

import errno
import os
from pathlib import Path

import pytest

from webtext_gpt.errors import causes, explain


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOENT, "a.txt does not exist"),
        (errno.EACCES, "no permission to use a.txt"),
        (errno.ENOSPC, "the disk is full, and a.txt is not written"),
        (errno.EROFS, "a.txt is on a file system that cannot be written to"),
        (errno.ECHILD, f"a.txt: {os.strerror(errno.ECHILD)}"),
    ],
)
def test_an_error_of_the_system_names_the_file(number: int, message: str) -> None:
    assert explain(OSError(number, os.strerror(number), "a.txt")).startswith(message)
    assert explain(OSError(number, os.strerror(number))) == os.strerror(number)


def test_an_error_without_a_number_keeps_its_text() -> None:
    assert explain(OSError("no room")) == "no room"


def test_real_errors(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    for path, message in (
        ("none", "does not exist"),
        ("", "is a folder, but a file is expected"),
        ("f/x", "a part of this path is a file, not a folder"),
        ("x" * 300, "is too long a name"),
    ):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the kind is what is tested
            (tmp_path / path).read_text()
        assert message in explain(caught.value)


def test_causes_come_once_each_also_in_a_circle() -> None:
    """As `raise error from error` makes one."""
    first, second, third = ValueError("1"), KeyError("2"), OSError("3")
    third.__cause__, second.__context__ = second, first
    assert [*causes(third)] == [third, second, first]
    assert [*causes(third, handled=False)] == [third, second]
    first.__cause__ = third
    assert [*causes(third)] == [third, second, first]
    second.__cause__ = second
    assert [*causes(second)] == [second]
    assert [*causes(None)] == []
