"""ES modules as one script, for a page that opens from disk.

A browser loads no module from a `file:` address, and an import map of `data:` addresses would need
a policy that allows every `data:` script. So each module becomes a function in one inline script,
which the page's policy allows by its hash.

Only the forms of import and export that our modules use are known: named imports from a relative
path, and `export` before `const`, `function` and `class`.
"""

import posixpath
import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function\*?|class) ([\w$]+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*|^.*\bimport\(.*", re.MULTILINE)


def bundle(root: Path, entry: str) -> str:
    """Return one script that runs a module after everything that it imports.

    Args:
        root: folder of the modules.
        entry: path of the module, relative to `root`. The script leaves its exports, and those of
            every other module, in the constant `modules`, by path.

    Raises:
        ValueError: a module has an import or export of another form, or imports itself.
    """
    parts: dict[str, str] = {}

    def add(path: str, importers: tuple[str, ...]) -> None:
        if path in importers:
            raise ValueError(f"modules import each other: {' -> '.join((*importers, path))}")
        if path in parts:
            return
        source = (root / path).read_text(encoding="utf-8")
        folder = posixpath.dirname(path)
        for _, imported in _IMPORT.findall(source):
            add(posixpath.normpath(posixpath.join(folder, imported)), (*importers, path))
        parts[path] = _as_function(path, source)

    add(entry, ())
    return "const modules = {};\n" + "".join(parts.values())


def _as_function(path: str, source: str) -> str:
    folder = posixpath.dirname(path)

    def constants(found: re.Match[str]) -> str:
        names = re.sub(r"\s+as\s+", ": ", found[1].strip().rstrip(","))
        module = posixpath.normpath(posixpath.join(folder, found[2]))
        return f'const {{ {names} }} = modules["{module}"];\n'

    names = ", ".join(_EXPORT.findall(source))
    body = _EXPORT.sub("", _IMPORT.sub(constants, source))
    if (other := _OTHER.search(body)) is not None:
        raise ValueError(f"{path} has a form that cannot be bundled: {other[0]}")
    return f'modules["{path}"] = (() => {{\n{body}return {{ {names} }};\n}})();\n'
