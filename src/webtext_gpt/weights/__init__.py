"""Models of other programs: one module per format, listed in `FORMATS`.

To add a format, write a module that defines a `ForeignFormat` and list it here.
"""

from pathlib import Path

from webtext_gpt.weights import annotated_gpt2, hugging_face, mingpt, nanogpt
from webtext_gpt.weights.foreign import ForeignFormat, ForeignPath

FORMATS: tuple[ForeignFormat, ...] = (
    nanogpt.FORMAT,
    mingpt.FORMAT,
    hugging_face.FORMAT,
    annotated_gpt2.FORMAT,
)
"""Formats in the order in which they are tried. The last one accepts any file of tensors."""


def find_format(path: ForeignPath) -> ForeignFormat | None:
    """Return a path's foreign format; `None` if it is a run or checkpoint of ours or is missing.

    Raises:
        UserError: the file cannot be read, or would run code.
    """
    if (path.local / "checkpoints").is_dir():
        return None  # a run of ours, even if a model has been exported into its folder
    return next((format_ for format_ in FORMATS if format_.recognizes(path)), None)


def is_foreign(path: str | Path) -> bool:
    """Return whether a path is a folder, file or hub name in another program's format.

    A path whose first folder exists is never taken for a hub name. Raises as `find_format` does.
    """
    return find_format(ForeignPath(path)) is not None
