"""`--help`: two screens for every command; every key and choice is explained somewhere."""

from pathlib import Path

import pytest

from webtext_gpt.commands import COMMANDS, Command, main
from webtext_gpt.errors import UserError
from webtext_gpt.help import help_text, overview
from webtext_gpt.settings.composition import choices, groups
from webtext_gpt.settings.lookup import leaves

SCREEN = 24
WIDTH = 100
BOTH_WAYS = [
    (command, called)
    for command in COMMANDS.values()
    for called in (command.script, f"webtext-gpt {command.name}")
]


@pytest.mark.parametrize(("command", "called"), BOTH_WAYS, ids=lambda value: str(value)[:40])
def test_two_screens_that_begin_with_what_it_does(command: Command, called: str) -> None:
    lines = help_text(command, "", called).splitlines()
    assert len(lines) <= 2 * SCREEN
    assert [line for line in lines if len(line) > WIDTH] == []
    assert lines.index("Examples") <= 5
    assert 3 <= sum(line.startswith(f"  {called}") for line in lines) <= 5
    required = [leaf.key for leaf in leaves(command.load("settings")) if leaf.is_required]
    for key in [key for key in required if "." not in key]:
        assert any(line.startswith(f"  {key}=...") for line in lines)


@pytest.mark.parametrize("width", [80, 90])
def test_it_fits_a_narrow_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every word is there, and only a word of its own is wider than the terminal."""
    wide = {command: help_text(command, "all", command.script) for command in COMMANDS.values()}
    monkeypatch.setattr("webtext_gpt.help.columns", lambda stream: width)
    for command, text in wide.items():
        narrow = help_text(command, "all", command.script)
        assert [line for line in narrow.splitlines() if len(line) > width] == []
        assert "".join(narrow.split()) == "".join(text.split())
        usual = help_text(command, "", command.script).splitlines()
        assert [line for line in usual if len(line) > width] == []
    assert [line for line in overview().splitlines() if len(line) > width] == []


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_all_names_every_key(command: Command) -> None:
    text = help_text(command, "all", command.script)
    lines = text.splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []
    for leaf in leaves(command.load("settings")):
        assert any(line.startswith(f"{leaf.key}=") for line in lines), leaf.key
        assert leaf.meaning.split()[0] in text
        assert leaf.meaning, f"{leaf.key} has no description"


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_a_group_lists_its_choices_and_keys(command: Command) -> None:
    keys = [leaf.key for leaf in leaves(command.load("settings"))]
    composed = groups(command.config) if command.config else {}
    for group in composed:
        lines = help_text(command, group, command.script).splitlines()
        for choice in choices(command.config or "", group):
            assert any(line.strip().startswith(f"{group}={choice}") for line in lines)
    for topic in {key.partition(".")[0] for key in keys}:
        lines = help_text(command, topic, command.script).splitlines()
        for key in keys:
            if key == topic or key.startswith(f"{topic}."):
                assert any(line.startswith(f"{key}=") for line in lines)


def test_a_key_is_explained_with_its_range_and_default() -> None:
    assert help_text(COMMANDS["generate"], "top_k", "generate.py").split("\n") == [
        "top_k=40",
        "    sample from the k most probable tokens. a whole number, 1 or above, or null (all).",
    ]
    with pytest.raises(UserError, match="--help topk: there is no such key or group; there are\n"):
        help_text(COMMANDS["generate"], "topk", "generate.py")


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    lines = overview().splitlines()
    assert len(lines) <= SCREEN
    assert [line for line in lines if len(line) > WIDTH] == []
    for name in [*COMMANDS, "lm-eval"]:
        assert any(line.startswith(f"  {name} ") for line in lines)
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        main(arguments)
        assert capsys.readouterr().out == f"{overview()}\n"
    main(["--version"])
    assert capsys.readouterr().out.startswith("webtext-gpt ")
    with pytest.raises(SystemExit, match="1"):
        main(["genrate", "prompt=a"])
    assert "'genrate' is not a command; did you mean generate?" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--help"], ["-h"], ["prompt=a", "--help"], ["--help", "-m"]])
def test_help_needs_no_value(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["generate", *flags])
    out = capsys.readouterr().out
    assert out == help_text(COMMANDS["generate"], "", "webtext-gpt generate") + "\n"
    for topic in (["--help", "stop"], ["--help=stop"]):
        main(["generate", *topic])
        assert capsys.readouterr().out.startswith("stop=[]\n")
