"""Build the annotated pages: run each notebook, write it as .ipynb and as a page of the docs.

    python docs/annotated/build.py [--check] [NAME ...]

The source of a page is a script in percent format (`gpt2.py`), which takes the code that it shows
from the package itself. A cell that draws has `picture="NAME"` and `alt="..."` in its first line.
`--check` writes nothing, and fails if a page differs from what its source gives now.
"""

import base64
import copy
import os
import re
import sys
from pathlib import Path

import jupytext
import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from traitlets.config import Config

FOLDER = Path(__file__).parent
OUT = FOLDER.parent / "tutorials"
PICTURES = FOLDER.parent / "pictures"
PAGES = ("gpt2", "classifier", "transformer")

MEASURED = "measured"
"""Tag of cells that train a model or use a trained one; their output differs between machines."""


def notebook(name: str, measured: bool = True) -> nbformat.NotebookNode:
    """Return the notebook of a script, run from top to bottom.

    Args:
        name: name of the script.
        measured: whether it has its measured cells, which no other cell needs.
    """
    made = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    if not measured:
        made.cells = _unmeasured(made)
    made.metadata.pop("jupytext", None)
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc")
    path = os.pathsep.join((str(FOLDER), os.environ.get("PYTHONPATH", "")))  # for our modules here
    client = NotebookClient(made, kernel, timeout=300, coalesce_streams=True)
    client.execute(env={**os.environ, "PYTHONPATH": path})
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"  # otherwise random
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":  # warnings and progress bars name this machine
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    made.metadata.language_info = {"name": "python"}  # without the version
    return made


def markdown(name: str, made: nbformat.NotebookNode) -> tuple[str, dict[str, bytes]]:
    """Return a notebook that was run as Markdown, and its pictures by file name."""
    made = copy.deepcopy(made)
    folder = Path(os.path.relpath(PICTURES, OUT)).as_posix()
    pictures = {}
    for cell in made.cells:
        for output in cell.get("outputs", []):
            if (png := output.get("data", {}).get("image/png")) is not None:
                file = f"{name}_{cell.metadata['picture']}.png"
                pictures[file] = base64.b64decode(png)
                output.data = {"text/markdown": f"![{cell.metadata['alt']}]({folder}/{file})"}
    settings = Config()
    settings.TagRemovePreprocessor.enabled = True
    settings.TagRemovePreprocessor.remove_cell_tags = {"remove_cell"}
    settings.TagRemovePreprocessor.remove_input_tags = {"source"}
    text, _ = MarkdownExporter(config=settings).from_notebook_node(made)
    parts = text.strip().split("```")  # outside of code, at most one empty line
    parts[::2] = [re.sub(r"\n{3,}", "\n\n", part) for part in parts[::2]]
    return "```".join(parts) + "\n", pictures


def is_current(name: str) -> bool:
    """Return whether a page is what its source gives now; measured cells are not run."""
    kept = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    source = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    made = notebook(name, measured=False)
    text, pictures = markdown(name, kept)
    return (
        [cell.source for cell in kept.cells] == [cell.source for cell in source.cells]
        and _outputs(_unmeasured(kept)) == _outputs(made.cells)
        and page(name).read_text(encoding="utf-8") == text
        and all((PICTURES / file).read_bytes() == data for file, data in pictures.items())
    )


def page(name: str) -> Path:
    """Return the file of a page."""
    return OUT / f"annotated_{name}.md"


def _unmeasured(made: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in made.cells if MEASURED not in cell.metadata.get("tags", [])]


def _outputs(cells: list[nbformat.NotebookNode]) -> list[object]:
    return [
        (output.get("text"), output.get("data")) for c in cells for output in c.get("outputs", [])
    ]


def main() -> None:
    """Build the pages, or check that each is what its source gives."""
    names = [word for word in sys.argv[1:] if word != "--check"] or PAGES
    for name in names:
        if "--check" in sys.argv:
            if not is_current(name):
                sys.exit(
                    f"{page(name)} is not what its source gives now; run {Path(__file__).name}"
                )
            continue
        made = notebook(name)
        text, pictures = markdown(name, made)
        nbformat.write(made, FOLDER / f"{name}.ipynb")
        page(name).write_text(text, encoding="utf-8")
        for file, data in pictures.items():
            (PICTURES / file).write_bytes(data)


if __name__ == "__main__":
    main()
