"""Models of other programs: one module a format, listed in `FORMATS`.

To add a format, write a module that ends in a `ForeignFormat` and list it here.
"""

from pathlib import Path

from webtext_gpt.weights import annotated_gpt2, hugging_face, nanogpt
from webtext_gpt.weights.foreign import ForeignFormat, ForeignPath

FORMATS: tuple[ForeignFormat, ...] = (
    nanogpt.FORMAT,
    hugging_face.FORMAT,
    annotated_gpt2.FORMAT,
)
"""In the order in which they are tried; the last takes any file of tensors."""


def find_format(path: ForeignPath) -> ForeignFormat | None:
    """Return the format of a foreign model; `None` for a run or checkpoint of ours, or nothing.

    Raises:
        UserError: the file cannot be read, or would run code.
    """
    if (path.local / "checkpoints").is_dir():
        return None  # a run of ours, whatever has been exported into it
    return next((format_ for format_ in FORMATS if format_.recognizes(path)), None)


def is_foreign(path: str | Path) -> bool:
    """Whether a path is a folder, file or hub name in another program's format. Errors as above.

    A path whose first folder exists is never taken for a hub name.
    """
    return find_format(ForeignPath(path)) is not None
