"""How Lightning reads and writes checkpoints: by the functions of `checkpoint.store`."""

from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO

from webtext_gpt.checkpoint.store import Checkpoint, open_checkpoint, save_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Reads checkpoints of either form; writes one file, whole or not at all.

    Args:
        opened: the checkpoint that training will go on from, so that it is opened once.
    """

    def __init__(self, opened: Checkpoint | None = None) -> None:
        super().__init__()
        self.opened = opened

    def open(self, path: str | Path) -> Checkpoint:
        """The checkpoint at `path`."""
        if self.opened is not None and self.opened.path == Path(path):
            return self.opened
        return open_checkpoint(path)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The contents of a checkpoint of either form."""
        return self.open(path).whole()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write one file, see `webtext_gpt.checkpoint.store.save_checkpoint`."""
        save_checkpoint(checkpoint, path)
