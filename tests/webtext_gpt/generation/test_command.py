"""The command `generate.py`: files of prompts and completions, stop strings, printed samples."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.generation import command, complete
from webtext_gpt.generation.command import read_prompts, stop_strings, write_completions
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer


def test_prompts_of_files(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("one\r\ntwo \u2028x\n\n three\n\n".encode())
    assert read_prompts(tmp_path / "p.txt") == ["one", "two \u2028x", "", " three"]
    (tmp_path / "p.jsonl").write_text('{"prompt": "a\\nb", "id": 1}\n\n{"prompt": "c"}\n')
    assert read_prompts(tmp_path / "p.jsonl") == ["a\nb", "c"]
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n{"text": "c"}\n')
    with pytest.raises(UserError, match=r"bad.jsonl, line 2 has no key 'prompt'; its keys are"):
        read_prompts(tmp_path / "bad.jsonl")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="empty.txt holds no prompt"):
        read_prompts(tmp_path / "empty.txt")


@pytest.fixture
def print_samples(model: GPT, tokenizer: Tokenizer) -> Callable[..., None]:
    def call(*prompts: str, **changes) -> None:
        settings = {
            "out": None,
            "num_samples": 1,
            "batch_size": 2,
            "seed": 0,
            "stream": True,
            "settings": {"max_new_tokens": 10},
        }
        command.print_samples(model, tokenizer, prompts or [""], **{**settings, **changes})

    return call


def test_a_file_of_prompts_gives_a_file_of_completions(
    print_samples: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "p.txt", tmp_path / "out.jsonl"
    file.write_text("ab\nc\ndda\n")
    prompts = read_prompts(file)
    print_samples(*prompts, out=str(out), num_samples=2)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prompt"] for row in rows] == ["ab", "ab", "c", "c", "dda", "dda"]
    print_samples(*prompts, num_samples=2, batch_size=5)  # the same in other batches
    printed = capsys.readouterr().out
    for number, row in enumerate(rows, start=1):
        assert f"=== sample {number}\n{row['prompt']}{row['completion']}\n" in printed
    with pytest.raises(UserError, match="out.jsonl exists"):
        print_samples(*prompts, out=str(out))


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
            print_samples(*read_prompts(prompts), settings=settings)
    assert capsys.readouterr().out == ""


def test_the_best_beams_are_printed_and_written(
    print_samples: Callable[..., None],
    model: GPT,
    tokenizer: Tokenizer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = {"max_new_tokens": 4, "num_beams": 3, "stop": ["dd"]}
    prompts = ["ab", "c", "dda"]
    best = complete(model, tokenizer, prompts, num_samples=2, **settings)
    changes = {"num_samples": 2, "seed": None, "settings": settings}
    print_samples(*prompts, out=str(tmp_path / "out.jsonl"), **changes)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in rows] == best
    assert [row["prompt"] for row in rows] == ["ab", "ab", "c", "c", "dda", "dda"]
    print_samples("ab", **changes)
    printed = capsys.readouterr().out
    assert printed == f"=== sample 1\nab{best[0]}\n=== sample 2\nab{best[1]}\n"
    print_samples("ab", **{**changes, "num_samples": 1})  # streamed
    assert capsys.readouterr().out == f"ab{best[0]}\n"
    with pytest.raises(UserError, match="num_samples=4 is more than num_beams=3"):
        print_samples("ab", **{**changes, "num_samples": 4})


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
    print_samples("ab")
    streamed = capsys.readouterr().out
    print_samples("ab", stream=False)
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
    ],
)
def test_bad_settings(print_samples: Callable[..., None], changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        print_samples(**changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prompt=a", "prompts=p.txt"], "give prompt= or prompts=FILE, not both"),
        (["next=3", "prompts=p.txt"], "next= works with prompt=, not with a file of prompts="),
        (["next=3", "out=new.jsonl"], "next= prints its tokens and writes no file"),
        (["out=p.txt"], "p.txt exists; remove it or give another out="),
        (["prompts=gone.txt"], "prompts=gone.txt does not exist"),
        (["device=cuda:99"], "device=cuda:99 cannot be used here: there is "),
        (
            ["precision=fp16"],
            "precision=fp16: expected auto, fp32 or bf16; fp16 is not offered, because it "
            "overflows where bf16 does not",
        ),
        (["num_beams=3", "temperature=0.7"], "num_beams=3 searches and draws nothing at random"),
        (["num_beams=3", "top_k=5", "seed=1"], "num_beams=3 searches and draws nothing at random"),
        (["num_beams=3", "num_samples=4"], "num_samples=4 is more than num_beams=3"),
        (["num_beams=3", "next=4"], "next= ranks single tokens, and num_beams=3 searches"),
        (["num_beams=0"], "num_beams=0: expected a whole number, 1 or above"),
        (["top_p=0"], "top_p=0: expected a number, above 0 and 1 or below, or null (all)"),
        (["stop=[a,]"], "stop=[a,]: expected a list [a,b] of values, each text, or null (none)"),
    ],
)
def test_a_wrong_call_is_refused_before_the_model_is_read(
    call: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "p.txt").write_text("a prompt\n")
    (tmp_path / "damaged.ckpt").write_text("it would be an error to read this")
    monkeypatch.chdir(tmp_path)
    result = call("generate.py", "checkpoint=damaged.ckpt", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"\nerror: {message}")
    assert len(result.stderr.splitlines()) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"p.txt", "damaged.ckpt"}


def test_a_device_that_is_absent_is_said_in_one_line(
    call: Callable[..., subprocess.CompletedProcess[str]], small_checkpoint: Path
) -> None:
    result = call("generate.py", f"checkpoint={small_checkpoint}", "device=xpu")
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: device=xpu cannot be used here: ")


@pytest.mark.parametrize(
    ("argument", "strings"),
    [
        ("stop=.", ["."]),
        ("stop=,", [","]),
        ("stop=[.]", ["."]),
        ("stop=[.,!]", [".", "!"]),
        ('stop=[",","]"]', [",", "]"]),
        (r'stop=["\n"]', ["\n"]),
        (r"stop=\n\n", ["\n\n"]),
        (r"stop=[\n,END]", ["\n", "END"]),
        (r'stop=["\\n", "say \"so\""]', [r"\n", 'say "so"']),
        ("stop=it's", ["it's"]),
        ("stop=~", ["~"]),
        ("stop=5", ["5"]),
        ("stop=a b", ["a b"]),
        ('stop=[" a "]', [" a "]),
        ("stop=none", ["none"]),
        ("stop=[null]", ["null"]),
        ("stop=null", []),
        ("stop=[]", []),
    ],
)
def test_stop_strings_as_they_are_typed(
    compose: Callable[..., Any], argument: str, strings: list[str]
) -> None:
    assert stop_strings(compose("generate", "checkpoint=x", argument).stop) == strings


AWKWARD = [
    *("a b", "a=b", "a,b", "[a]", "[a,b]", "{a: b}", "it's", '"quoted"', "'single'", "$HOME"),
    *("${oc.env:HOME}", "100%", "~", "~nobody", "caf\u00e9 \u65e5\u672c", "new\nline", "tab\t|"),
    *(" ends ", "-dash", "#hash", "a;b", "*", "?[!a]", "true", "1e3", "back\\slash \\", "+plus"),
    *(r"\"", "null"),
]
"""Texts and file names that a shell, YAML or Hydra would change."""


@pytest.mark.parametrize("name", AWKWARD)
def test_texts_and_paths_are_taken_as_they_are(
    call: Callable[..., subprocess.CompletedProcess[str]],
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_checkpoint, name)
    few = (f"checkpoint={name}", "max_new_tokens=2", "device=cpu")
    printed = call("generate.py", *few, f"prompt={name}", "stream=false")
    assert printed.stderr == ""
    assert printed.stdout.startswith(name)
    Path(f"{name}.txt").write_text("a prompt\n")
    written = call("generate.py", *few, f"prompts={name}.txt", f"out={name}.jsonl")
    assert written.returncode == 0
    (row,) = map(json.loads, Path(f"{name}.jsonl").read_text().splitlines())
    assert row["prompt"] == "a prompt"
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.txt", f"{name}.jsonl"}


def test_the_home_folder(
    call: Callable[..., subprocess.CompletedProcess[str]],
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`~/` is the home folder, unless a folder has that very name."""
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home, here / "~"):
        folder.mkdir(parents=True)
        shutil.copy(small_checkpoint, folder / f"{folder.name}.ckpt")
    (home / "p.txt").write_text("at home\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    few = ("max_new_tokens=2", "device=cpu", "prompts=~/p.txt")
    assert call("generate.py", "checkpoint=~/home.ckpt", "out=~/a.jsonl", *few).returncode == 0
    assert call("generate.py", "checkpoint=~/~.ckpt", "out=~/b.jsonl", *few).returncode == 0
    (here / "~" / "p.txt").write_text("here\n")
    printed = call("generate.py", "checkpoint=~/~.ckpt", "stream=false", *few)
    assert printed.stdout.startswith("here")
    assert {path.name for path in home.iterdir()} == {"home.ckpt", "p.txt", "a.jsonl", "b.jsonl"}


def test_an_empty_prompt_begins_a_document_and_null_is_a_word(
    call: Callable[..., subprocess.CompletedProcess[str]], small_checkpoint: Path
) -> None:
    few = (f"checkpoint={small_checkpoint}", "max_new_tokens=3", "device=cpu", "seed=0")
    assert call("generate.py", *few, "prompt=").stdout == call("generate.py", *few).stdout
    assert call("generate.py", *few, "prompt=null").stdout.startswith("null")
    ranked = call("generate.py", *few, "prompt=the", "next=2", "steps=2").stdout
    assert ranked.startswith("'the' is followed by\n")
    assert ranked.count("%") == 4
