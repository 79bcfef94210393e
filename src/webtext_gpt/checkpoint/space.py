"""Size of checkpoints, and the check that the disk has room for them."""

import shutil
from pathlib import Path

from torch import nn

from webtext_gpt.errors import UserError

PLAIN_BYTES = 4 * 2**20
"""Bytes allowed for the plain values of a checkpoint, such as the tokenizer."""


class NoSpace(UserError):  # noqa: N818 - names the state of the disk
    """A checkpoint does not fit on the disk."""


def estimated_bytes(model: nn.Module, moments: int, width: int = 4, averages: int = 0) -> int:
    """Return the size of a checkpoint: weights, the optimizer's moments, and averages.

    Args:
        model: the model; tied weights count once.
        moments: values that the optimizer keeps.
        width: bytes of a number.
        averages: values for each trained parameter that an average of the weights keeps.
    """
    weights = sum(p.numel() * (1 + averages * p.requires_grad) for p in model.parameters())
    return width * (weights + moments) + PLAIN_BYTES


def free_bytes(folder: Path) -> int | None:
    """Return the bytes that this user may still write; `None` if the file system does not say.

    Args:
        folder: it need not exist, but a folder above it has to.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        usage = shutil.disk_usage(place)
    except OSError:
        return None
    return usage.free if usage.total else None  # some network file systems report nothing


def check_space(path: Path, size: int) -> None:
    """Refuse to write a checkpoint that does not fit on the disk.

    Args:
        path: the checkpoint.
        size: bytes of its tensors.

    Raises:
        NoSpace: names both sizes.
    """
    free = free_bytes(path.parent)
    if free is not None and free < size + PLAIN_BYTES:
        raise NoSpace(
            f"{path} is not written: it takes {in_gib(size + PLAIN_BYTES)}, and the disk has "
            f"{in_gib(free)} free; free some space"
        )


def in_gib(size: float) -> str:
    """Return a size for a message."""
    return f"{size / 2**30:,.2f} GiB"
