"""Winograd schemas."""

from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.tasks.winograd import substitute

ROW = {
    "text": "Mark told Pete about his trip. He should have gone.",
    "pronoun": "He",
    "pronoun_loc": 31,
    "options": ["Mark", "Pete"],
    "label": 1,
}


def test_partial_and_full_scoring(
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    log_probability: Callable[[str, str], float],
    tmp_path: Path,
) -> None:
    begin = "Mark told Pete about his trip. "
    parts = [log_probability(begin + name, " should have gone.") for name in ("Mark", "Pete")]
    wholes = [log_probability("", f"{begin}{name} should have gone.") for name in ("Mark", "Pete")]
    rows = [{**ROW, "label": label} for label in (0, 1, 1)]
    write_rows(tmp_path / "winograd_test.jsonl", rows)
    shares = [100 / 3, 200 / 3]
    assert measure("winograd", tmp_path).metrics == pytest.approx(
        {
            "accuracy": shares[parts[1] > parts[0]],
            "accuracy_full": shares[wholes[1] > wholes[0]],
        }
    )


def test_candidates_replace_the_pronoun() -> None:
    row = {
        "text": "The city refused because they feared it.",
        "pronoun": "they",
        "pronoun_loc": 25,
        "options": ["The city", "Al Gore"],
    }
    assert substitute("x", row) == [
        ("The city refused because the city", " feared it."),
        ("The city refused because Al Gore", " feared it."),
    ]
    begins = {**row, "text": "It sat. They left.", "pronoun": "They", "pronoun_loc": 8}
    assert substitute("x", begins)[0] == ("It sat. The city", " left.")
    own = {**row, "text": "Ann took her bag.", "pronoun": "her", "pronoun_loc": 9}
    assert substitute("x", own)[1] == ("Ann took Al Gore's", " bag.")
    with pytest.raises(UserError, match="'they' is not at character 3"):
        substitute("x", {**row, "pronoun_loc": 3})
    with pytest.raises(UserError, match="pronoun_loc=3.5"):
        substitute("x", {**row, "pronoun_loc": 3.5})
