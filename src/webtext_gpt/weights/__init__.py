"""Weights of other programs, in and out; one file a format."""

import re
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import annotated_gpt2, hugging_face, nanogpt
from webtext_gpt.weights.folder import CONFIG, is_classifier, named_tensors, read_config
from webtext_gpt.weights.hub import download
from webtext_gpt.weights.tensors import read_pickle

FILES = (".pt", ".pth", ".bin", ".safetensors")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
HUB_NAMES_WITHOUT_OWNER = (
    "gpt2",
    "gpt2-medium",
    "gpt2-large",
    "gpt2-xl",
    "distilgpt2",
    "openai-gpt",
)


def is_foreign(path: str | Path) -> bool:
    """Whether a path is a folder, file or hub name in another program's format.

    A path whose first folder exists here is never taken for a hub name.
    """
    local = Path(path).expanduser()
    if local.is_dir() and (local / "checkpoints").is_dir():
        return False  # a run of ours, whatever has been exported into it
    if local.is_dir():
        return any((local / name).is_file() for name in (CONFIG, nanogpt.FILE))
    if local.is_file():
        return local.suffix in FILES
    name = str(path)
    return name in HUB_NAMES_WITHOUT_OWNER or (
        HUB_NAME.fullmatch(name) is not None and not Path(local.parts[0]).exists()
    )


def load_foreign(
    path: str | Path, tokenizer: str | Path | None = None
) -> tuple[GPT | GPTClassifier, Tokenizer]:
    """The language model of another program, in evaluation mode on the CPU in fp32.

    Args:
        path: a Hugging Face folder of a GPT-2 or GPT-1, or its name on the hub; nanoGPT's
            `ckpt.pt`, or the folder with it; a state dict of The Annotated GPT-2.
        tokenizer: for a model that comes without, see `tokenizer_files.given_tokenizer`.

    Raises:
        UserError: the files are damaged, would run code, or hold what our model cannot express.
    """
    local = Path(path).expanduser()
    if (local / CONFIG).is_file() and is_classifier(read_config(local)):
        return hugging_face.load_classifier(local, tokenizer)
    if (local / nanogpt.FILE).is_file():
        local = local / nanogpt.FILE
    if local.is_file():
        return _load_file(local, tokenizer)
    folder = local if local.is_dir() else download(str(path))
    if is_classifier(read_config(folder)):
        return hugging_face.load_classifier(folder, tokenizer)
    return hugging_face.load(folder, tokenizer)


def _load_file(file: Path, tokenizer: str | Path | None) -> tuple[GPT, Tokenizer]:
    if file.suffix == ".safetensors":
        raise UserError(f"{file} has no configuration; name its folder, with config.json")
    contents = read_pickle(file)
    if isinstance(contents, dict) and "model_config" in contents:
        raise UserError(f"{file} is a checkpoint of webtext-gpt; let its name end in .ckpt")
    if isinstance(contents, dict) and "model_args" in contents:
        return nanogpt.load(file, contents, tokenizer)
    if (file.parent / CONFIG).is_file():
        raise UserError(f"{file} has its configuration beside it, in {CONFIG}; name the folder")
    return annotated_gpt2.load(file, named_tensors(contents, file), tokenizer)
