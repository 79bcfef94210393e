"""Settings read from plain values, keys set one by one, and what is said about wrong ones."""

import dataclasses
import inspect
from typing import Annotated, Any, Literal

import lightning
import pytest
from pydantic import Field

from webtext_gpt.errors import UserError
from webtext_gpt.finetuning import metrics
from webtext_gpt.model import GPTConfig
from webtext_gpt.settings import task
from webtext_gpt.settings.base import (
    Settings,
    Target,
    keys,
    setting,
)
from webtext_gpt.settings.kinds import (
    Number,
    PathText,
    Switch,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import Named
from webtext_gpt.settings.lookup import (
    Changes,
    leaves,
    shown,
    unknown_key,
)
from webtext_gpt.settings.model import Model
from webtext_gpt.settings.reading import assign, read
from webtext_gpt.settings.train import Train
from webtext_gpt.settings.training import Trainer


class Plain(Target):
    """`paint=plain`: one color."""

    target: Literal["builtins.str"] = setting(alias="_target_")
    color: Annotated[str, Text()] = setting("red", "the color", common=True)


class Striped(Target):
    """`paint=striped`: several."""

    target: Literal["builtins.dict"] = setting(alias="_target_")
    width: Annotated[float, Number(above=0)] = setting(1.0, "of a stripe")


class Lights(Settings):
    """Lights."""

    count: Annotated[int, Whole(0)] = setting(2, "how many")
    dimmed: Annotated[bool, Switch()] = setting(False, "dimmed")


class Car(Settings):
    """A car."""

    name: Annotated[str, Text("a name")] = setting(..., "its name", common=True)
    doors: Annotated[int, Whole(2, 5)] = setting(4, "how many")
    start: Annotated[str | None, PathText(null="home")] = setting(None, "where", alias="from")
    lights: Lights = keys(Lights)
    spare: Lights | None = keys(None)
    paint: Annotated[Plain | Striped, Field(discriminator="target")] | None = keys(None)
    labels: Annotated[dict[str, int], Named(Whole())] = setting(dict, "by name")
    later: Annotated[dict[str, Any], Changes(Lights, "later")] = setting(dict)


def _assigned(*pairs: str, **values: Any) -> dict[str, Any]:
    for pair in pairs:
        key, _, text = pair.partition("=")
        assign(Car, values, key, text)
    return values


def test_values_are_read_by_type() -> None:
    values = _assigned("name= T ", "doors=5", "from=a=b", "lights.dimmed=yes", "labels.x.y=3")
    car = read(Car, values)
    assert (car.name, car.doors, car.start, car.labels) == (" T ", 5, "a=b", {"x.y": 3})
    assert car.lights == Lights(count=2, dimmed=True)
    assert car.arguments()["doors"] == 5
    assert (car.spare, car.paint) == (None, None)
    with pytest.raises(ValueError, match="expected a whole number, 2 to 5"):
        car.doors = 6


def test_all_wrong_values_are_named_at_once() -> None:
    values = _assigned("doors=two", "lights.count=-1", "labels.x=1.5", "later.count=x")
    with pytest.raises(UserError) as raised:
        read(Car, values, source="garage.")
    assert str(raised.value).splitlines() == [
        "garage.name has no value; give garage.name=... (its name)",
        "garage.doors=two: expected a whole number, 2 to 5",
        "garage.lights.count=-1: expected a whole number, 0 or above",
        "garage.labels.x=1.5: expected a whole number",
        "later.count=x: expected a whole number, 0 or above",
    ]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("door=3", "unknown key 'door'; did you mean doors? --help all lists every key"),
        ("count=3", "unknown key 'count'; did you mean lights.count or spare.count or later"),
        ("light.count=3", "unknown key 'light.count'; did you mean lights.count"),
        ("qqqq=3", "unknown key 'qqqq'; --help all lists every key"),
        ("start=3", "unknown key 'start'"),
        ("later.dim=1", "unknown key 'later.dim'; did you mean later.dimmed"),
        (".=1", "unknown key '.'"),
        ("name.first=a", "unknown key 'name.first'"),
        ("lights=3", "lights=3: lights holds several settings; give lights.count=..., lights.dimm"),
        ("lights=null", "lights=null: lights holds several settings"),
        ("spare.count=1", "spare.count has no effect with the present choice of spare"),
        ("paint.color=red", "paint.color has no effect with the present choice of paint; it is a "
                            "setting of paint=plain; give that too"),
        ("paint._target_=os.system", "unknown key 'paint._target_'"),
        ("paint.target=os.system", "unknown key 'paint.target'"),
        ("labels.a.b=x", ""),
    ],
)  # fmt: skip
def test_keys_that_do_not_exist(pair: str, message: str) -> None:
    if not message:
        _assigned(pair)
        return
    with pytest.raises(UserError) as raised:
        _assigned(pair)
    assert str(raised.value).startswith(message)


def test_optional_groups() -> None:
    assert _assigned("spare=null", spare={"count": 1}) == {"spare": None}
    assert read(Car, _assigned("name=a", "spare.count=3", spare={})).spare == Lights(count=3)
    assert read(Car, _assigned("name=a", "lights.count=3", lights=None)).lights.count == 3
    with pytest.raises(UserError, match="lights.count: lights=bright was given, which holds no k"):
        _assigned("lights.count=3", lights="bright")


def test_a_group_takes_the_keys_of_its_choice_alone() -> None:
    striped = {"_target_": "builtins.dict"}
    car = read(Car, _assigned("name=a", "paint.width=2", paint=striped))
    assert isinstance(car.paint, Striped)
    assert car.paint.build() == {"width": 2.0}
    with pytest.raises(UserError, match="paint.color has no effect .* a setting of paint=plain;"):
        _assigned("paint.color=red", paint=striped)
    with pytest.raises(UserError, match="unknown key 'paint.depth'"):
        read(Car, {"name": "a", "paint": striped | {"depth": 3}})


def test_a_configuration_cannot_name_other_code() -> None:
    with pytest.raises(UserError) as raised:
        read(Car, {"name": "a", "paint": {"_target_": "os.system", "color": "true"}})
    assert str(raised.value) == (
        "paint._target_=os.system: expected 'builtins.str', 'builtins.dict'"
    )
    with pytest.raises(UserError, match=r"model._target_=os.system: expected 'webtext_gpt.model."):
        read(Train, {"model": {"_target_": "os.system"}})
    with pytest.raises(UserError, match="paint: .*names none of its choices"):
        read(Car, {"name": "a", "paint": {"color": "red"}})


def test_named_values_may_be_given_in_both_ways() -> None:
    given = _assigned("name=a", "labels={x: 1, y: 2}", "labels.y=3")
    assert read(Car, given).labels == {"x": 1, "y": 3}
    with pytest.raises(UserError, match="labels=x: expected values by name"):
        _assigned("labels=x", "labels.y=3")


def test_some_settings_of_a_later_command() -> None:
    assert read(Car, _assigned("name=a", "later.count=3")).later == {"count": 3}
    for name in ("dim", "_target_"):
        with pytest.raises(UserError, match=f"unknown key 'later.{name}'"):
            read(Car, {"name": "a", "later": {name: 3}})


def test_every_key_is_listed_once_or_for_each_choice() -> None:
    listed = [leaf.key for leaf in leaves(Car)]
    assert listed == [
        *("name", "doors", "from", "lights.count", "lights.dimmed", "spare.count", "spare.dimmed"),
        *("paint.color", "paint.width", "labels", "later.count", "later.dimmed"),
    ]
    assert [leaf.key for leaf in leaves(Car) if leaf.common] == [
        *("name", "paint.color"),
    ]
    assert [leaf.key for leaf in leaves(Train, repeat=True)].count("data.path") == 4


def test_habits_of_other_programs() -> None:
    assert "did you mean trainer.max_steps?" in unknown_key(Train, "max_iters")
    assert "did you mean optimizer.lr?" in unknown_key(Train, "learning_rate")
    assert "did you mean experiment?" in unknown_key(Train, "experimnt", ["experiment"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((True, "true"), (None, "null"), ("a b", "a b"), ("a\nb", r"a\nb"), ("\udcff", r"\udcff")),
        *(("x" * 201, "x" * 200 + "..."), ([1, None], "[1,null]"), ("caf\u00e9", "caf\u00e9")),
    ],
)
def test_values_in_messages_take_one_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_the_model_has_the_options_and_defaults_of_its_configuration() -> None:
    settings = Model().arguments()
    assert settings["vocab_size"] is None
    assert GPTConfig(**settings) == GPTConfig()
    assert set(settings) == {field.name for field in dataclasses.fields(GPTConfig)}


def test_the_trainer_has_options_of_lightning() -> None:
    theirs = set(inspect.signature(lightning.Trainer).parameters)
    assert set(Trainer.model_fields) - theirs == {"max_tokens", "max_minutes"}


def test_the_task_has_every_metric() -> None:
    assert sorted(task.METRICS) == sorted(
        name for kind in metrics.METRICS.values() for name in kind
    )
