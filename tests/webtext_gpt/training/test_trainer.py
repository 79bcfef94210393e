"""Length of a run, from max_steps, max_tokens and max_minutes."""

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.training.length import Length, plan_length


@pytest.mark.parametrize(
    ("steps", "tokens", "minutes", "planned", "expected"),
    [
        (100, None, None, None, Length(100, None)),
        (100, None, 2, None, Length(100, 2)),  # whichever comes first
        (None, 1000, None, None, Length(4, None)),  # 1,000 / 256, rounded up
        (None, None, None, None, Length(-1, 5)),  # five minutes by default; the steps are measured
        (None, None, 2, None, Length(-1, 2)),
        (None, None, 2, 70, Length(70, 2)),  # a resumed run keeps its planned end
        (50, None, 2, 70, Length(50, 2)),
        (None, 512, None, 70, Length(2, None)),
    ],
)
def test_length_follows_steps_tokens_and_minutes(
    steps: int | None,
    tokens: int | None,
    minutes: float | None,
    planned: int | None,
    expected: Length,
) -> None:
    found = plan_length(steps, tokens, minutes, tokens_per_step=256, planned_steps=planned)
    assert found == expected


def test_no_steps_are_refused() -> None:
    for steps, tokens in ((0, None), (-2, None), (None, 0)):
        with pytest.raises(UserError, match=r"max_steps and trainer\.max_tokens must be above 0"):
            plan_length(steps, tokens, None, tokens_per_step=256)
