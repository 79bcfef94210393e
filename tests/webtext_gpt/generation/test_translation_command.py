"""The command `generate.py` with a translation model."""

import gzip
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.checkpoint.load import load, only_translator
from webtext_gpt.generation.translate import translate
from webtext_gpt.generation.translation_command import write_translations

Run = Callable[..., subprocess.CompletedProcess[str]]
TEXTS = ["the cat sees", "", "a small old dog"]


@pytest.fixture(scope="module")
def expected(small_translator: Path) -> Callable[..., list[str]]:
    loaded = load(small_translator)
    model = only_translator(loaded, small_translator)
    return lambda **settings: translate(model, loaded.tokenizer, TEXTS, **settings)


def _on_a_line(text: str) -> str:
    return " ".join(text.splitlines())


def test_a_prompt_is_translated_by_five_beams(
    call: Run, small_translator: Path, expected: Callable[..., list[str]]
) -> None:
    result = call("generate.py", f"checkpoint={small_translator}", f"prompt={TEXTS[0]}")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == _on_a_line(expected()[0]) + "\n"
    assert expected()[0]


def test_a_file_of_lines_gives_a_file_of_as_many_lines(
    call: Run, small_translator: Path, expected: Callable[..., list[str]], tmp_path: Path
) -> None:
    with gzip.open(tmp_path / "in.en.gz", "wt") as stream:
        stream.write("\n".join(TEXTS) + "\n")
    inputs = f"checkpoint={small_translator}", f"prompts={tmp_path}/in.en.gz"
    settings = "num_beams=1", "length_penalty=1"
    assert call("generate.py", *inputs, *settings, f"out={tmp_path}/out.de").returncode == 0
    lines = (tmp_path / "out.de").read_text().split("\n")
    assert lines == [*map(_on_a_line, expected(num_beams=1, length_penalty=1.0)), ""]
    assert lines[1] == ""

    assert call("generate.py", *inputs, f"out={tmp_path}/out.jsonl").returncode == 0
    rows = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    pairs = zip(TEXTS, expected(), strict=True)
    assert list(rows) == [{"prompt": p, "completion": c} for p, c in pairs]

    again = call("generate.py", *inputs, f"out={tmp_path}/out.de")
    assert again.stderr.strip().endswith("out.de exists; remove it or give another out=")


def test_a_line_break_in_a_translation_does_not_shift_the_lines(tmp_path: Path) -> None:
    write_translations(tmp_path / "out.de", ["a", "b"], ["eins\nzwei", "drei"])
    assert (tmp_path / "out.de").read_text() == "eins zwei\ndrei\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prompt=a", "temperature=0.5"], "and temperature is for language models; leave it out"),
        (
            ["prompt=a", "top_k=3", "max_new_tokens=9"],
            "and max_new_tokens, top_k are for language models; leave them out",
        ),
        (["prompt=a", "next=4"], "and next is for language models"),
        (["prompt=a", "stop=."], "and stop is for language models"),
        ([], 'there is no text to translate; give prompt="..." or prompts=FILE'),
        (["prompt=" + "cat " * 30], "text 1 has .* tokens, and with its end does not fit"),
    ],
)
def test_what_does_not_apply_is_refused_by_name(
    call: Run, small_translator: Path, arguments: list[str], message: str
) -> None:
    result = call("generate.py", f"checkpoint={small_translator}", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert re.search(message, result.stderr)
    assert len(result.stderr.splitlines()) == 2


def test_a_language_model_has_no_length_penalty(call: Run, small_checkpoint: Path) -> None:
    result = call("generate.py", f"checkpoint={small_checkpoint}", "length_penalty=1")
    assert result.returncode == 1
    assert "length_penalty= is for translation models" in result.stderr
