"""Conversion between model formats: ours to Hugging Face's, foreign ones to either."""

from pathlib import Path

from webtext_gpt.checkpoint.load import LoadedModel, load, save_model
from webtext_gpt.errors import UserError
from webtext_gpt.paths import check_output_file, check_output_folder, local_path
from webtext_gpt.weights import FORMATS
from webtext_gpt.weights.folder import refuse_occupied

OURS = ".ckpt"


def convert(
    checkpoint: str | Path,
    out: str | Path,
    tokenizer: str | Path | None = None,
    force: bool = False,
) -> LoadedModel:
    """Read a model in any format and write it in another.

    Args:
        checkpoint: anything that `webtext_gpt.checkpoint.load.load` reads.
        out: destination; a name that ends in `.ckpt` means a checkpoint of ours, any other name a
            Hugging Face folder.
        tokenizer: for a foreign model without one, see `given_tokenizer`.
        force: replace what is at `out`.

    Returns:
        The model that was written.

    Raises:
        UserError: the model cannot be read, the format cannot express it, or `out` exists.
        OSError: it cannot be written.
    """
    out = local_path(out, "out")
    if out.suffix != OURS:
        refuse_occupied(out, force)
    elif out.is_dir() or (out.exists() and not force):
        raise UserError(f"{out} exists; name another file, or replace it with force=true")
    (check_output_file if out.suffix == OURS else check_output_folder)(out, "out")
    loaded = load(checkpoint, tokenizer)
    if out.suffix == OURS:
        save_model(loaded.model, loaded.tokenizer, out, loaded.task)
    else:
        save = next(format_.save for format_ in FORMATS if format_.save is not None)
        save(loaded.model, loaded.tokenizer, out, force)
    return loaded
