"""Test sets, read from files, from a folder of evaluation sets, or from the `datasets` library."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import xxhash

from data_prep.stage.inputs import expand
from data_prep.stage.outputs import Fingerprint, fingerprint
from data_prep.stage.readers import SUFFIXES, Layout, batches
from webtext_gpt.errors import UserError
from webtext_gpt.hub import hub_access, hub_problem
from webtext_gpt.paths import absence, names_files, place_of, readable_path, shown

_ARTICLE = re.compile(r"(?m)^(?= = [^=\n].*? = ?$)")  # article titles of WikiText
_WIKITEXT = re.compile(r"\s*? = [^=\n].*? = ?\n")


@dataclass(frozen=True)
class TestSet:
    """Samples of a test set, held in memory.

    Attributes:
        name: Its name in the report.
        ids: Names of the samples, strings.
        texts: Texts of the samples, strings.
        inputs: Fingerprints of the files read.
        cut: Kind of sample: `articles`, `lines`, `files`, or rows with their text in a column.
        rejected: Rows without text, by reason.
    """

    name: str
    ids: pa.Array
    texts: pa.Array
    inputs: list[Fingerprint]
    cut: str
    rejected: Counter[str] = field(default_factory=Counter)

    __test__ = False  # pytest: not a class of tests


def load_test_set(
    name: str, where: str | list[str], layout: Layout, evalsets: str | Path | None
) -> TestSet:
    """Read the samples of one test set.

    A text file that begins with a WikiText title is divided into its articles, unless
    `layout.lines` is true.

    Args:
        name: Name of the test set in the report.
        where: A path or glob of text, JSONL or Parquet; else the name, with or without suffix, of
            a file in `evalsets` (`wikitext2_test`); else `NAME[:CONFIG[:SPLIT]]` of the `datasets`
            library, where SPLIT defaults to `test`.
        layout: Layout of the samples in the files.
        evalsets: Folder of evaluation sets. None means no folder.

    Raises:
        UserError: The test set is not found, or cannot be read.
    """
    where = [where] if isinstance(where, str) else where
    paths = find_test_set(name, where, evalsets)
    if not paths:
        return _from_datasets(name, where[0], layout.text_key, evalsets)
    ids, texts, cuts, rejected = [], [], set(), Counter[str]()
    for path in paths:
        for batch in batches(path, layout):
            cut = f"rows, text in {layout.text_key}"
            names, found = batch.names, batch.texts.cast(pa.large_string())
            if batch.kind == "text":
                cut = "lines" if layout.lines else "files"
                if cut == "files" and len(found) and _WIKITEXT.match(found[0].as_py()):
                    cut, (names, found) = "articles", _articles(found[0].as_py())
            cuts.add(cut)
            ids.append(names)
            texts.append(found)
            rejected += batch.rejected
    return TestSet(
        name, pa.chunked_array(ids, pa.string()).combine_chunks(),
        pa.chunked_array(texts, pa.large_string()).combine_chunks(),
        [fingerprint(path) for path in paths], "; ".join(sorted(cuts)), rejected,
    )  # fmt: skip


def find_test_set(name: str, where: list[str], evalsets: str | Path | None) -> list[Path]:
    """Return the files of a test set; none if it is a name for the `datasets` library.

    The arguments are those of `load_test_set`.

    Raises:
        UserError: The test set is a path, and there is no such file.
    """
    key = f"tests.{name}"
    for pattern in where:
        place_of(pattern, key)  # refuses an empty one
    if len(where) == 1 and not names_files(where[0]):
        if (path := _evaluation_set(where[0], evalsets)) is None:
            if where[0].endswith(SUFFIXES) or where[0].startswith(("/", ".", "~")):
                raise UserError(f"{key}={shown(where[0])} {absence(where[0])}")
            return []
        return [path.resolve()]
    return expand(where, SUFFIXES, key)


def _evaluation_set(name: str, evalsets: str | Path | None) -> Path | None:
    if evalsets is None:
        return None
    folder = readable_path(evalsets, "evalsets")
    if not folder.is_dir():
        raise UserError(f"evalsets={shown(folder)} is not a folder (looked from {Path.cwd()})")
    files = (p for p in sorted(folder.iterdir()) if not p.name.startswith("."))
    return next((path for path in files if name in (path.stem, path.name)), None)


def _articles(text: str) -> tuple[pa.Array, pa.Array]:
    """Return titles and texts of the articles in a WikiText file."""
    parts = [part for part in _ARTICLE.split(text) if part.strip()]
    titles = [part.strip().partition("\n")[0].strip(" =") for part in parts]
    return pa.array(titles, pa.string()), pa.array(parts, pa.large_string())


def _from_datasets(name: str, where: str, text_key: str, evalsets: str | Path | None) -> TestSet:
    import datasets

    dataset, _, rest = where.partition(":")
    config, _, split = rest.partition(":")
    try:
        with hub_access():
            rows = datasets.load_dataset(dataset, config or None, split=split or "test")
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        there = f", no evaluation set in {evalsets}" if evalsets else ""
        raise UserError(
            f"tests.{name}={where}: no such file{there}, and `datasets` cannot load it: "
            f"{hub_problem(error)}"
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
    entry: Fingerprint = {"name": where, "bytes": texts.nbytes, "xxh3": digest.hexdigest()}
    return TestSet(name, ids, texts, [entry], f"rows, text in {text_key}")
