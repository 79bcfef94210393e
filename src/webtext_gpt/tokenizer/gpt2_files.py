"""GPT-2's own tokenizer, from OpenAI's or Hugging Face's files or from the hub."""

import json
from pathlib import Path

from tokenizers import models

from webtext_gpt.errors import UserError
from webtext_gpt.files import read_text
from webtext_gpt.hub import hub_access, hub_problem, may_be_on_hub
from webtext_gpt.paths import absence, readable_path, shown
from webtext_gpt.tokenizer.byte_level import byte_level
from webtext_gpt.tokenizer.tokenizer import END_OF_TEXT, Tokenizer


def from_gpt2_files(vocab: str | Path, merges: str | Path) -> Tokenizer:
    """Make a tokenizer from OpenAI's vocabulary (`encoder.json`) and merges (`vocab.bpe`).

    Raises:
        UserError: the files are not a BPE vocabulary and its merges.
    """
    pairs, text = read_merges(merges), read_text(vocab)
    try:
        backend = byte_level(models.BPE(json.loads(text), pairs))
    except Exception as error:  # the backend raises plain Exception
        raise UserError(f"{vocab} and {merges} are not a BPE vocabulary: {error}") from error
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)


def read_merges(path: str | Path) -> list[tuple[str, str]]:
    """Return the pairs of a file of merges, in order of rank.

    Raises:
        UserError: a line is not two tokens.
    """
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    pairs = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    for number, pair in enumerate(pairs):
        if len(pair) != 2:
            raise UserError(f"{path}: merge {number} is {' '.join(pair)!r}, not two tokens")
    return [(left, right) for left, right in pairs]


def load_gpt2(path: str | Path, key: str = "tokenizer.path") -> Tokenizer:
    """Load GPT-2's tokenizer from a folder, from a `tokenizer.json`, or from the hub by name.

    A folder may hold OpenAI's files (`encoder.json`, `vocab.bpe`), Hugging Face's (`vocab.json`,
    `merges.txt`) or `tokenizer.json`.

    Args:
        path: the folder, file or name.
        key: the setting that gives it, for messages.

    Raises:
        UserError: the folder holds none of these, or the hub does not provide the tokenizer.
    """
    folder = readable_path(path, key)
    if folder.is_file():
        return Tokenizer.load(folder)
    if folder.is_dir():
        for vocab, merges in (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt")):
            if (folder / vocab).is_file() and (folder / merges).is_file():
                return from_gpt2_files(folder / vocab, folder / merges)
        if (folder / "tokenizer.json").is_file():
            return Tokenizer.load(folder / "tokenizer.json")
        raise UserError(
            f"{key}={folder} holds neither encoder.json with vocab.bpe, nor vocab.json with "
            "merges.txt, nor tokenizer.json"
        )
    advice = "name a tokenizer.json, or a folder that holds it or encoder.json with vocab.bpe"
    if not may_be_on_hub(path):
        raise UserError(f"{key}={shown(path)} {absence(folder)}; {advice}")
    from huggingface_hub import hf_hub_download

    try:
        with hub_access():
            file = hf_hub_download(str(path), "tokenizer.json")
        return Tokenizer.load(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{key}={path} {absence(folder)}, and cannot be loaded as a tokenizer of the "
            f"hub: {hub_problem(error)}; {advice}"
        ) from error
