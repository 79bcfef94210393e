"""Manifest of token shards: the keys that it must hold, and their check."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from webtext_gpt.errors import UserError
from webtext_gpt.files import read_text
from webtext_gpt.manifests import first_problem

FORMAT = "webtext-gpt token shards"
VERSION = 1
REPAIR = "remove the folder and build the shards again"

Split = Literal["train", "validation"]


def _plain(name: str) -> str:
    if name in ("", ".", "..") or any(char in name for char in "/\\\0"):
        raise ValueError(f"{name!r} is not the name of a file in this folder")
    return name


Name = Annotated[str, AfterValidator(_plain)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Number = Annotated[int, Field(strict=True, ge=1, lt=2**63)]


@dataclass(frozen=True)
class ShardFile:
    """Manifest entry of one file of tokens and its document starts."""

    tokens_file: Name
    documents_file: Name
    split: Split
    n_tokens: Number
    n_documents: Number
    n_bytes: Count
    """UTF-8 bytes of the documents' text."""
    tokens_sha256: Sha256
    documents_sha256: Sha256


def token_dtype(vocab_size: int) -> np.dtype:
    """Return little-endian uint16 if it holds every id, else uint32."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


class ShardManifest(BaseModel):
    """Keys of a manifest that are read. Others describe where the shards came from."""

    model_config = ConfigDict(frozen=True)

    format: Literal["webtext-gpt token shards"]
    version: Literal[1]
    dtype: Literal["uint16", "uint32"]
    vocab_size: Annotated[int, Field(strict=True, ge=1, le=2**32)]
    end_of_text: Count
    tokenizer_sha256: Sha256
    files: Annotated[list[ShardFile], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.end_of_text >= self.vocab_size:
            raise ValueError(
                f"end_of_text: {self.end_of_text} is outside the vocabulary of {self.vocab_size} "
                "ids"
            )
        if self.dtype != (due := token_dtype(self.vocab_size).name):
            raise ValueError(f"dtype: {self.dtype}, but {self.vocab_size} ids are stored as {due}")
        names = Counter(
            name for file in self.files for name in (file.tokens_file, file.documents_file)
        )
        for name, times in names.items():
            if times > 1:
                raise ValueError(f"files: {name} is listed {times} times")
        for number, file in enumerate(self.files):
            if file.n_documents > file.n_tokens:
                raise ValueError(
                    f"files[{number}]: {file.n_documents:,} documents cannot begin in "
                    f"{file.n_tokens:,} tokens"
                )
        return self


def read_shard_manifest(path: Path) -> tuple[dict[str, Any], ShardManifest]:
    """Read the manifest of a folder of token shards.

    Returns:
        The whole manifest as plain values, and the keys that were checked.

    Raises:
        UserError: The file is not such a manifest, has another version, or has a key of a wrong
            type or value; the message names the key.
    """
    text = read_text(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a manifest of token shards: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a manifest of token shards, which is a JSON object")
    if found.get("stage", "shards") != "shards":
        raise UserError(
            f"{path.parent} holds what the stage {found['stage']} wrote, not token shards; name "
            "the folder that data_prep/shards.py wrote"
        )
    if found.get("version", VERSION) != VERSION:
        raise UserError(
            f"{path} has version {found['version']} of the format, but version {VERSION} is "
            "required; build the shards again"
        )
    try:
        return found, ShardManifest.model_validate(found)
    except ValidationError as error:
        raise UserError(
            f"{path} is not a manifest of token shards: {first_problem(error)}; {REPAIR}"
        ) from error
