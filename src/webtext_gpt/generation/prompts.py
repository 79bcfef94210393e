"""Many prompts from a file, their continuations into another."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from webtext_gpt.data.rows import JSON_LINES, PARQUET, read_rows, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced
from webtext_gpt.tokenizer import read_text


def read_prompts(path: str | Path) -> list[str]:
    """The prompts of a file: a row each of JSONL and Parquet (`prompt`), else a line each.

    An empty line is an empty prompt, but for those at the file's end.

    Raises:
        UserError: the file cannot be read as what its name says, or holds no prompt.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() in JSON_LINES | PARQUET:
        prompts = [text_value(row, "prompt", place) for place, row in read_rows(path, ["prompt"])]
    else:
        text = read_text(path).replace("\r\n", "\n").rstrip("\n")
        prompts = text.split("\n") if text else []
    if not prompts:
        raise UserError(f"{path} holds no prompt; write one a line")
    return prompts


def stop_strings(given: Any) -> list[str]:
    r"""Strings of the setting `stop`: none, one or several, where `\n`, `\t` and `\\` are escapes.

    Raises:
        UserError: one is something else than text.
    """
    strings = [] if given is None else [given] if isinstance(given, str) else list(given)
    for text in strings:
        if not isinstance(text, str):
            raise UserError(f'stop={text!r} is no text; put it in quotes, as stop=["5"]')
    escapes = {"n": "\n", "t": "\t", "\\": "\\"}
    return [re.sub(r"\\([nt\\])", lambda match: escapes[match[1]], text) for text in strings]


def write_completions(path: str | Path, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Write rows of prompt and completion as JSONL, and yield each completion when it is written.

    The file appears under its name when it is complete.

    Raises:
        UserError: the file exists.
    """
    path = Path(path).expanduser()
    if path.exists():
        raise UserError(f"{path} exists; remove it or give another out=")
    with replaced(path) as partial, partial.open("w", encoding="utf-8") as stream:
        for prompt, completion in pairs:
            row = {"prompt": prompt, "completion": completion}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            yield completion
