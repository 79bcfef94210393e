"""Settings of the training text and its tokenizer: the choices of `data=` and `tokenizer=`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from webtext_gpt.settings.base import TARGET, Settings, Target, setting
from webtext_gpt.settings.kinds import (
    Number,
    OneOf,
    PathText,
    Switch,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import Listed
from webtext_gpt.settings.lookup import ByName

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
    path: Annotated[list[str], Listed(PathText(remote=True))] = setting(
        ...,
        "file, folder, glob pattern or list [a,b]; with data=shards, a folder",
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
    data_files: Annotated[
        list[str] | None, Listed(PathText(remote=True), null="the dataset's own")
    ] = setting(None, "files for the builders json, parquet and text")
    text_key: Annotated[str, Text("the name of a column")] = setting(
        "text", "column that holds the text"
    )
    val_fraction: Annotated[float, Fraction] = setting(
        0.01, "fraction of the rows held out, chosen by a hash of their text"
    )


class Shards(Target):
    """`data=shards`: token shards built by data_prep; they contain their own tokenizer."""

    target: Literal["webtext_gpt.data.shards.TokenShards"] = setting(alias="_target_")
    path: Annotated[str, PathText(remote=True)] = setting(..., "folder of token shards")


class Midi(Target):
    """`data=midi`: MIDI files, one piece each, as events (Oore et al. 2018)."""

    target: Literal["webtext_gpt.music.sources.Midi"] = setting(alias="_target_")
    path: Annotated[list[str], Listed(PathText(remote=True))] = setting(
        ..., "file, folder, glob pattern or list [a,b] of .mid and .midi files", common=True
    )
    val_fraction: Annotated[float, Fraction] = setting(
        0.1, "fraction of the pieces held out, chosen by a hash of their notes"
    )
    transpose: Annotated[int, Whole(0, 12, unit="semitones")] = setting(
        0, "train on each piece transposed by up to this many semitones, up and down"
    )
    tempo: Annotated[list[float], Listed(Number(least=0.25, most=4))] = setting(
        lambda: [1.0],
        "train on each piece at these speeds, such as [0.95,1,1.05]; 1 is its own",
        shown="[1.0]",
    )


class Chorales(Target):
    """`data=chorales`: scores of four voices in sixteenths, such as Bach's chorales."""

    target: Literal["webtext_gpt.music.sources.Chorales"] = setting(alias="_target_")
    path: Annotated[list[str], Listed(PathText(remote=True))] = setting(
        ...,
        "JSON file of pieces by split, train, valid and test, or a list of them; a piece is a list "
        "of sixteenths, each [soprano, alto, tenor, bass] in MIDI numbers, -1 for a rest",
        common=True,
    )
    all_keys: Annotated[bool, Switch()] = setting(
        True, "train on each piece in all twelve keys, from 5 semitones down to 6 up"
    )


OWN_TOKENIZER = ("webtext_gpt.music.sources.Midi", "webtext_gpt.music.sources.Chorales")
"""Targets of the choices of `data=` that have a tokenizer of their own."""

KINDS = ("docstrings", "files", "hub", "shards")


class Source(Target):
    """`data=mixture`: one source of a mixture."""

    kind: Annotated[str, OneOf(KINDS)] = setting(
        "files", "what the source is: a choice of data=, whose other keys it takes"
    )
    weight: Annotated[float | None, Number(above=0, null="by epochs")] = setting(
        None,
        "share of the training samples, in proportion to the other sources' weights; all sources "
        "have one, or none",
        common=True,
    )
    epochs: Annotated[float | None, Number(above=0, null="1, unless there are weights")] = setting(
        None,
        "how often the source is read while another with epochs=1 is read once, whatever their "
        "sizes",
    )

    def arguments(self) -> dict[str, Any]:
        """Return the settings of the source itself as keyword arguments."""
        own = super().arguments()
        return {name: value for name, value in own.items() if name not in Source.model_fields}


def _fixed(target: str) -> Any:
    """Return the field of a source's target, which its kind determines and which is not saved."""
    return Field(target, alias="_target_", exclude=True)


class DocstringsSource(Docstrings, Source):
    """`data=mixture`, `kind=docstrings`: docstrings of the installed Python packages."""

    target: Literal["webtext_gpt.data.sources.Docstrings"] = _fixed(
        "webtext_gpt.data.sources.Docstrings"
    )


class FilesSource(Files, Source):
    """`data=mixture`, `kind=files`: text, JSONL and Parquet files."""

    target: Literal["webtext_gpt.data.sources.Files"] = _fixed("webtext_gpt.data.sources.Files")


class HubSource(Hub, Source):
    """`data=mixture`, `kind=hub`: a dataset that the `datasets` library loads."""

    target: Literal["webtext_gpt.data.sources.Hub"] = _fixed("webtext_gpt.data.sources.Hub")


class ShardsSource(Shards, Source):
    """`data=mixture`, `kind=shards`: token shards, whose tokenizer all sources take."""

    target: Literal["webtext_gpt.data.shards.TokenShards"] = _fixed(
        "webtext_gpt.data.shards.TokenShards"
    )


def _tag(values: object) -> str:
    """Return the tag of a source's kind; its dot tells it from the parts of a key."""
    kind = values.get("kind") if isinstance(values, Mapping) else getattr(values, "kind", None)
    return f"kind.{kind if kind in KINDS else 'files'}"


AnySource = Annotated[
    Annotated[DocstringsSource, Tag("kind.docstrings")]
    | Annotated[FilesSource, Tag("kind.files")]
    | Annotated[HubSource, Tag("kind.hub")]
    | Annotated[ShardsSource, Tag("kind.shards")],
    Discriminator(_tag),
]
SOURCES: tuple[type[Settings], ...] = (FilesSource, DocstringsSource, HubSource, ShardsSource)


class Mixed(Target):
    """`data=mixture`: several sources, from each of which a fixed share of the samples comes."""

    target: Literal["webtext_gpt.data.mixture.Mixture"] = setting(alias="_target_")
    sources: Annotated[
        dict[str, AnySource], ByName(prefix="data.sources", base=Source, models=SOURCES)
    ] = setting(dict, "the sources: data.sources.NAME.KEY=...")

    @property
    def epochs(self) -> dict[str, float]:
        """Epochs of each source; empty if none were given."""
        given = [source.epochs for source in self.sources.values()]
        if not any(given):
            return {}
        return {name: source.epochs or 1.0 for name, source in self.sources.items()}

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name in self.sources:
            if f"_{name}".endswith("_average"):
                raise ValueError(
                    f"data.sources.{name}: a name may not be average or end with _average, which "
                    "marks the figures of average=, as in val_loss_average; choose another name"
                )
        return self

    @model_validator(mode="after")
    def _weights(self) -> Self:
        if not self.sources:
            raise ValueError("data.sources has no source; give data.sources.NAME.path=...")
        weighted = [name for name, source in self.sources.items() if source.weight is not None]
        for name, source in self.sources.items():
            key = f"data.sources.{name}"
            if weighted and source.epochs is not None:
                raise ValueError(
                    f"{key}.epochs={source.epochs:g} does not go with data.sources.{weighted[0]}."
                    "weight; give all sources a weight, or none"
                )
            if weighted and source.weight is None:
                raise ValueError(
                    f"{key}.weight has no value, but data.sources.{weighted[0]}.weight has; give "
                    "all sources a weight, or none"
                )
        return self


class Pairs(Target):
    """`data=pairs`: sentences and their translations, for an encoder-decoder."""

    target: Literal["webtext_gpt.data.pairs.ParallelText"] = setting(alias="_target_")
    source: Annotated[str, PathText(remote=True)] = setting(
        ...,
        "file of sentences, one a line, plain or compressed; or a .tsv or JSONL file that has "
        "their translations too",
    )
    target_file: Annotated[str | None, PathText(null="in the file of data.source", remote=True)] = (
        setting(None, "file of their translations, line by line", alias="target")
    )
    val_source: Annotated[str | None, PathText(null="val_fraction of the pairs", remote=True)] = (
        setting(None, "file of sentences for validation")
    )
    val_target: Annotated[
        str | None, PathText(null="in the file of data.val_source", remote=True)
    ] = setting(None, "file of their translations")
    val_fraction: Annotated[float, Fraction] = setting(
        0.01, "fraction of the pairs held out, chosen by a hash of their text, without val_source"
    )
    source_key: Annotated[str, Text("the name of a column")] = setting(
        "source", "column of the sentences in .tsv files with a header and in JSONL"
    )
    target_key: Annotated[str, Text("the name of a column")] = setting(
        "target", "column of the translations"
    )
    vocabulary: Annotated[str, OneOf(("joint", "separate"))] = setting(
        "joint",
        "joint: one tokenizer and embedding for both languages; separate: one for each, as for "
        "languages of different scripts",
    )

    def arguments(self) -> dict[str, Any]:
        """Return the settings of the files as keyword arguments."""
        return {k: value for k, value in super().arguments().items() if k != "vocabulary"}


def _choice(values: object) -> str | None:
    """Return the target of a choice of `data=`; pairs have a key `target` besides."""
    if isinstance(values, Mapping):
        found = values.get(TARGET)
        return None if found is None else str(found)
    return getattr(values, "target", None)


Data = Annotated[
    Annotated[Docstrings, Tag("webtext_gpt.data.sources.Docstrings")]
    | Annotated[Files, Tag("webtext_gpt.data.sources.Files")]
    | Annotated[Hub, Tag("webtext_gpt.data.sources.Hub")]
    | Annotated[Shards, Tag("webtext_gpt.data.shards.TokenShards")]
    | Annotated[Mixed, Tag("webtext_gpt.data.mixture.Mixture")]
    | Annotated[Pairs, Tag("webtext_gpt.data.pairs.ParallelText")]
    | Annotated[Midi, Tag("webtext_gpt.music.sources.Midi")]
    | Annotated[Chorales, Tag("webtext_gpt.music.sources.Chorales")],
    Discriminator(_choice),
]


class TrainedBPE(Target):
    """`tokenizer=trained`: byte-level BPE trained on the training split."""

    target: Literal["webtext_gpt.tokenizer.train_bpe"] = setting(alias="_target_")
    vocab_size: Annotated[int, Whole(257, unit="token ids")] = setting(
        4096, "size of the vocabulary, with 256 bytes and <|endoftext|>", common=True
    )


class GPT2Tokenizer(Target):
    """`tokenizer=gpt2`: GPT-2's vocabulary of 50,257 tokens."""

    target: Literal["webtext_gpt.tokenizer.load_gpt2"] = setting(alias="_target_")
    path: Annotated[str, PathText(what="a folder or hub name", remote=True)] = setting(
        "openai-community/gpt2", "hub name, or a folder with encoder.json and vocab.bpe"
    )


class Characters(Target):
    """`tokenizer=char`: one token per distinct character of the text."""

    target: Literal["webtext_gpt.tokenizer.build_char_vocabulary"] = setting(alias="_target_")


TokenizerChoice = Annotated[TrainedBPE | GPT2Tokenizer | Characters, Field(discriminator="target")]
