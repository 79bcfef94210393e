"""Conversion between model formats: any that is read to ours, Hugging Face's, GGUF or ONNX."""

from collections.abc import Callable
from pathlib import Path

from webtext_gpt.checkpoint.load import LoadedModel, load, only_gpt, save_model
from webtext_gpt.errors import UserError
from webtext_gpt.extras import check_installed
from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.paths import check_output_file, check_output_folder, local_path
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import FORMATS, gguf, onnx
from webtext_gpt.weights.folder import refuse_occupied

OURS = ".ckpt"

Save = Callable[[GPT | GPTClassifier, Tokenizer, Path, bool], None]

EXPORTS: dict[str, tuple[str, Save]] = {
    ".gguf": ("gguf", gguf.save),
    ".onnx": ("onnxscript", onnx.save),
}
"""Formats that are only written, by suffix: the package needed, and the function that writes."""


def convert(
    checkpoint: str | Path,
    out: str | Path,
    tokenizer: str | Path | None = None,
    force: bool = False,
) -> LoadedModel:
    """Read a model in any format and write it in another.

    Args:
        checkpoint: anything that `webtext_gpt.checkpoint.load.load` reads.
        out: destination; a name that ends in `.ckpt` means a checkpoint of ours, `.gguf` and
            `.onnx` mean files of these formats, any other name a Hugging Face folder.
        tokenizer: for a foreign model without one, see `given_tokenizer`.
        force: replace an existing file or model at `out`.

    Returns:
        The model that was written.

    Raises:
        UserError: the model cannot be read, the format cannot express it, or `out` exists.
        ModuleNotFoundError: a package that writes the format is not installed.
        OSError: it cannot be written.
    """
    out = local_path(out, "out")
    is_file = out.suffix == OURS or out.suffix in EXPORTS
    if not is_file:
        refuse_occupied(out, force)
    elif out.is_dir() or (out.exists() and not force):
        raise UserError(f"{out} exists; name another file, or replace it with force=true")
    (check_output_file if is_file else check_output_folder)(out, "out")
    if out.suffix in EXPORTS:
        check_installed(EXPORTS[out.suffix][0])
    loaded = load(checkpoint, tokenizer)
    if out.suffix == OURS:
        save_model(loaded.model, loaded.tokenizer, out, loaded.task)
    elif out.suffix in EXPORTS:
        EXPORTS[out.suffix][1](only_gpt(loaded, checkpoint), loaded.tokenizer, out, force)
    else:
        save = next(format_.save for format_ in FORMATS if format_.save is not None)
        save(loaded.model, loaded.tokenizer, out, force)
    return loaded
