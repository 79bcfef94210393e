"""Every key of every command: a wrong value gives one message that names it, and nothing else.

The wrong values are derived from what a key's kind says that it takes, by rules that are written
here and not taken from the kinds' own reading.
"""

import copy
import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from webtext_gpt import cli
from webtext_gpt.commands import COMMANDS, Command
from webtext_gpt.reference import reference
from webtext_gpt.settings import composition
from webtext_gpt.settings.composition import choices, groups
from webtext_gpt.settings.kinds import (
    Kind,
    Number,
    OneOf,
    PathText,
    Switch,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import Either, Listed, Named
from webtext_gpt.settings.lookup import Leaf, leaves

REPOSITORY = Path(__file__).parents[2]
NO_NUMBERS = (
    *("ten", "1e-3x", "nan", "NaN", "inf", "-inf", "[1,2]", "{a: 1}", "true", "1,5", "0x10"),
    *("2**16", "5%", "1 000", "--1"),
)
NO_SWITCHES = ("maybe", "2", "-1", "0.5", "nan", "[true]", "{a: true}", "tru", "y e s")


def wrong_values(kind: Kind) -> Iterator[str]:
    """Yield texts that no key of a kind takes."""
    if kind.null is None and not (isinstance(kind, Text) or _takes_any_text(kind)):
        yield "null"
    if isinstance(kind, Whole):
        yield from (*NO_NUMBERS, "", "0.5", "1e-1")
        yield from _outside(kind.least, kind.most, 1)
    elif isinstance(kind, Number):
        yield from (*NO_NUMBERS, "")
        yield from _outside(kind.least, kind.most, 1e-3)
        yield from (f"{bound:g}" for bound in (kind.above, kind.below) if bound is not None)
        yield from _outside(kind.above, kind.below, 1e-3)
    elif isinstance(kind, Switch):
        yield from (*NO_SWITCHES, "")
    elif isinstance(kind, OneOf):
        yield from ("", "no-such-word", "-1.5", "nan", f"[{kind.choices[0]}]", "{a: b}")
    elif isinstance(kind, Text):
        yield from [] if kind.empty else [""]
        yield from ["a\0b"] if isinstance(kind, PathText) else []
        yield from ["no such thing", "-1", "nan"] if kind.pattern else []
    elif isinstance(kind, Listed):
        yield from ["", "[]"] if not kind.empty else []
        yield from ("[a",) if not _takes_any_text(kind) else ()
        yield from (f"[{value}]" for value in wrong_values(kind.item) if _fits_in_a_list(value))
    elif isinstance(kind, Named):
        yield from ("", "word", "3", "[a]", "{a}")
    elif isinstance(kind, Either):
        yield from [""] if _takes_any_text(kind) else []
        first, *rest = [list(wrong_values(other)) for other in kind.kinds]
        yield from (value for value in first if all(value in other for other in rest))


def _outside(least: float | None, most: float | None, step: float) -> Iterator[str]:
    yield from [_text(least - step), "-1e30"] if least is not None else []
    yield from [_text(most + step), "1e30"] if most is not None else []


def _text(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.12g}"


def _fits_in_a_list(value: str) -> bool:
    return "," not in value and value not in ("", "null")


def _takes_any_text(kind: Kind) -> bool:
    if isinstance(kind, Either):
        return any(map(_takes_any_text, kind.kinds))
    return isinstance(kind.item if isinstance(kind, Listed) else kind, Text)


def _chosen(command: Command, leaf: Leaf) -> list[str]:
    """Return the choice of a group that has the key, from the description of its class."""
    _, _, rest = (leaf.owner.__doc__ or "").partition("`")
    choice = rest.partition("`")[0].removesuffix("...")
    group, equals, name = choice.partition("=")
    known = groups(command.config) if command.config else {}
    if leaf.key.startswith("callbacks.zero_shot."):
        return ["callbacks=zero_shot"]
    if leaf.key.startswith("callbacks.early_stopping."):
        return ["callbacks=finetuning"]
    if leaf.key.startswith("data.sources."):
        kinds = re.findall("`kind=(\\w+)`", leaf.owner.__doc__ or "") or ["files"]
        return ["data=mixture", f"data.sources.NAME.kind={kinds[0]}"]
    if leaf.key.startswith("callbacks.samples."):
        return ["callbacks=default"]
    if not equals or group not in known or name not in choices(str(command.config), group):
        return []
    return [choice]


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_values_are_refused_by_the_keys_name(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = replace(COMMANDS[name], work="tests_must_not:reach_this")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    composed = functools.cache(lambda config, chosen: composition.compose(config, dict(chosen)))
    monkeypatch.setattr(
        cli,
        "compose",
        lambda config, chosen, extra: copy.deepcopy(composed(config, tuple(chosen.items()))),
    )
    tries, keys = 0, 0
    for leaf in leaves(command.load("settings"), repeat=True):
        keys += 1
        values = list(dict.fromkeys(wrong_values(leaf.kind)))
        for value in values:
            tries += 1
            with pytest.raises(SystemExit) as ended:
                cli.run_command(command, [*_chosen(command, leaf), f"{leaf.key}={value}"], "script")
            printed, message = capsys.readouterr()
            where = f"{leaf.key}={value!r}: {message}"
            assert ended.value.code == 1, where
            assert printed == "", where
            assert leaf.key in message, where
            lines = message.strip().splitlines()
            assert len(lines) <= 9, where
            # One line for this key; the others can only name required keys that were left out.
            others = [line for line in lines if leaf.key not in line]
            assert all("has no value; give" in line for line in others), where
            assert sum(len(line) for line in lines) < 2000, where
            for foreign in ("Traceback", "pydantic", "hydra", "omegaconf", "argparse", "override"):
                assert foreign not in message.lower().replace("hydra_full_error", ""), where
    assert list(tmp_path.iterdir()) == []
    with capsys.disabled():
        print(f"\n{name}: {keys} keys, {tries} wrong values refused", end=" ")


def test_every_kind_of_key_is_tried() -> None:
    """No key escapes: each has at least one wrong value, unless it takes every text."""
    for command in COMMANDS.values():
        for leaf in leaves(command.load("settings")):
            any_text = isinstance(leaf.kind, Text) and leaf.kind.empty and not leaf.kind.pattern
            tolerant = any_text or (isinstance(leaf.kind, Listed) and leaf.kind.empty)
            assert tolerant or list(wrong_values(leaf.kind)), leaf.key


@pytest.mark.parametrize("name", COMMANDS)
def test_every_key_has_a_meaning(name: str) -> None:
    for leaf in leaves(COMMANDS[name].load("settings"), repeat=True):
        assert len(leaf.meaning) > 3, leaf.key
        assert not leaf.meaning.endswith("."), leaf.key
        assert len(leaf.kind.describe()) > 3, leaf.key


def test_the_reference_is_current_and_holds_every_key() -> None:
    page = "docs/reference/configuration.md"
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert text == reference(), f"run: python -m webtext_gpt.reference > {page}"
    for command in COMMANDS.values():
        for leaf in leaves(command.load("settings")):
            assert f"`{leaf.key}`" in text, leaf.key
