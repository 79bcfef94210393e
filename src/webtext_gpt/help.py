"""The text of `--help`, made from the settings: the usual keys, one group, or all of them."""

import sys
import textwrap
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import Any, get_args

from webtext_gpt.commands import COMMANDS, PROGRAM, Command
from webtext_gpt.errors import UserError
from webtext_gpt.settings.base import TARGET, Settings
from webtext_gpt.settings.composition import (
    choice_comment,
    choice_values,
    choices,
    groups,
    is_a_choice,
)
from webtext_gpt.settings.lookup import Leaf, leaves, shown
from webtext_gpt.terminal import columns

MOST_COLUMNS = 100


def _width() -> int:
    """Return the columns that help takes: as many as the terminal has, up to `MOST_COLUMNS`."""
    return min(columns(sys.stdout) or MOST_COLUMNS, MOST_COLUMNS)


def _wrapped(text: str, width: int, first: str = "", others: str = "") -> list[str]:
    """Break a text at its spaces, not at hyphens, and indent its first and its other lines."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


def help_text(command: Command, topic: str, called: str) -> str:
    """Return the help of a command.

    Args:
        command: the command.
        topic: empty for the usual keys, `all` for every key, or a group or the start of a key.
        called: how the command was called, for the examples.

    Raises:
        UserError: no key begins with `topic`.
    """
    model: type[Settings] = command.load("settings")
    known = list(leaves(model))
    given = default_values(command)
    if topic == "all":
        return "\n".join(_all(command, known, given))
    if topic:
        return "\n".join(_group(command, known, given, topic))
    return "\n".join(_usual(command, model, known, given, called))


def overview() -> str:
    """Return the list of commands."""
    lines = [f"{PROGRAM}: GPT-2 from Reddit dumps to a fine-tuned model", ""]
    usage = f"usage: {PROGRAM} COMMAND [key=value ...]"
    lines += [f"{usage}   (COMMAND --help explains it)", ""]
    for command in COMMANDS.values():
        lines += _columns(command.name, about(command.load("settings"))[0], 11)
    lines += _columns("lm-eval", "Run our models in EleutherAI's evaluation harness.", 11)
    return "\n".join(lines)


def version() -> str:
    """Return the name and version of the program."""
    try:
        return f"{PROGRAM} {installed_version('webtext-gpt')}"
    except PackageNotFoundError:
        return f"{PROGRAM} (not installed)"


def value_text(value: object) -> str:
    """Return a value as it is written on a command line."""
    if isinstance(value, float):
        return f"{value:g}"
    return shown(value) if value != "" else '""'


def default_text(leaf: Leaf, given: dict[str, Any] | None = None) -> str:
    """Return a key's default as text.

    Args:
        leaf: the key.
        given: values of the default choices of the groups, by key.
    """
    if given and leaf.key in given and _is_chosen(leaf, given):
        return value_text(given[leaf.key])
    return "..." if leaf.is_required else value_text(leaf.default)


def default_values(command: Command) -> dict[str, Any]:
    """Return the values that the default choices of a command's groups set, by dotted key."""
    found: dict[str, Any] = {}
    for group, choice in (groups(command.config) if command.config else {}).items():
        if choice is not None:
            assert command.config is not None  # noqa: S101 - it has groups
            found |= _flat(choice_values(command.config, group, choice), group)
    return found


def _flat(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}.{name}"
        flat |= _flat(value, key) if isinstance(value, dict) else {key: value}
    return flat


def _is_chosen(leaf: Leaf, given: dict[str, Any]) -> bool:
    """Return whether the default choice of a key's group is the one whose class has the key."""
    target = leaf.owner.model_fields.get("target")
    chosen = given.get(f"{leaf.key.rpartition('.')[0]}.{TARGET}")
    return target is None or chosen is None or chosen in get_args(target.annotation)


def about(model: type[Settings]) -> list[str]:
    """Return the paragraphs of a class's docstring, a line each."""
    paragraphs = (model.__doc__ or "").strip().split("\n\n")
    return [" ".join(paragraph.split()) for paragraph in paragraphs]


def _usual(
    command: Command, model: type[Settings], known: list[Leaf], given: dict[str, Any], called: str
) -> Iterator[str]:
    for paragraph in about(model):
        yield from _wrapped(paragraph, _width())
    yield ""
    yield "Examples"
    examples: dict[str, str] = getattr(model, "examples", {})
    for call, meaning in examples.items():
        *broken, line = _broken(f"  {call.replace('{command}', called)}")
        fits = len(line) + len(meaning) <= _width() - 4
        if not fits and _width() < MOST_COLUMNS:
            yield from _wrapped(f"# {meaning}", _width() - 2, "  ")
        yield from broken
        yield f"{line}  # {meaning}" if fits else line
    if command.config:
        yield ""
        yield "Groups: group=choice ([default])"
        for group in groups(command.config):
            if is_a_choice(command.config, group):
                yield from _columns(group, _choices(command, group), 11)
    yield ""
    yield "Keys: key=value"
    common = [leaf for leaf in known if leaf.common]
    width = min(34, max(len(_assignment(leaf, given)) for leaf in common) + 2)
    for leaf in common:
        unit = getattr(leaf.kind, "unit", "")
        yield from _columns(
            _assignment(leaf, given), f"{leaf.meaning}{f' ({unit})' if unit else ''}", width
        )
    yield ""
    rest = len(known) - len(common)
    page = "docs/reference/configuration.md"
    more = f"--help all: {rest} more {'key' if rest == 1 else 'keys'}, also in" if rest else "see"
    ends = (
        f"--help KEY or GROUP: explains it; {more} {page}",
        "--cfg: print the settings of a call; -m: run every combination of values a,b,c",
    )
    for end in ends:
        yield from _wrapped(end, _width())


def _all(command: Command, known: list[Leaf], given: dict[str, Any]) -> Iterator[str]:
    for group in groups(command.config) if command.config else ():
        yield from _columns(f"{group}=", _choices(command, group), 16)
    for leaf in known:
        yield from _explained(leaf, given)


def _group(command: Command, known: list[Leaf], given: dict[str, Any], topic: str) -> Iterator[str]:
    found = [k for k in known if k.key == topic or k.key.startswith(f"{topic}.")]
    is_group = command.config is not None and topic in groups(command.config)
    if not found and not is_group:
        names = sorted({leaf.key.partition(".")[0] for leaf in known})
        raise UserError(f"--help {topic}: there is no such key or group; there are\n"
                        + textwrap.fill(" ".join(names), _width()))  # fmt: skip
    if is_group:
        assert command.config is not None  # noqa: S101 - see above
        for choice in choices(command.config, topic):
            comment = choice_comment(command.config, topic, choice)
            yield from _columns(f"{topic}={choice}", comment, 26)
        yield ""
    for leaf in found:
        yield from _explained(leaf, given)


def _choices(command: Command, group: str) -> str:
    assert command.config is not None  # noqa: S101 - it has groups
    default = groups(command.config)[group]
    names = choices(command.config, group)
    return " ".join(f"[{name}]" if name == default else name for name in names)


def _assignment(leaf: Leaf, given: dict[str, Any]) -> str:
    return f"{leaf.key}={default_text(leaf, given)}"


def _explained(leaf: Leaf, given: dict[str, Any]) -> Iterator[str]:
    assignment = _assignment(leaf, given)
    if " " in assignment:
        yield from _wrapped(assignment, _width())
    else:  # a long list breaks after a comma
        lines = _wrapped(assignment.replace(",", ", "), _width())
        yield from (line.replace(" ", "") for line in lines)
    text = f"{leaf.meaning}. {leaf.kind.describe()}."
    yield from _wrapped(text, _width(), " " * 4, " " * 4)


def _broken(line: str) -> list[str]:
    """Return a command in lines that fit, each but the last with a backslash at its end."""
    if len(line) <= _width():
        return [line]
    first, _, rest = line[: _width() - 1].rpartition(" ")
    return [f"{first} \\", *_broken(f"    {rest}{line[_width() - 1 :]}")]


def _columns(left: str, right: str, width: int) -> Iterator[str]:
    """Yield lines with `left` at the margin and `right` in a column of its own."""
    room = max(20, _width() - width - 2)
    first, *rest = _wrapped(right, room) or [""]
    if len(left) > width:
        yield f"  {left}" if len(left) <= _width() - 2 else f"  {left[: _width() - 5]}..."
        if first:
            yield f"  {'':{width}}{first}"
    else:
        yield f"  {left:{width}}{first}"
    for line in rest:
        yield f"  {'':{width}}{line}"
