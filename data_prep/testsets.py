"""Test sets by path, by the name of an evaluation set in a folder, or by a `datasets` name."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from data_prep.ledger import expand, fingerprint
from data_prep.texts import SUFFIXES, Layout, batches
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import read_text

_ARTICLE = re.compile(r"(?m)^(?= = [^=\n].*? = ?$)")  # WikiText's titles of articles


@dataclass(frozen=True)
class TestSet:
    """Samples of a test set, held in memory.

    Attributes:
        name: what the report calls it.
        ids: of each sample, strings.
        texts: of each sample, strings.
        inputs: fingerprints of what was read.
    """

    name: str
    ids: pa.Array
    texts: pa.Array
    inputs: list[dict[str, Any]]

    __test__ = False  # pytest: not a class of tests


def load_test_set(
    name: str, where: str | list[str], layout: Layout, evalsets: str | Path | None
) -> TestSet:
    """Read the samples of one test set.

    `where` is a path or glob of text, JSONL or Parquet; else the name of a file in the folder
    `evalsets` without its ending (`wikitext2_test`; WikiText is cut into articles); else
    `NAME[:CONFIG[:SPLIT]]` of the `datasets` library, of whose splits `test` is the default.

    Raises:
        UserError: nothing of the kind is found, or it cannot be read.
    """
    patterns = [where] if isinstance(where, str) else list(where)
    if len(patterns) == 1 and not _on_disk(patterns[0]):
        if (path := _evaluation_set(patterns[0], evalsets)) is None:
            if patterns[0].endswith(SUFFIXES) or patterns[0].startswith(("/", ".", "~")):
                raise UserError(f"tests.{name}={patterns[0]}: no such file or folder")
            return _from_datasets(name, patterns[0], layout.text_key, evalsets)
        if path.name.startswith("wikitext"):
            return _articles(name, path)
        patterns = [str(path)]
    paths = expand(patterns, SUFFIXES)
    read = [batch for path in paths for batch in batches(path, layout)]
    ids = pa.chunked_array([batch.names for batch in read], pa.string()).combine_chunks()
    texts = [batch.texts.cast(pa.large_string()) for batch in read]
    whole = pa.chunked_array(texts, pa.large_string()).combine_chunks()
    return TestSet(name, ids, whole, [fingerprint(path) for path in paths])


def _on_disk(pattern: str) -> bool:
    path = Path(pattern).expanduser()
    if path.exists():
        return True
    parent = Path(path.anchor or ".")
    return any(c in pattern for c in "*?[") and any(parent.glob(str(path).lstrip("/")))


def _evaluation_set(name: str, evalsets: str | Path | None) -> Path | None:
    if evalsets is None:
        return None
    folder = Path(evalsets).expanduser()
    if not folder.is_dir():
        raise UserError(f"evalsets={folder}: no such folder")
    return next((p for p in sorted(folder.iterdir()) if name in (p.stem, p.name)), None)


def _articles(name: str, path: Path) -> TestSet:
    parts = [part for part in _ARTICLE.split(read_text(path)) if part.strip()]
    titles = [part.strip().partition("\n")[0].strip(" =") for part in parts]
    texts = pa.array(parts, pa.large_string())
    return TestSet(name, pa.array(titles, pa.string()), texts, [fingerprint(path)])


def _from_datasets(name: str, where: str, text_key: str, evalsets: str | Path | None) -> TestSet:
    import datasets

    dataset, _, rest = where.partition(":")
    config, _, split = rest.partition(":")
    try:
        rows = datasets.load_dataset(dataset, config or None, split=split or "test")
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        there = f", no evaluation set in {evalsets}" if evalsets else ""
        raise UserError(
            f"tests.{name}={where}: no such file{there}, and `datasets` cannot load it: {error}"
        ) from error
    if text_key not in rows.column_names:
        raise UserError(
            f"tests.{name}={where} has no column {text_key!r}, only "
            f"{', '.join(rows.column_names)}; set text_key"
        )
    texts = pa.array([text or "" for text in rows[text_key]], pa.large_string())
    ids = pa.array([f"{dataset}:{number}" for number in range(len(texts))], pa.string())
    digest = xxhash.xxh3_128()
    for text in texts.to_pylist():
        digest.update(text.encode() + b"\0")
    entry = {"name": where, "bytes": texts.nbytes, "xxh3": digest.hexdigest()}
    return TestSet(name, ids, texts, [entry])
