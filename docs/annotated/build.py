"""Build the annotated pages: run each notebook, write it as .ipynb and as a page of the docs.

    python docs/annotated/build.py [--check]

The source of a page is a script in percent format (`transformer.py`), which takes the code that it
shows from the package itself. `--check` writes nothing, and fails if a page differs from what its
source gives now.
"""

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
PAGES = ("transformer",)


MEASURED = "measured"
"""Tag of cells that train a model; their output differs a little from machine to machine."""


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
    NotebookClient(made, kernel, timeout=300, coalesce_streams=True).execute()
    for number, cell in enumerate(made.cells):
        cell.id = f"cell-{number}"  # otherwise random
        cell.metadata.pop("execution", None)
    made.metadata.language_info = {"name": "python"}  # without the version
    return made


def markdown(made: nbformat.NotebookNode) -> str:
    """Return a notebook that was run as Markdown."""
    settings = Config()
    settings.TagRemovePreprocessor.enabled = True
    settings.TagRemovePreprocessor.remove_cell_tags = {"remove_cell"}
    settings.TagRemovePreprocessor.remove_input_tags = {"source"}
    text, _ = MarkdownExporter(config=settings).from_notebook_node(made)
    parts = text.strip().split("```")  # outside of code, at most one empty line
    parts[::2] = [re.sub(r"\n{3,}", "\n\n", part) for part in parts[::2]]
    return "```".join(parts) + "\n"


def is_current(name: str) -> bool:
    """Return whether a page is what its source gives now; measured cells are not run."""
    kept = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    page = (OUT / f"annotated_{name}.md").read_text(encoding="utf-8")
    source = jupytext.read(FOLDER / f"{name}.py", fmt="py:percent")
    made = notebook(name, measured=False)
    return (
        [cell.source for cell in kept.cells] == [cell.source for cell in source.cells]
        and _outputs(_unmeasured(kept)) == _outputs(made.cells)
        and page == markdown(kept)
    )


def _unmeasured(made: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in made.cells if MEASURED not in cell.metadata.get("tags", [])]


def _outputs(cells: list[nbformat.NotebookNode]) -> list[object]:
    return [
        (output.get("text"), output.get("data")) for c in cells for output in c.get("outputs", [])
    ]


def main() -> None:
    """Build every page, or check that each is what its source gives."""
    for name in PAGES:
        page = OUT / f"annotated_{name}.md"
        if "--check" in sys.argv:
            if not is_current(name):
                sys.exit(f"{page.name} is not what its source gives now; run {Path(__file__).name}")
            continue
        made = notebook(name)
        nbformat.write(made, FOLDER / f"{name}.ipynb")
        page.write_text(markdown(made), encoding="utf-8")


if __name__ == "__main__":
    main()
