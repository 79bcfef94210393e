"""Settings of `tokenizer.py`, `shards.py` and `report.py`."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from data_prep.settings.common import Engine, Out, Parallel, Paths, TextRows
from webtext_gpt.settings.base import Settings, keys, setting
from webtext_gpt.settings.kinds import Number, PathText, Whole
from webtext_gpt.settings.lists import Listed

Folder = PathText(null="not in the report", remote=True)
REPORTED = ("links", "pages", "documents", "dedup", "overlap", "shards")
"""Stages that a report can have a section for."""


class TokenizerSettings(TextRows, Parallel):
    """Documents -> a byte-level BPE.

    With engine=ray, the nodes read the documents; the sample is trained on by this machine.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} documents=unique out=tokenizer": "GPT-2's size",
        "{command} documents=unique out=tokenizer vocab_size=8192": "a small one",
        "{command} documents=[mine.txt] lines=true out=tokenizer": "a document per line",
        "{command} gpt2=gpt2_files out=tokenizer": "GPT-2's own",
        "{command} documents=unique out=tokenizer sample_bytes=10000000000": "a larger sample",
    }

    documents: Annotated[list[str] | None, Listed(PathText(remote=True), null="only with gpt2")] = (
        setting(None, "files, folders or globs of text, JSONL or Parquet to train on", common=True)
    )
    gpt2: Annotated[
        str | None,
        PathText(what="a folder, tokenizer.json or hub name", null="train one", remote=True),
    ] = setting(
        None,
        "use an existing one: folder with encoder.json and vocab.bpe, tokenizer.json, hub name",
        common=True,
    )
    out: Out = setting(..., "folder to create", common=True)
    vocab_size: Annotated[int, Whole(257, unit="token ids")] = setting(
        50_257, "256 bytes, the merges, and <|endoftext|>", common=True
    )
    sample_bytes: Annotated[int, Whole(1, unit="bytes")] = setting(
        1_000_000_000, "approximate size of the text; documents are chosen by a hash", common=True
    )
    seed: Annotated[int, Whole(0, 2**64 - 1)] = setting(0, "seed of the sample")
    engine: Engine = keys(Engine)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.documents is None and self.gpt2 is None:
            raise ValueError("give documents=[FILES] to train on, or gpt2=FOLDER")
        return self


class Shards(TextRows, Parallel):
    """Documents -> token shards."""

    examples: ClassVar[dict[str, str]] = {
        "{command} documents=unique tokenizer=tokenizer out=shards": "a corpus",
        "{command} documents=unique tokenizer=gpt2_files out=shards": "with GPT-2's tokens",
        "{command} documents=unique tokenizer=tokenizer out=shards val_fraction=0.01": (
            "hold out less"
        ),
        "{command} documents=[mine.jsonl] text_key=body tokenizer=tokenizer.json out=shards": (
            "your own documents"
        ),
        "{command} documents=unique tokenizer=tokenizer out=shards workers=8": "eight processes",
    }

    documents: Annotated[list[str], Paths] = setting(
        ..., "files, folders or globs of text, JSONL or Parquet", common=True
    )
    tokenizer: Annotated[str, PathText(remote=True)] = setting(
        ...,
        "output of tokenizer.py, a tokenizer.json, or a folder with GPT-2's two files",
        common=True,
    )
    out: Out = setting(..., "folder to create", common=True)
    val_fraction: Annotated[float, Number(above=0, below=1)] = setting(
        0.05, "fraction of documents held out, chosen by a hash; 5 % in the paper", common=True
    )
    shard_tokens: Annotated[int, Whole(1, unit="tokens")] = setting(
        134_217_728, "size after which a new file is started"
    )
    engine: Engine = keys(Engine)


class Report(Settings):
    """Finished stages -> report.html and report.md: counts, reasons of loss, pictures."""

    elsewhere: ClassVar[dict[str, str]] = {
        "engine": "a report is made by one process, on this machine",
    }

    examples: ClassVar[dict[str, str]] = {
        "{command} links=links pages=pages out=report": "two stages",
        "{command} shards=shards out=report": "one stage",
        "{command} links=links webtext_domains=domains.txt out=report": (
            "compare with WebText's domains"
        ),
    }

    links: Annotated[str | None, Folder] = setting(None, "folder of links.py", common=True)
    pages: Annotated[str | None, Folder] = setting(None, "folder of pages.py", common=True)
    documents: Annotated[str | None, Folder] = setting(None, "folder of documents.py", common=True)
    dedup: Annotated[str | None, Folder] = setting(None, "folder of dedup.py", common=True)
    overlap: Annotated[str | None, Folder] = setting(None, "folder of overlap.py", common=True)
    shards: Annotated[str | None, Folder] = setting(None, "folder of shards.py", common=True)
    out: Out = setting(..., "folder to create", common=True)
    webtext_domains: Annotated[str | None, PathText(null="no comparison", remote=True)] = setting(
        None, "table of `count name` lines, as OpenAI published it for WebText", common=True
    )

    @property
    def stages(self) -> dict[str, str]:
        """The folders that are given, by stage."""
        folders = {stage: getattr(self, stage) for stage in REPORTED}
        return {stage: folder for stage, folder in folders.items() if folder is not None}

    @model_validator(mode="after")
    def _any_stage(self) -> Self:
        if not self.stages:
            listed = ", ".join(f"{stage}=FOLDER" for stage in REPORTED)
            raise ValueError(f"nothing to report on: give {listed}")
        return self
