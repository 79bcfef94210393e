"""Show code of the package in the annotated pages, taken from its source when a page is built."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from IPython.display import Markdown


def show(part: Callable[..., Any], first: str | None = None, last: str | None = None) -> Markdown:
    """Return the source of a function without its docstring, headed by its name and file.

    Args:
        part: the function.
        first: text in the line at which an excerpt begins; None means the signature.
        last: text in the line at which it ends; the first such line counts. None means the end.

    Raises:
        ValueError: the function has no such line.
    """
    source = textwrap.dedent(inspect.getsource(part))
    docstring = ast.parse(source).body[0].body[0]
    lines = source.splitlines()
    if isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant):
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    file = "/".join(part.__module__.split(".")[1:] or [part.__module__]) + ".py"
    begin = 0 if first is None else _line_with(first, lines, 0, part)
    end = len(lines) if last is None else _line_with(last, lines, begin, part) + 1
    excerpt = "\n".join(lines[begin:end])
    shown = excerpt if begin == 0 else textwrap.dedent(excerpt)
    from_where = "" if (begin, end) == (0, len(lines)) else "from "
    return Markdown(f"{from_where}`{part.__qualname__}` in `{file}`:\n\n```python\n{shown}\n```")


def _line_with(text: str, lines: list[str], begin: int, part: Callable[..., Any]) -> int:
    for number, line in enumerate(lines[begin:], begin):
        if text in line:
            return number
    raise ValueError(f"{part.__qualname__} has no line with {text!r}; change what the page shows")
