"""Settings of the training text and its tokenizer: the choices of `data=` and `tokenizer=`."""

from typing import Annotated, Literal

from pydantic import Field

from webtext_gpt.settings.base import Target, setting
from webtext_gpt.settings.kinds import (
    Number,
    PathText,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import Listed

Fraction = Number(above=0, below=1)


class Docstrings(Target):
    """`data=docstrings`: docstrings of the installed Python packages; needs no download."""

    target: Literal["webtext_gpt.data.sources.Docstrings"] = setting(alias="_target_")
    val_fraction: Annotated[float, Fraction] = setting(
        0.02, "fraction of the docstrings held out, chosen by a hash of their text"
    )


class Files(Target):
    """`data=files`: your own text, JSONL and Parquet files."""

    target: Literal["webtext_gpt.data.sources.Files"] = setting(alias="_target_")
    path: Annotated[list[str], Listed(PathText())] = setting(
        ...,
        "file, folder or glob pattern, or a list [a,b]; with data=shards, a folder",
        common=True,
    )
    text_key: Annotated[str, Text("the name of a column")] = setting(
        "text", "column of JSONL and Parquet files that holds the text"
    )
    val_fraction: Annotated[float, Fraction] = setting(
        0.1,
        "fraction of the documents held out, chosen by a hash of their text; of a single "
        "document, this fraction at its end",
    )


class Hub(Target):
    """`data=hub`: any text dataset that the `datasets` library loads, from the hub or a folder."""

    target: Literal["webtext_gpt.data.sources.Hub"] = setting(alias="_target_")
    name: Annotated[str, PathText(what="a dataset")] = setting(
        ..., "dataset: openwebtext, a folder, or a builder (json, parquet, text) with data_files"
    )
    config: Annotated[str | None, Text(null="the only one")] = setting(
        None, "configuration of the dataset"
    )
    split: Annotated[str, Text("the name of a split")] = setting("train", "split to read")
    revision: Annotated[str | None, Text(null="the newest")] = setting(
        None, "git revision of the dataset"
    )
    data_files: Annotated[list[str] | None, Listed(PathText(), null="the dataset's own")] = setting(
        None, "files for the builders json, parquet and text"
    )
    text_key: Annotated[str, Text("the name of a column")] = setting(
        "text", "column that holds the text"
    )
    val_fraction: Annotated[float, Fraction] = setting(
        0.01, "fraction of the rows held out, chosen by a hash of their text"
    )


class Shards(Target):
    """`data=shards`: token shards built by data_prep; they contain their own tokenizer."""

    target: Literal["webtext_gpt.data.shards.TokenShards"] = setting(alias="_target_")
    path: Annotated[str, PathText()] = setting(..., "folder of token shards")


Data = Annotated[Docstrings | Files | Hub | Shards, Field(discriminator="target")]


class TrainedBPE(Target):
    """`tokenizer=trained`: byte-level BPE trained on the training split."""

    target: Literal["webtext_gpt.tokenizer.train_bpe"] = setting(alias="_target_")
    vocab_size: Annotated[int, Whole(257, unit="token ids")] = setting(
        4096, "size of the vocabulary, with 256 bytes and <|endoftext|>", common=True
    )


class GPT2Tokenizer(Target):
    """`tokenizer=gpt2`: GPT-2's vocabulary of 50,257 tokens."""

    target: Literal["webtext_gpt.tokenizer.load_gpt2"] = setting(alias="_target_")
    path: Annotated[str, PathText(what="a folder or hub name")] = setting(
        "openai-community/gpt2", "hub name, or a folder with encoder.json and vocab.bpe"
    )


class Characters(Target):
    """`tokenizer=char`: one token per distinct character of the text."""

    target: Literal["webtext_gpt.tokenizer.build_char_vocabulary"] = setting(alias="_target_")


TokenizerChoice = Annotated[TrainedBPE | GPT2Tokenizer | Characters, Field(discriminator="target")]
