"""One model file made into another: ours into Hugging Face's, and foreign ones into either."""

from pathlib import Path

from webtext_gpt.checkpoint.description import save_model
from webtext_gpt.checkpoint.load import load
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import hugging_face
from webtext_gpt.weights.write import refuse_occupied

OURS = ".ckpt"


def convert(
    checkpoint: str | Path,
    out: str | Path,
    tokenizer: str | Path | None = None,
    force: bool = False,
) -> tuple[GPT | GPTClassifier, Tokenizer]:
    """Read a model in any format and write it in another.

    Args:
        checkpoint: a run's folder or `.ckpt` file of ours, or anything else that `load` reads.
        out: a file that ends in `.ckpt` becomes ours, anything else a Hugging Face folder.
        tokenizer: of a foreign model that comes without, see `given_tokenizer`.
        force: replace what is there.

    Returns:
        What was written.

    Raises:
        UserError: the model cannot be read or expressed, or something is in its place.
        OSError: it cannot be written.
    """
    out = Path(out).expanduser()
    if out.suffix != OURS:
        refuse_occupied(out, force)
    elif out.is_dir() or (out.exists() and not force):
        raise UserError(f"{out} exists; name another file, or replace it with force=true")
    loaded = load(checkpoint, tokenizer)
    model, ours = loaded.model, loaded.tokenizer
    if out.suffix == OURS:
        save_model(model, ours, out)
    else:
        hugging_face.save(model, ours, out, force)
    return model, ours
