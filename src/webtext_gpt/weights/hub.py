"""Models by their names on Hugging Face's hub."""

from pathlib import Path

from webtext_gpt.errors import UserError

TEXTS = ("config.json", "tokenizer.json", "vocab.json", "merges.txt")
SAFETENSORS = ("model*.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


def download(name: str) -> Path:
    """The folder of a model on the hub, fetched unless it is in Hugging Face's cache.

    Raises:
        UserError: the hub cannot be reached, or has no such model.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=[*TEXTS, *SAFETENSORS]))
        if not any(folder.glob(SAFETENSORS[0])):
            folder = Path(snapshot_download(name, allow_patterns=[*TEXTS, *PICKLES]))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{name} does not exist (looked from {Path.cwd()}), and Hugging Face's hub did not "
            f"give a model of that name: {reason}"
        ) from error
    return folder
