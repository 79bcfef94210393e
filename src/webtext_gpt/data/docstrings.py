"""The docstrings of the installed Python packages: real English prose on every machine."""

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

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def installed_packages() -> list[str]:
    """`name==version` of the interpreter and of every installed distribution but this one."""
    found = {
        f"{d.metadata['Name']}=={d.version}".lower() for d in importlib.metadata.distributions()
    }
    python = f"python=={sysconfig.get_python_version()}"
    return [python, *sorted(p for p in found if not p.startswith("webtext-gpt=="))]


def collect_docstrings() -> list[str]:
    """Every docstring of the standard library and of the installed packages, each once.

    Files are read with `ast`, on all cores, never imported. Files that this interpreter cannot
    parse are passed over. The order is that of the files' names, then of the lines.
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
    """Python files of the standard library and of site-packages, sorted by their names there."""
    named: dict[tuple[str, ...], Path] = {}
    for key in ("stdlib", "purelib", "platlib"):
        root = Path(sysconfig.get_paths()[key])
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).parts
            if key == "stdlib" and "site-packages" in parts:
                continue  # of the base interpreter, not of this environment
            named[parts] = path
    return [named[parts] for parts in sorted(named)]


def _docstrings_of(path: str) -> list[str]:
    gc.disable()  # syntax trees have no cycles worth looking for; a fifth faster
    warnings.simplefilter("ignore")  # about escapes in other people's strings
    source = Path(path).read_bytes()
    if b'"""' not in source and b"'''" not in source:
        return []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # templates, Python 2, null bytes
        return []
    texts = (ast.get_docstring(node) for node in _documented(tree))
    return [text for text in texts if text and _encodable(text)]


def _documented(node: ast.AST) -> Iterator[Documented]:
    """The nodes below that can carry a docstring; expressions are not searched."""
    if isinstance(node, Documented):
        yield node
    for field in ("body", "orelse", "handlers", "finalbody"):
        for child in getattr(node, field, ()):
            if isinstance(child, ast.stmt | ast.ExceptHandler):
                yield from _documented(child)


def _encodable(text: str) -> bool:
    """Whether the text has a UTF-8 form: an escape can put half of a surrogate pair in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
