"""Contract 8: commands of the documents are run, where their inputs can be made in a test.

The rest composes (test_configurations.py). `_reason` says why a command is not run.
"""

import csv
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

INPUTS = {
    *("RS_2013-01.zst", "my_texts.jsonl", "novels.jsonl", "prompts.txt", "test.en", "input.txt"),
    *("reviews.csv", "new.csv", "wanted.jsonl", "unwanted.jsonl", "wiki.test.raw"),
    *("lambada_test.jsonl", "part1", "part2", "corpus/dedup", "corpus/tokenizer"),
    *("runs/my_run", "runs/my_translator"),
}
"""Files and folders of `inputs`, under the names that the documents give to inputs."""

RESULTS = {"out", "run_dir", "export", "cache_dir", "prompt", "task", "name", "stop"}
"""Keys whose values name no input."""

SMALL: dict[str, list[str]] = {
    "data_prep/tokenizer.py": ["vocab_size=280"],
    "data_prep/build.py": ["tokenizer.vocab_size=280"],
    "data_prep/filters.py": ["ngrams=100000"],
}
"""Settings that make a command short, after its own."""


def _commands() -> list[list[str]]:
    """Return the words after `python` of every command that runs a script, without repetitions."""
    found: dict[str, list[str]] = {}
    for document in DOCUMENTS:
        for block in re.findall(r"```bash\n(.*?)```", document.read_text("utf-8"), flags=re.S):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["python"] and words[1].endswith(".py"):
                    found[line] = words[1:]
    return list({tuple(words): words for words in found.values()}.values())


def _inputs_of(words: list[str]) -> list[str]:
    """Return the values of a command that name inputs."""
    found = []
    for key, _, values in (word.partition("=") for word in words if "=" in word):
        for value in values.strip("[]").split(","):
            names = "/" in value or re.search(r"\.[a-z]{2,6}$", value)
            if key not in RESULTS and (names or key in ("checkpoint", "evalsets")):
                found.append(value.rstrip("/"))
    return found


def _reason(words: list[str]) -> str | None:  # noqa: PLR0911
    """Return why a command is not run here, or None if it is."""
    script, *arguments = words
    text = " ".join(arguments)
    if any(flag in arguments for flag in ("--help", "--cfg")):
        return None
    if script == "train.py":
        return (
            None if "estimate=true" in arguments else "trains: tests/contracts/test_experiments.py"
        )
    if script.startswith(("benchmarks/", "docs/")):
        return "a measurement or a page, which has its own tests"
    if script == "serve.py" and "export=" not in text:
        return "serves until it is stopped: tests/webtext_gpt/explorer"
    if re.search(
        r"(checkpoint|task|data)=(gpt2|openai|sst2|hub)|s3://|politeness|dumps=\[s3", text
    ):
        return "the hub, a store, or the network"
    if script == "eval.py":
        return "needs a benchmark's data: tests/webtext_gpt/evaluation"
    missing = [value for value in _inputs_of(arguments) if value not in INPUTS]
    return f"its input {missing[0]} is not made here" if missing else None


RUN = [words for words in _commands() if _reason(words) is None]


@pytest.fixture(scope="module")
def inputs(prose: str, small_checkpoint: Path, tmp_path_factory: Any) -> Path:
    """A folder with `INPUTS`."""
    import zstandard

    from data_prep.build import build
    from webtext_gpt.checkpoint.load import load, save_model
    from webtext_gpt.cli import parse, read_settings
    from webtext_gpt.commands import COMMANDS
    from webtext_gpt.model.transformer import Transformer, TransformerConfig

    folder = tmp_path_factory.mktemp("workspace")
    sentences = [f"{sentence}." for sentence in prose.split(". ")]
    texts = [" ".join(sentences[start : start + 12]) for start in range(0, 480, 12)]

    def jsonl(name: str, rows: list[str]) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        lines = [json.dumps({"text": row, "id": str(number)}) for number, row in enumerate(rows)]
        (folder / name).write_text("\n".join(lines) + "\n")

    for name in ("my_texts", "novels", "lambada_test", "wanted", "part1/a", "part2/b"):
        jsonl(f"{name}.jsonl", texts)
    jsonl("unwanted.jsonl", [text[::-1] for text in texts])
    for name in ("prompts.txt", "test.en", "wiki.test.raw", "input.txt"):
        (folder / name).write_text("\n".join(sentences[:4]) + "\n")
    for name in ("reviews.csv", "new.csv"):
        with (folder / name).open("w", newline="") as stream:
            rows = ([text, ("good", "bad")[n % 2]] for n, text in enumerate(sentences[:60]))
            csv.writer(stream).writerows([["review", "stars"], *rows])
    posts = [
        {"id": f"p{n}", "url": f"https://example.com/{n}", "score": 5, "subreddit": "a",
         "created_utc": 1357000000 + n, "is_self": False, "over_18": False, "title": "x"}
        for n in range(20)
    ]  # fmt: skip
    lines = "\n".join(json.dumps(post) for post in posts) + "\n"
    (folder / "RS_2013-01.zst").write_bytes(zstandard.compress(lines.encode()))
    (folder / "runs").mkdir()
    shutil.copy(small_checkpoint, folder / "runs/my_run.ckpt")
    shape = {"n_encoder_layer": 1, "n_decoder_layer": 1, "n_head": 2, "n_embd": 32}
    translator = Transformer(TransformerConfig(**shape, block_size=128, vocab_size=280))
    save_model(translator, load(small_checkpoint).tokenizer, folder / "runs/my_translator.ckpt")
    command = COMMANDS["build"]
    arguments = ["from=dedup", f"inputs=[{folder}/my_texts.jsonl]", f"out={folder}/corpus"]
    build(read_settings(command, parse([*arguments, "tokenizer.vocab_size=280"], command)))
    return folder


@pytest.mark.parametrize("words", RUN, ids=" ".join)
def test_a_documented_command_runs(
    words: list[str],
    inputs: Path,
    call: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "work"
    shutil.copytree(inputs, folder)
    monkeypatch.chdir(folder)
    script, *arguments = words
    given = [re.sub(r"(runs/my_(run|translator))\b", r"\1.ckpt", word) for word in arguments]
    if not ("--help" in arguments or "--cfg" in arguments or "estimate=true" in arguments):
        out = next((a.removeprefix("out=") for a in given if a.startswith("out=")), None)
        if out and (folder / out).is_dir():
            shutil.rmtree(folder / out)  # the stage makes it anew
        given = [word for word in given if not word.startswith("ngrams=")]
        given += SMALL.get(script, [])
    ran = call(script, *given)
    assert ran.returncode in (0, None), ran.stderr
    for word in given:
        if word.startswith(("out=", "export=")):
            assert (folder / word.partition("=")[2]).exists(), word


def test_commands_that_are_run_cover_the_programs() -> None:
    scripts = {words[0] for words in RUN}
    assert {"generate.py", "serve.py", "train.py"} <= scripts
    stages = {
        f"data_prep/{name}.py" for name in ("links", "build", "tokenizer", "shards", "filters")
    }
    assert stages <= scripts
