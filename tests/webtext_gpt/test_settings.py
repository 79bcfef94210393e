"""Type and range checks of settings."""

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.settings import number, whole_number


def test_values_in_range_pass() -> None:
    whole_number("steps", 1, least=1)
    assert number("rate", 2) == 2.0
    assert number("dropout", 0, least=0, below=1) == 0.0


@pytest.mark.parametrize("value", [0, 1.0, "1", True, None])
def test_whole_numbers(value: object) -> None:
    with pytest.raises(UserError, match=f"steps={value} must be a whole number, 1 or above"):
        whole_number("steps", value, least=1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "rate=1 must be a number"),
        (True, "rate=True must be a number"),
        (float("inf"), "rate=inf must be a number"),
        (float("nan"), "rate=nan must be a number"),
        (-0.1, "rate=-0.1 must be 0 or above and under 1"),
        (1, "rate=1 must be 0 or above and under 1"),
    ],
)
def test_numbers(value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        number("rate", value, least=0, below=1)
