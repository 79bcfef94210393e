from typing import Any

import pytest
from omegaconf import OmegaConf

from data_prep.stage.settings import settings
from webtext_gpt.errors import UserError

KINDS = {"files": list, "count": int, "share": float, "deep.flag": bool}
GOOD: dict[str, Any] = {
    "files": ["a"], "count": 1, "share": 0.5, "deep": {"flag": True}, "workers": None,
}  # fmt: skip


def test_plain_values() -> None:
    found = settings(OmegaConf.create({**GOOD, "files": "a", "share": 1}), KINDS)
    assert found == {**GOOD, "share": 1.0}
    assert type(found["share"]) is float


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"files": []}, "files=.*expected a list"),
        ({"files": [1]}, "files=.*expected a list"),
        ({"count": "many"}, "count=many: expected a whole number"),
        ({"count": True}, "count=True: expected a whole number"),
        ({"share": None}, "share=None: expected a number"),
        ({"deep": {"flag": "no"}}, "deep.flag=no: expected true or false"),
        ({"workers": "two"}, "workers=two: expected a whole number"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_key(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings(OmegaConf.create({**GOOD, **wrong}), KINDS)
