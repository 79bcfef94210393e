"""The command `generate.py`: files of prompts and completions, stop strings, printed samples."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.generation import command
from webtext_gpt.generation.command import read_prompts, stop_strings, write_completions
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer


def test_prompts_of_files(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("one\r\ntwo \u2028x\n\n three\n\n".encode())
    assert read_prompts(tmp_path / "p.txt") == ["one", "two \u2028x", "", " three"]
    (tmp_path / "p.jsonl").write_text('{"prompt": "a\\nb", "id": 1}\n\n{"prompt": "c"}\n')
    assert read_prompts(tmp_path / "p.jsonl") == ["a\nb", "c"]
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n{"text": "c"}\n')
    with pytest.raises(UserError, match=r"bad.jsonl, line 2 has no key 'prompt', only text"):
        read_prompts(tmp_path / "bad.jsonl")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="empty.txt holds no prompt"):
        read_prompts(tmp_path / "empty.txt")


@pytest.fixture
def print_samples(model: GPT, tokenizer: Tokenizer) -> Callable[..., None]:
    def call(**changes) -> None:
        settings = {
            "prompt": "",
            "prompts": None,
            "out": None,
            "num_samples": 1,
            "batch_size": 2,
            "seed": 0,
            "stream": True,
            "settings": {"max_new_tokens": 10},
        }
        command.print_samples(model, tokenizer, **{**settings, **changes})

    return call


def test_a_file_of_prompts_gives_a_file_of_completions(
    print_samples: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts, out = tmp_path / "p.txt", tmp_path / "out.jsonl"
    prompts.write_text("ab\nc\ndda\n")
    print_samples(prompts=str(prompts), out=str(out), num_samples=2)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prompt"] for row in rows] == ["ab", "ab", "c", "c", "dda", "dda"]
    print_samples(prompts=str(prompts), num_samples=2, batch_size=5)  # the same in other batches
    printed = capsys.readouterr().out
    for number, row in enumerate(rows, start=1):
        assert f"=== sample {number}\n{row['prompt']}{row['completion']}\n" in printed
    with pytest.raises(UserError, match="out.jsonl exists"):
        print_samples(prompts=str(prompts), out=str(out))


def test_prompts_are_checked_before_the_first_is_continued(
    print_samples: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "p.txt"
    for text, settings, message in (
        ("a\nb\nabcdabcd\n", {"overflow": "refuse", "max_new_tokens": 1}, "prompt 3 has 8"),
        ("a\nb\nxyz\n", {"max_new_tokens": 1}, "prompt 3: character 0, 'x'"),
    ):
        prompts.write_text(text)
        with pytest.raises(UserError, match=message):
            print_samples(prompts=str(prompts), settings=settings)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "strings"),
    [
        (None, []),
        ("a", ["a"]),
        ([r"\n", r"x\ty", r"\\n"], ["\n", "x\ty", r"\n"]),
        (["\n", r"\d"], ["\n", r"\d"]),
    ],
)
def test_stop_strings_of_a_command_line(given: object, strings: list[str]) -> None:
    assert stop_strings(given) == strings
    with pytest.raises(UserError, match="stop=5 is not text"):
        stop_strings([5])


def test_a_failed_file_of_completions_is_not_kept(tmp_path: Path) -> None:
    def pairs():
        yield "a", "b"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(write_completions(tmp_path / "out.jsonl", pairs()))
    assert list(tmp_path.iterdir()) == []


def test_a_single_sample_streams_what_it_would_print(
    print_samples: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    print_samples(prompt="ab")
    streamed = capsys.readouterr().out
    print_samples(prompt="ab", stream=False)
    assert capsys.readouterr().out == streamed
    assert streamed.startswith("ab")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 0}, "num_samples=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"num_samples": "x"}, "num_samples=x"),
        ({"seed": -1}, "seed=-1"),
        ({"settings": {"max_new_tokens": -1}}, "max_new_tokens=-1"),
        ({"settings": {"max_new_tokens": 9, "num_beams": 0}}, "num_beams=0"),
        ({"prompt": "a", "prompts": "p.txt"}, "not both"),
    ],
)
def test_bad_settings(print_samples: Callable[..., None], changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        print_samples(**changes)
