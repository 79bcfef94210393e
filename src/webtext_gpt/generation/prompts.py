"""Many prompts from a file, their continuations into another."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from webtext_gpt.data.rows import JSON_LINES, PARQUET, read_rows, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import read_text


def read_prompts(path: str | Path) -> list[str]:
    """The prompts of a file: a row each of JSONL and Parquet (`prompt`), else a line each.

    Raises:
        UserError: the file cannot be read as what its name says, or holds no prompt.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() in JSON_LINES | PARQUET:
        prompts = [text_value(row, "prompt", place) for place, row in read_rows(path, ["prompt"])]
    else:
        prompts = read_text(path).splitlines()
    if not prompts:
        raise UserError(f"{path} holds no prompt; write one a line")
    return prompts


def write_completions(path: str | Path, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Write rows of prompt and completion as JSONL, and yield each completion when it is written.

    The file appears under its name when it is complete.

    Raises:
        UserError: the file exists.
    """
    path = Path(path).expanduser()
    if path.exists():
        raise UserError(f"{path} exists; remove it or give another out=")
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            for prompt, completion in pairs:
                row = {"prompt": prompt, "completion": completion}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                yield completion
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
