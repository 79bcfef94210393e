"""The reference of every key, `docs/reference/configuration.md`, made from the settings.

python -m webtext_gpt.reference > docs/reference/configuration.md
"""

from collections.abc import Iterator
from itertools import groupby

from webtext_gpt.commands import COMMANDS, Command
from webtext_gpt.help import about, default_text, default_values, value_text
from webtext_gpt.settings.base import Settings
from webtext_gpt.settings.composition import (
    choice_comment,
    choice_groups,
    choice_values,
    choices,
    groups,
    is_a_choice,
)
from webtext_gpt.settings.lookup import (
    Changes,
    Leaf,
    kind_of,
    leaves,
)

INTRODUCTION = """\
# Configuration

Every key of every command: what it may be, its default, and what it does. This page is made from
the settings' own declarations by `python -m webtext_gpt.reference`; a test keeps it current.

Settings are given as `group=choice` and `key=value`, in any order:

```bash
python train.py model=small data=files data.path=texts/ optimizer.lr=3e-4
```

- **Switches** are `true`, `yes`, `on` or `1`, and `false`, `no`, `off` or `0`.
- **Numbers**: `1000`, `1_000`, `1e3`, `3e-4`. `2**16` is refused, with its result.
- **null** leaves a key unset; its meaning stands beside the key.
- **Texts and paths** are taken as they are. Only the shell's rules apply: quote spaces, `$`, `*`,
  brackets and quotes for the shell, `'data.path=my texts/[1].txt'`.
- **Lists** are `[a,b]`, or one value without brackets. Quote an item that holds commas or brackets:
  `'data.path=["a,b.txt",c.txt]'`. The name of an existing file is one item, whatever it holds.
- **Sweeps**: with `-m`, every key but `run_dir` takes several values,
  `-m seed=1,2 optimizer.lr=1e-3,2e-3`. Each combination is a run, in `run_dir/0`, `run_dir/1`, and
  so on.
- **Choices of your own**: `--config-dir DIR` adds the YAML files of DIR to the groups, such as
  `DIR/experiment/mine.yaml`.

A call is checked as a whole before anything is written. `--cfg` prints the settings of a call,
`--help all` and `--help KEY` explain keys on the terminal. A meaning that begins with a choice,
as `data=files`, belongs to a key that only this choice has.
"""


def reference() -> str:
    """Return the text of `docs/reference/configuration.md`."""
    lines = [INTRODUCTION]
    for command in COMMANDS.values():
        lines += _section(command)
    return "\n".join(lines)


def _section(command: Command) -> Iterator[str]:
    model: type[Settings] = command.load("settings")
    given = default_values(command)
    yield f"## {command.name}\n"
    yield f"`{command.script}`, or `webtext-gpt {command.name}`.\n"
    yield from (f"{paragraph}\n" for paragraph in about(model))
    nested = [
        field.alias or name
        for name, field in model.model_fields.items()
        if isinstance(kind_of(field), Changes)
    ]
    known = [
        leaf for leaf in leaves(model, repeat=True) if leaf.key.partition(".")[0] not in nested
    ]
    yield from _table(known, given, "")
    for group, found in groupby(known, key=lambda leaf: leaf.key.partition(".")[0]):
        keys = list(found)
        if "." in keys[0].key:
            yield f"### {command.name}: {group}\n"
            yield from _choices(command, group)
            yield from _table(keys, given, group)
    known_groups = {leaf.key.partition(".")[0] for leaf in known if "." in leaf.key}
    for group in groups(command.config) if command.config else ():
        if group not in known_groups:
            yield f"### {command.name}: {group}\n"
            yield from _choices(command, group)
    known_keys = [leaf.key for leaf in leaves(model)]
    for stage in nested:
        names = ", ".join(f"`{key}`" for key in known_keys if key.startswith(f"{stage}."))
        yield f"### {command.name}: {stage}\n"
        yield f"These settings of [{stage}](#{stage}) can be given: {names}.\n"


def _choices(command: Command, group: str) -> Iterator[str]:
    if command.config is None or group not in groups(command.config):
        return
    if not is_a_choice(command.config, group):
        return
    names = choices(command.config, group)
    default = groups(command.config)[group]
    yield f"| `{group}=` | | sets |\n|---|---|---|"
    for name in names:
        comment = choice_comment(command.config, group, name)
        mark = " (default)" if name == default else ""
        others = choice_groups(command.config, group, name)
        sets = [f"`{other}={choice}`" for other, choice in others.items()]
        sets += _sets(choice_values(command.config, group, name))
        yield f"| `{name}`{mark} | {_cell(comment)} | {_cell(', '.join(sets))} |"
    yield ""


def _sets(values: dict[str, object], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and name != "splits":
            yield from _sets(value, f"{prefix}{name}.")
        elif (name != "_target_" and not isinstance(value, list | dict)) or name == "betas":
            yield f"`{prefix}{name}={value_text(value)}`"


def _table(known: list[Leaf], given: dict[str, object], group: str) -> Iterator[str]:
    """Yield the table of the keys of one group, or of the keys outside groups."""
    rows = [leaf for leaf in known if leaf.key.partition(".")[0] == group or "." not in leaf.key]
    if not rows:
        return
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for leaf in rows:
        default = default_text(leaf, given)
        shown = "required" if default == "..." else f"`{default}`"
        meaning = f"{_choice_of(leaf)}{leaf.meaning}"
        yield f"| `{leaf.key}` | {_cell(leaf.kind.describe())} | {shown} | {_cell(meaning)} |"
    yield ""


def _choice_of(leaf: Leaf) -> str:
    """Return the choice that has a key, if its class describes only one, as `data=files: `."""
    choice, colon, _ = (leaf.owner.__doc__ or "").partition(": ")
    return f"{choice}: " if colon and choice.startswith("`") and choice.endswith("`") else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(reference(), end="")
