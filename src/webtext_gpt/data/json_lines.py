"""JSONL files that are whole or absent."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from webtext_gpt.files import replaced


def write_json_lines(file: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a line for each row; nothing is seen under the file's name before it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced(file) as partial, partial.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
