"""Completions are learned, answers are scored, and generate.py gives the same answers."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model, save_model
from webtext_gpt.finetuning.command import run_command
from webtext_gpt.finetuning.completion import Completion
from webtext_gpt.finetuning.data.examples import read_file
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import train_bpe
from webtext_gpt.weights.convert import convert


def _write(file: Path, rows: list[dict[str, str]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def _read(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_completions_are_learned_and_scored(
    compose: Callable[..., Any], small_finetuning: list[str], tmp_path: Path
) -> None:
    rows = [{"prompt": f"say {word}", "completion": word} for word in ("cat", "dog", "river") * 12]
    file = _write(tmp_path / "rows.jsonl", rows)
    overrides = [
        *(s for s in small_finetuning if not s.startswith("task")),
        *("task=pairs", f"task.train={file}", f"task.validation={file}"),
        *("trainer.max_steps=150", "max_new_tokens=8", "validate_every=50"),
    ]
    summary = run_command(compose("finetune", *overrides))
    assert summary["val_loss"] < 0.7  # ln 2; 5.6 for a vocabulary of 280 that knows nothing
    assert summary["val_rouge1"] > 90
    answers = (tmp_path / "run" / "validation" / "answers.jsonl").read_text().splitlines()
    assert json.loads(answers[0])["prompt"] == "say cat\n"
    model, _ = load_language_model(tmp_path / "run")  # a language model like any other
    assert model.config.vocab_size == 280


WORDS = ("cat", "dog", "river")
PROMPTS = (
    *(f"say {word}" for word in WORDS),
    "two\nlines\n\nof text",
    "ends with a line end\n",
    " \tspaces around ",
    "Zürich 漢字 😀 é",
    "a" * 57,  # of 64 tokens with the line end: 6 are left, fewer than max_new_tokens
    "a dog " * 40,  # does not fit
)


@pytest.mark.parametrize("between", [r"\n", pytest.param(" => ", marks=pytest.mark.slow)])
def test_generate_gives_the_answers_that_were_scored(
    between: str,
    compose: Callable[..., Any],
    call: Callable[..., subprocess.CompletedProcess[str]],
    small_finetuning: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With line ends in prompts, prompts near the context, and one that does not fit."""
    rows = [{"prompt": prompt, "completion": prompt[:9].strip()} for prompt in PROMPTS]
    train = _write(tmp_path / "train.jsonl", rows * 4)
    test = _write(tmp_path / "test.jsonl", rows)
    run_command(
        compose(
            "finetune",
            *(s for s in small_finetuning if not s.startswith("task")),
            *("task=pairs", f"task.train={train}", f"task.validation={test}"),
            *(f"task.test={test}", f"task.between={between}"),
            *("trainer.max_steps=20", "max_new_tokens=12", "validate_every=10"),
        )
    )
    said = capsys.readouterr().out
    assert "1 of the 9 test prompts do not fit the context of 64 tokens" in said
    scored = _read(tmp_path / "run" / "test" / "answers.jsonl")
    assert [row["prompt"] for row in scored[:2]] == [
        f"say cat{_real(between)}",
        _real(f"say dog{between}"),
    ]
    greedy = ("temperature=0", "max_new_tokens=12")
    result = call(
        "generate.py",
        f"checkpoint={tmp_path / 'run'}",
        f"prompts={test}",
        *greedy,
        f"out={tmp_path / 'out.jsonl'}",
    )
    assert result.returncode == 0, result.stderr
    written = _read(tmp_path / "out.jsonl")
    assert [row["prompt"] for row in written] == list(PROMPTS)
    assert [row["completion"] for row in written] == [row["answer"] for row in scored]
    assert "1 of the 9 prompts do not fit the context of 64 tokens" in result.stderr
    lines = tmp_path / "lines.txt"
    lines.write_text("say cat\nsay river\n")
    result = call("generate.py", f"checkpoint={tmp_path / 'run'}", f"prompts={lines}", *greedy)
    samples = result.stdout.split("=== sample ")
    for sample, row in zip(samples[1:], (0, 2), strict=True):
        assert sample[2:] == f"{scored[row]['prompt']}{scored[row]['answer']}\n"


def _real(text: str) -> str:
    return text.replace(r"\n", "\n")


@pytest.fixture(scope="module")
def large_context(cases: Path) -> tuple[GPT, Any]:
    """An untrained model with a context of 256, in which the near prompts of the cases fit."""
    prompts = _read(cases / "finetuning" / "prompts_near_the_context.jsonl")
    tokenizer = train_bpe([row["text"] for row in prompts], 310)  # up to 229 tokens each
    torch.manual_seed(0)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 256}
    return GPT(GPTConfig(**shape, vocab_size=tokenizer.vocab_size)).eval(), tokenizer


@pytest.mark.parametrize("max_new_tokens", [None, 100])
def test_scoring_cuts_no_prompt_that_fits(
    max_new_tokens: int | None, large_context: tuple[GPT, Any], cases: Path, tmp_path: Path
) -> None:
    """Each answer has the room that its own prompt leaves, and no more than the maximum."""
    model, tokenizer = large_context
    task = Task(name="pairs", kind="completion")
    file = cases / "finetuning" / "prompts_near_the_context.jsonl"
    examples = read_file(task, file)
    objective = Completion(task, score_limit=None, max_new_tokens=max_new_tokens)
    assert objective.encode(model, tokenizer, examples).sequences.truncated == 0
    figures = objective.evaluate(model, tokenizer, examples, tmp_path)
    assert (figures["answers"], figures["shortened_prompts"]) == (30, 0)
    assert figures["stopped"] == 30  # an untrained model does not end its answers
    scored = _read(tmp_path / "answers.jsonl")
    assert [row["prompt"] for row in scored] == [row["text"] + "\n" for row in _read(file)]
    assert len({row["prompt"] for row in scored}) == 30


def test_prompts_beyond_the_context_are_counted(
    large_context: tuple[GPT, Any], cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, tokenizer = large_context
    task = Task(name="pairs", kind="completion")
    examples = read_file(task, cases / "finetuning" / "prompts_beyond_the_context.jsonl")
    objective = Completion(task, score_limit=3, max_new_tokens=5)
    assert objective.encode(model, tokenizer, examples).sequences.truncated == 4
    figures = objective.evaluate(model, tokenizer, examples, tmp_path / "test")
    assert [figures[name] for name in ("answers", "shortened_prompts", "stopped")] == [3, 3, 3]
    said = capsys.readouterr().out
    assert "the first 3 of the 4 test prompts are answered; score_limit=null" in said
    assert "3 of the 3 test prompts do not fit the context of 256 tokens" in said
    assert "3 of the 3 test answers were stopped before end-of-text, by max_new_tokens=5" in said
    for row in _read(tmp_path / "test" / "answers.jsonl"):
        assert len(tokenizer.encode(row["prompt"])) <= 251  # 5 are left for the answer
        assert row["prompt"].endswith("\n")


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("completion", {"kind": "completion", "between": " ="}),
        ("an earlier version's", {"kind": "pairs", "between": " ="}),
        ("classification", {"kind": "classification", "between": " ="}),
        ("pretraining", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_checkpoint_knows_how_its_prompts_end(
    kind: str,
    task: dict[str, str] | None,
    call: Callable[..., subprocess.CompletedProcess[str]],
    small_checkpoint: Path,
    tmp_path: Path,
) -> None:
    model, tokenizer = load_language_model(small_checkpoint)
    file = tmp_path / "model.ckpt"
    save_model(model, tokenizer, file, task)
    convert(file, tmp_path / "again.ckpt")
    assert load(tmp_path / "again.ckpt").task == task
    end = " =" if kind in ("completion", "an earlier version's") else ""

    def text(*arguments: str) -> str:
        greedy = () if "num_beams=2" in arguments else ("temperature=0",)
        settings = (f"checkpoint={file}", "max_new_tokens=3", *greedy)
        result = call("generate.py", *settings, *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    expected = text(f"prompt=a cat{end}", "between=")
    assert expected.startswith(f"a cat{end}")
    assert text("prompt=a cat") == expected
    assert text("prompt=a cat", "num_samples=2").count(expected) == 2
    assert text("prompt=a cat", "num_beams=2") == text(f"prompt=a cat{end}", "num_beams=2")
    assert text("prompt=a cat", "next=2") == text(f"prompt=a cat{end}", "between=", "next=2")
    assert text("prompt=a cat", r"between=\n").startswith("a cat\n")
    assert text("prompt=").startswith(end)


def test_an_export_says_that_it_forgets_how_prompts_end(
    call: Callable[..., subprocess.CompletedProcess[str]], small_checkpoint: Path, tmp_path: Path
) -> None:
    model, tokenizer = load_language_model(small_checkpoint)
    save_model(model, tokenizer, tmp_path / "a.ckpt", {"kind": "completion", "between": "\n"})
    export = ("src/webtext_gpt/weights/__main__.py", f"checkpoint={tmp_path / 'a.ckpt'}")
    folder = call(*export, f"out={tmp_path / 'folder'}")
    assert r"prompts have to end with it" in folder.stdout
    assert "have to end" not in call(*export, f"out={tmp_path / 'b.ckpt'}").stdout
    greedy = ("temperature=0", "max_new_tokens=5", "prompt=cat")
    ours = call("generate.py", f"checkpoint={tmp_path / 'b.ckpt'}", *greedy)
    theirs = call("generate.py", f"checkpoint={tmp_path / 'folder'}", r"between=\n", *greedy)
    assert ours.stdout == theirs.stdout != ""
