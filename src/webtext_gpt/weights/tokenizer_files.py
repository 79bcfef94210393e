"""Tokenizers of foreign models, read from Hugging Face's files and written to them."""

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from webtext_gpt.errors import UserError
from webtext_gpt.files import read_text
from webtext_gpt.model import ClassifierConfig
from webtext_gpt.paths import local_path
from webtext_gpt.tokenizer import (
    END_OF_TEXT,
    Tokenizer,
    build_char_vocabulary,
    load_gpt2,
    read_merges,
)
from webtext_gpt.weights.folder import to_json


def read_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of a GPT-2 folder.

    If its `tokenizer.json` adds special tokens, truncates or pads, that is ignored: only the text
    itself is encoded.

    Raises:
        UserError: the folder has no tokenizer, or it lacks `<|endoftext|>`.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        if (folder / "added_tokens.json").is_file():
            raise UserError(
                f"{folder} has added_tokens.json but no tokenizer.json, which would hold the "
                "complete tokenizer; write one with transformers: "
                "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            )
        return load_gpt2(folder)
    return _wrapped(_backend(file), folder)


def read_gpt1_tokenizer(folder: Path) -> Tokenizer:
    """Return GPT-1's tokenizer, which lower-cases and splits at punctuation.

    `<|endoftext|>`, which GPT-1 was trained without, is appended to its vocabulary. Decoding joins
    words by single spaces and does not restore the original text.

    Raises:
        UserError: the folder has no tokenizer.
    """
    file, vocab, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    if file.is_file():
        backend = _backend(file)
    elif vocab.is_file() and merges.is_file():
        backend = _gpt1_backend(vocab, merges)
    else:
        raise UserError(f"{folder} holds neither tokenizer.json nor vocab.json with merges.txt")
    if backend.token_to_id(END_OF_TEXT) is None:
        backend.add_special_tokens([END_OF_TEXT])
    return _wrapped(backend, folder)


def given_tokenizer(path: str | Path) -> Tokenizer:
    """Return the tokenizer that the user gave for a model without one.

    Args:
        path: a `tokenizer.json`, a folder or hub name with one (see `load_gpt2`), or a `.txt`
            file, whose characters are the vocabulary in code point order.

    Raises:
        UserError: it is none of these.
    """
    file = local_path(path, "tokenizer")
    if file.suffix == ".txt":
        # Like nanoGPT, which reads the text with universal newlines.
        return build_char_vocabulary([read_text(file).replace("\r\n", "\n").replace("\r", "\n")])
    if file.suffix == ".pkl":
        raise UserError(
            f"{file} is a pickle, which could run code, and is not read; for a character model "
            "give the text it was trained on: tokenizer=input.txt"
        )
    if file.is_dir():
        return read_tokenizer(file)
    return _wrapped(_backend(file), file) if file.is_file() else load_gpt2(path, "tokenizer")


def tokenizer_files(
    tokenizer: Tokenizer,
    block_size: int,
    classifier: ClassifierConfig | None = None,
    *,
    ends_texts: bool = False,
) -> dict[str, str]:
    """Return the files from which `AutoTokenizer` loads this tokenizer, as contents by name.

    The tokenizer of a classifier adds the start, delimiter and extract tokens to its input. That of
    a translation model (`ends_texts`) adds end-of-text, which also pads.
    """
    contents = json.loads(tokenizer.to_json())
    ids = _ids(contents)
    tokens = {number: token for token, number in ids.items()}
    special = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT}
    if classifier is not None:
        special["pad_token"] = tokens[classifier.pad_token_id]
        contents["post_processor"] = _template(
            tokens,
            classifier.start_token_id,
            classifier.delimiter_token_id,
            classifier.extract_token_id,
        )
    elif ends_texts:
        special["pad_token"] = END_OF_TEXT
        contents["post_processor"] = _template(tokens, None, None, tokenizer.end_of_text)
    files = {
        "tokenizer.json": contents,
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": block_size,
            "clean_up_tokenization_spaces": False,
            # By default transformers 4 also returns token types, whose embeddings GPT-2 adds.
            "model_input_names": ["input_ids", "attention_mask"],
            **special,
        },
        "special_tokens_map.json": special,
    }
    written = {name: to_json(value) for name, value in files.items()}
    model = contents["model"]
    if model["type"] == "BPE":
        pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        written["merges.txt"] = "".join(
            line + "\n" for line in ("#version: 0.2", *(" ".join(pair) for pair in pairs))
        )
        written["vocab.json"] = json.dumps(ids, ensure_ascii=False)
    return written


def _ids(contents: dict[str, Any]) -> dict[str, int]:
    """Return the id of every token, in order of ids."""
    ids = dict(contents["model"]["vocab"])
    ids.update({token["content"]: token["id"] for token in contents["added_tokens"]})
    return dict(sorted(ids.items(), key=lambda item: item[1]))


def _template(tokens: dict[int, str], *ids: int | None) -> dict[str, Any] | None:
    """Return the post-processor that puts special tokens around one text, or two.

    Args:
        tokens: the vocabulary by id.
        ids: the ids before, between and after the texts, or None.
    """
    start, delimiter, extract = (
        [] if number is None else [{"SpecialToken": {"id": tokens[number], "type_id": 0}}]
        for number in ids
    )
    if not (start or delimiter or extract):
        return None
    text, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    used = {piece["SpecialToken"]["id"] for piece in (*start, *delimiter, *extract)}
    return {
        "type": "TemplateProcessing",
        "single": [*start, text, *extract],
        "pair": [*start, text, *delimiter, second, *extract],
        "special_tokens": {
            token: {"id": token, "ids": [number], "tokens": [token]}
            for number, token in tokens.items()
            if token in used
        },
    }


def _backend(file: Path) -> tokenizers.Tokenizer:
    text = read_text(file)
    try:
        contents = json.loads(text)
        contents.update(post_processor=None, truncation=None, padding=None)
        return tokenizers.Tokenizer.from_str(json.dumps(contents))
    except Exception as error:  # the backend raises plain Exception
        raise UserError(f"{file} is not a tokenizer.json: {error}") from error


def _gpt1_backend(vocab: Path, merges: Path) -> tokenizers.Tokenizer:
    pairs, text = read_merges(merges), read_text(vocab)
    try:
        model = models.BPE(
            json.loads(text),
            pairs,
            unk_token="<unk>",  # noqa: S106
            end_of_word_suffix="</w>",
        )
    except Exception as error:  # the backend raises plain Exception
        raise UserError(f"{vocab} and {merges} are not a BPE vocabulary: {error}") from error
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.BPEDecoder(suffix="</w>")
    return backend


def _wrapped(backend: tokenizers.Tokenizer, source: Path) -> Tokenizer:
    try:
        return Tokenizer(backend)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
