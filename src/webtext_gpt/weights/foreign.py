"""The interface of a foreign format: how its models are recognized, loaded and saved."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.paths import local_path
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights.tensors import read_pickle

PICKLES = (".pt", ".pth", ".bin")
"""Suffixes of files that `torch.save` wrote."""

Loaded = tuple[GPT | GPTClassifier | Transformer, Tokenizer]
"""A model in evaluation mode on the CPU in fp32, and its tokenizer."""


@dataclass(frozen=True)
class ForeignPath:
    """The model that the user named: a file, a folder or a hub name."""

    given: str | Path

    @property
    def local(self) -> Path:
        """The path on this machine, which need not exist."""
        return local_path(self.given, "checkpoint")

    @property
    def is_pickle(self) -> bool:
        """Whether the path is a file with one of the suffixes in `PICKLES`."""
        return self.local.is_file() and self.local.suffix in PICKLES

    @cached_property
    def contents(self) -> Any:
        """The contents of a pickle, read once.

        Raises:
            UserError: the file is damaged, or would run code.
        """
        return read_pickle(self.local)


class Save(Protocol):
    """Write a model into a new or empty folder; `force` replaces the model of another one.

    Raises:
        UserError: the folder is not empty, or the format cannot express the model.
        OSError: a file cannot be written.
    """

    def __call__(
        self,
        model: GPT | GPTClassifier | Transformer,
        tokenizer: Tokenizer,
        folder: str | Path,
        force: bool = False,
    ) -> None:
        """See the class."""
        ...


@dataclass(frozen=True)
class ForeignFormat:
    """A format of another program.

    Attributes:
        name: the format's name, for messages.
        recognizes: returns whether a path is a model in this format. Formats are tried in the
            order of `weights.FORMATS`.
        load: returns the model and tokenizer of a recognized path. The second argument is the
            tokenizer that the user gave, see `given_tokenizer`. Raises `UserError` if the files
            are damaged, would run code, or hold a model that ours cannot express.
        save: the inverse of `load`; `None` if we only read the format.
    """

    name: str
    recognizes: Callable[[ForeignPath], bool]
    load: Callable[[ForeignPath, str | Path | None], Loaded]
    save: Save | None = None
