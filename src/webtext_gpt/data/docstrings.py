"""Docstrings of the installed Python packages: real English prose on every machine."""

import ast
import gc
import hashlib
import importlib.metadata
import os
import sysconfig
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from webtext_gpt.progress import progress_bar

DocumentedNode = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def installed_packages() -> list[str]:
    """Return `name==version` of Python and of every installed distribution except this one."""
    found = {
        f"{d.metadata['Name']}=={d.version}".lower() for d in importlib.metadata.distributions()
    }
    python = f"python=={sysconfig.get_python_version()}"
    return [python, *sorted(p for p in found if not p.startswith("webtext-gpt=="))]


def collect_docstrings() -> list[str]:
    """Return every distinct docstring of the standard library and the installed packages.

    Files are parsed with `ast` on all cores and never imported; files that this interpreter
    cannot parse are skipped. Docstrings come in order of file name, then of line.
    """
    paths = [str(path) for path in _python_files()]
    seen: set[bytes] = set()
    kept: list[str] = []
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = pool.map(_docstrings_of, paths, chunksize=32)
        for docstrings in progress_bar("reading docstrings", iterable=results, total=len(paths)):
            for text in docstrings:
                digest = hashlib.sha256(text.encode()).digest()
                if digest not in seen:
                    seen.add(digest)
                    kept.append(text)
    return kept


def _python_files() -> list[Path]:
    """Return the Python files of the standard library and site-packages, by relative path."""
    named: dict[tuple[str, ...], Path] = {}
    for key in ("stdlib", "purelib", "platlib"):
        root = Path(sysconfig.get_paths()[key])
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).parts
            if key == "stdlib" and "site-packages" in parts:
                continue  # belongs to the base interpreter, not to this environment
            named[parts] = path
    return [named[parts] for parts in sorted(named)]


def _docstrings_of(path: str) -> list[str]:
    gc.disable()  # syntax trees have no cycles to collect; saves a fifth of the time
    warnings.simplefilter("ignore")  # invalid escapes in other packages' strings
    source = Path(path).read_bytes()
    if b'"""' not in source and b"'''" not in source:
        return []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # templates, Python 2, null bytes
        return []
    texts = (ast.get_docstring(node) for node in _documented(tree))
    return [text for text in texts if text and _encodable(text)]


def _documented(node: ast.AST) -> Iterator[DocumentedNode]:
    """Yield the nodes of a tree that can carry a docstring; expressions are not searched."""
    if isinstance(node, DocumentedNode):
        yield node
    for field in ("body", "orelse", "handlers", "finalbody"):
        for child in getattr(node, field, ()):
            if isinstance(child, ast.stmt | ast.ExceptHandler):
                yield from _documented(child)


def _encodable(text: str) -> bool:
    """Return whether UTF-8 can encode the text; an escape can leave half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
