"""Lightning's checkpoint I/O in our formats, written in the background of training."""

import functools
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO

from webtext_gpt.checkpoint.background import BackgroundWriter
from webtext_gpt.checkpoint.snapshot import snapshot, stored_bytes
from webtext_gpt.checkpoint.space import check_space, in_gib
from webtext_gpt.checkpoint.store import Checkpoint, open_checkpoint, save_checkpoint
from webtext_gpt.machine import free_memory
from webtext_gpt.terminal import say

COPY_SHARE = 0.9
"""Share of the free memory that the copy of a checkpoint may take."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lets Lightning read checkpoints in one file or in parts, and write one file atomically.

    Training waits until the contents are copied to memory, not until they are written.

    Args:
        opened: the checkpoint that training resumes, so that it is opened once.

    Attributes:
        writer: writes the copies, one at a time.
    """

    def __init__(self, opened: Checkpoint | None = None) -> None:
        super().__init__()
        self.opened = opened
        self.writer = BackgroundWriter()
        self._said = False

    def open(self, path: str | Path) -> Checkpoint:
        """Return the checkpoint at `path`."""
        if self.opened is not None and self.opened.path == Path(path):
            return self.opened
        return open_checkpoint(path)

    def load_checkpoint(self, path: str | Path, *args: object, **kwargs: object) -> dict[str, Any]:
        """Return the contents of a checkpoint, assembled if it is in parts."""
        return self.open(path).contents()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        """Start writing one file; see `webtext_gpt.checkpoint.store.save_checkpoint`.

        If memory is too short for a copy, the file is complete on return.

        Raises:
            UserError: the disk has too little room.
            OSError: the previous file could not be written.
        """
        self.writer.finish("the previous checkpoint is still being written; training waits for it")
        size = stored_bytes(checkpoint)
        check_space(Path(path), size)
        free = free_memory()
        if free is not None and size > COPY_SHARE * free:
            self._say_once(f"{in_gib(free)} of memory are free, too little to copy {in_gib(size)}")
            save_checkpoint(checkpoint, path)
        else:
            self.writer.start(functools.partial(save_checkpoint, snapshot(checkpoint), path))

    def _say_once(self, reason: str) -> None:
        if not self._said:
            self._said = True
            message = f"{reason}; training waits while checkpoints are written"
            say(message, sys.stderr)
