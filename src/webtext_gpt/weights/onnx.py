"""ONNX: the graph that maps token ids to logits, with the tokenizer beside it.

`model.onnx` takes `input_ids`, int64 `(batch, sequence)`, and gives `logits`, fp32 `(batch,
sequence, vocab_size)`; both dimensions are free, up to `block_size` tokens. Its metadata hold
`block_size` and the id `end_of_text`. `tokenizer.json` is written to the same folder.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from webtext_gpt.errors import UserError
from webtext_gpt.files import new_folder, read_text, sync_file
from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import vocabulary

if TYPE_CHECKING:
    from torch.onnx import ONNXProgram

OPSET = 20
"""Version of ONNX's operators; the first with Gelu."""

MAX_BYTES = 2 * 10**9
"""Largest weights of a single file, whose size protobuf limits to 2 GiB."""

TOKENIZER = "tokenizer.json"


def save(
    model: GPT | GPTClassifier,
    tokenizer: Tokenizer,
    path: Path,
    force: bool = False,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Write a `.onnx` file and `tokenizer.json` once both are complete.

    Args:
        model: a language model in evaluation mode on the CPU, of any options; not changed.
        tokenizer: the model's.
        path: destination; replaced.
        force: replace another `tokenizer.json` in the folder.
        max_bytes: weights above this go to a second file, `model.onnx.data`.

    Raises:
        UserError: the model is a classifier, or the folder has another tokenizer.
        ModuleNotFoundError: a package that exports is not installed.
        OSError: a file cannot be written.
    """
    if isinstance(model, GPTClassifier):
        raise UserError("a classifier cannot be exported to ONNX; only language models can")
    if model.config.block_size < 2:
        raise UserError("a model with model.block_size=1 cannot be exported to ONNX")
    vocabulary.check(model, tokenizer)
    beside = path.parent / TOKENIZER
    if beside.exists() and not force and read_text(beside) != tokenizer.to_json():
        raise UserError(
            f"{beside} is another tokenizer, but the model's is written there; name another folder "
            "for out, or replace it with force=true"
        )
    program = _export(model)
    program.model.metadata_props.update(
        block_size=str(model.config.block_size), end_of_text=str(tokenizer.end_of_text)
    )
    staged = path.with_name(f".{path.name}.new")
    with new_folder(staged) as partial:
        size = sum(value.numel() * value.element_size() for value in model.parameters())
        program.save(partial / path.name, external_data=size > max_bytes)
        tokenizer.save(partial / TOKENIZER)
        for file in partial.iterdir():
            sync_file(file)
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # the old one
    for file in sorted(staged.iterdir(), key=lambda file: file.name == path.name):  # the model last
        file.replace(path.parent / file.name)
    staged.rmdir()


def _export(model: GPT) -> "ONNXProgram":
    """Return the graph of a model, without the exporter's notes, which hold paths of this machine.

    The exporter specializes dimensions of size 1, so the example has none.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    tokens = torch.zeros(2, 2, dtype=torch.long)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            model,
            (tokens,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["input_ids"],
            output_names=["logits"],
            dynamic_shapes={"tokens": {0: "batch", 1: "sequence"}},
            verbose=False,
        )
    if program is None:  # only of a deprecated exporter
        raise TypeError("torch.onnx.export returned no program")
    ClearMetadataAndDocStringPass()(program.model)
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on optional packages and on its own calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
