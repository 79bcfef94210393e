"""Settings of `documents.py`, `dedup.py`, `overlap.py` and `filters.py`."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from data_prep.settings.common import Engine, Out, Parallel, Paths, TextRows, Workers
from data_prep.settings.quality import QualityScores
from webtext_gpt.settings.base import Settings, keys, setting
from webtext_gpt.settings.kinds import (
    Count,
    Number,
    OneOf,
    PathText,
    Switch,
    Text,
    Whole,
)
from webtext_gpt.settings.lists import Listed, Named

MaybePaths = Listed(PathText(remote=True), null="none")
Rate = Number(above=0, most=0.5)


class TextRules(Settings):
    """Rules for keeping documents, and for changes in them."""

    extractor: Annotated[str, OneOf(("fast", "default", "union"))] = setting(
        "union",
        "how the text of a page is found. fast: Trafilatura alone; default: with its fallbacks; "
        "union: Trafilatura alone, and for a page that the rules reject, Resiliparse",
        common=True,
    )
    language: Annotated[str, Text("a language code", empty=True)] = setting(
        "en", "language of the documents; empty: any", common=True
    )
    min_language: Annotated[float, Number(0, 1)] = setting(
        0.65, "minimum probability of that language"
    )
    min_tokens: Annotated[int, Whole(0, unit="tokens")] = setting(
        128, "minimum length, in pieces of GPT-2's pre-tokenizer", common=True
    )
    gopher: Annotated[bool, Switch()] = setting(False, "apply Gopher's quality rules", common=True)
    c4: Annotated[bool, Switch()] = setting(
        False, "apply C4's rules, which also drop single lines", common=True
    )
    mask: Annotated[bool, Switch()] = setting(
        False, "replace e-mail addresses and public IP addresses", common=True
    )


class Documents(Parallel):
    """Web archives (WARC, ARC) -> documents (Parquet)."""

    examples: ClassVar[dict[str, str]] = {
        "{command} pages=pages out=documents": "from the crawl",
        "{command} pages=[crawl/*.warc.gz] out=documents": "from any archives",
        "{command} pages=pages out=documents text.gopher=true text.c4=true": "stricter rules",
        "{command} pages=pages out=documents keep_dropped=true": "look at what is dropped",
        "{command} pages=pages out=documents quality.model=quality quality.percentile=20": (
            "without the worst fifth"
        ),
    }

    pages: Annotated[list[str], Paths] = setting(
        ..., "files, folders or globs: output of pages.py, or any archives", common=True
    )
    out: Out = setting(..., "folder to create", common=True)
    keep_dropped: Annotated[bool, Switch()] = setting(
        False, "write dropped texts and their reasons to out/dropped", common=True
    )
    text: TextRules = keys(TextRules)
    quality: QualityScores = keys(QualityScores)
    max_page_bytes: Annotated[int, Whole(1, unit="bytes")] = setting(
        10_000_000, "larger pages are rejected"
    )
    page_seconds: Annotated[float, Number(above=0, unit="seconds")] = setting(
        30.0, "time limit per page: CPU time, or time asleep"
    )
    page_memory_bytes: Annotated[int, Whole(1, unit="bytes")] = setting(
        4_000_000_000, "limit of the address space of an extracting process"
    )
    engine: Engine = keys(Engine)


class Dedup(Parallel):
    """Documents -> unique documents (Parquet), without exact and near-duplicates (MinHash).

    With engine=ray, the nodes read, sign and write documents; clusters are found on this machine.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} documents=documents out=unique": "with the usual threshold",
        "{command} documents=[mine.jsonl] out=unique": "your own documents",
        "{command} documents=documents out=unique threshold=0.9": "only closer duplicates",
        "{command} documents=documents out=unique carry=[url]": "keep fewer columns",
        "{command} documents=documents out=unique engine=ray": "on Ray",
    }

    documents: Annotated[list[str], Paths] = setting(
        ..., "files, folders or globs of Parquet or JSONL with id and text", common=True
    )
    out: Out = setting(..., "folder to create", common=True)
    threshold: Annotated[float, Number(above=0, most=1)] = setting(
        0.8, "minimum Jaccard similarity of near-duplicates, over word n-grams", common=True
    )
    ngram: Annotated[int, Whole(1, unit="words")] = setting(5, "length of an n-gram", common=True)
    bands: Annotated[int, Whole(1)] = setting(14, "groups of MinHash minima per document")
    rows: Annotated[int, Whole(1)] = setting(8, "minima per band")
    split: Annotated[int, Whole(1)] = setting(
        2,
        "parts that each band is divided into. Two documents are compared if any part is equal, "
        "which has probability 1 - (1 - s^(rows/split))^(bands split) for documents of similarity "
        "s. With split=1, 1 % of the pairs of similarity 0.85 are never compared. More candidates "
        "cost only time",
    )
    carry: Annotated[list[str], Listed(Text("the name of a column"), empty=True)] = setting(
        lambda: ["url", "domain", "language"], "columns to keep besides id and text, as text"
    )
    part_characters: Annotated[int, Whole(1, unit="characters")] = setting(
        128_000_000, "text per output file; memory grows with it"
    )
    engine: Engine = keys(Engine)

    @model_validator(mode="after")
    def _whole_parts(self) -> Self:
        if self.rows % self.split:
            raise ValueError(
                f"split={self.split} does not divide rows={self.rows}: the minima of a band are "
                "divided into equal parts"
            )
        return self


class Overlap(TextRows):
    """Training documents and test sets -> overlap of the test sets with train, by 8-grams.

    With engine=ray, the nodes read train; the filter is built and looked up on this machine.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} train=unique tests.mine=test.txt out=overlap": "one test set",
        "{command} train=unique evalsets=evalsets tests.lambada=lambada_test out=overlap": (
            "a known one"
        ),
        "{command} train=unique tests.mine=test.txt out=clean remove=true": (
            "drop overlapping documents"
        ),
        "{command} filter=train.bloom tests.mine=test.txt direction=train out=overlap": (
            "with an existing filter"
        ),
        "{command} train=unique tests.a=a.jsonl tests.b=b.txt out=overlap": "two test sets",
    }

    train: Annotated[list[str] | None, MaybePaths] = setting(
        None, "files, folders or globs of text, JSONL or Parquet", common=True
    )
    tests: Annotated[dict[str, list[str]], Named(Paths)] = setting(
        dict,
        "test sets: tests.NAME=PATH or [PATH,PATH], a name in evalsets, or a name of `datasets` "
        "(NAME:CONFIG:SPLIT)",
        common=True,
    )
    out: Out = setting(..., "folder to create", common=True)
    evalsets: Annotated[str | None, PathText(null="none", remote=True)] = setting(
        None, "folder of evaluation sets, for tests.NAME=wikitext2_test", common=True
    )
    direction: Annotated[str, OneOf(("train", "test", "both"))] = setting(
        "both",
        "train: Bloom filter of train (the paper's); test: exact set of the tests",
        common=True,
    )
    tests_lines: Annotated[bool | None, Switch(null="as in train")] = setting(
        None, "lines, for the test sets"
    )
    tests_text_key: Annotated[str | None, Text("the name of a column", null="as in train")] = (
        setting(None, "text_key, for the test sets")
    )
    rate: Annotated[float, Rate] = setting(1e-8, "false-positive rate of the Bloom filter")
    filter: Annotated[str | None, PathText(null="build one", remote=True)] = setting(
        None, "existing filter of train (filters.py), used instead of building one", common=True
    )
    keep_filter: Annotated[bool, Switch()] = setting(False, "keep the filter as out/train.bloom")
    filter_memory: Annotated[
        int | None, Count(1_000_000, unit="bytes", null="three quarters of the free memory")
    ] = setting(
        None,
        "most memory that the filter may take, such as 8G; a larger one is built and asked in "
        "parts, with the same result, and each part reads all hashes once",
    )
    remove: Annotated[bool, Switch()] = setting(
        False, "write the documents under the threshold to out", common=True
    )
    threshold: Annotated[int, Whole(1, unit="8-grams")] = setting(
        1,
        "a document is over the threshold if it shares this many distinct 8-grams with one test "
        "set",
        common=True,
    )
    worst: Annotated[int, Whole(0, unit="samples")] = setting(
        5, "samples of each test set that the report shows, largest overlap first"
    )
    workers: Annotated[int | None, Workers] = setting(
        None, "processes or threads at once; with engine=ray: tasks"
    )
    engine: Engine = keys(Engine)

    @model_validator(mode="after")
    def _inputs(self) -> Self:
        if not self.tests:
            raise ValueError("no test set: give tests.NAME=PATH, one or more")
        if self.remove and self.direction == "train":
            raise ValueError(
                "remove=true needs the documents that hold 8-grams of a test set, which "
                "direction=train does not find; set direction=test or direction=both"
            )
        if not self.train and not (self.filter and self.direction == "train"):
            raise ValueError("give train=[FILES], or with direction=train give filter=FILE instead")
        for key in ("filter", "keep_filter"):
            if getattr(self, key) and self.direction == "test":
                raise ValueError(f"{key}: direction=test uses no filter; leave one of the two out")
        if self.filter and self.keep_filter:
            raise ValueError(
                "keep_filter=true keeps a filter that is built here, and filter= uses an existing "
                "one; leave one of the two out"
            )
        return self


class Filters(TextRows):
    """Training documents -> a Bloom filter of their 8-grams."""

    examples: ClassVar[dict[str, str]] = {
        "{command} train=unique out=train.bloom": "a filter of a corpus",
        "{command} train=part-1 ngrams=1000000000 out=part-1.bloom": "of a part of it",
        "{command} merge=[part-1.bloom,part-2.bloom] out=train.bloom": "of all parts",
        "{command} train=unique rate=1e-6 out=small.bloom": "smaller, with more false positives",
        "{command} train=lines.txt lines=true out=lines.bloom": "a document per line",
    }

    train: Annotated[list[str] | None, MaybePaths] = setting(
        None, "files, folders or globs of text, JSONL or Parquet", common=True
    )
    merge: Annotated[list[str] | None, MaybePaths] = setting(
        None, "instead of train: filters of parts, to merge into one", common=True
    )
    out: Out = setting(..., "file to write", common=True)
    ngrams: Annotated[int | None, Whole(1, unit="8-grams", null="estimated from train")] = setting(
        None, "distinct 8-grams to allow for; parts need the same number", common=True
    )
    rate: Annotated[float, Rate] = setting(1e-8, "false-positive rate", common=True)
    workers: Annotated[int | None, Workers] = setting(
        None, "processes or threads; with Ray: workers, null means 2"
    )
    engine: Engine = keys(Engine)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.train is None) == (self.merge is None):
            raise ValueError(
                "give either train=[FILES] to build a filter or merge=[FILTERS] to merge"
            )
        if self.merge is not None and self.ngrams is not None:
            raise ValueError(
                f"ngrams={self.ngrams}: merge= keeps the size of its filters; leave ngrams out"
            )
        return self
