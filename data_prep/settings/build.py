"""Settings of `build.py`, with those of every stage under the stage's name."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import model_validator

from data_prep.settings.common import Engine, Out, Parallel
from data_prep.settings.texts import Dedup, Documents, Overlap
from data_prep.settings.tokens import Shards, TokenizerSettings
from data_prep.settings.web import Links, Pages
from webtext_gpt.settings.base import Settings, keys, setting
from webtext_gpt.settings.kinds import OneOf, PathText, Whole
from webtext_gpt.settings.lists import Listed
from webtext_gpt.settings.lookup import Changes, shown

INPUT = {
    "links": "dumps", "pages": "links", "documents": "pages", "dedup": "documents",
    "overlap": "train", "tokenizer": "documents", "shards": "documents",
}  # fmt: skip
"""The stages in order, each with the key of its inputs."""

STAGES = tuple(INPUT)


def _changes(model: type[Settings], stage: str) -> Changes:
    return Changes(model, stage, reserved=(INPUT[stage], "out"))


class Build(Parallel):
    """Reddit dumps -> token shards: all stages in one command, with a report.

    If it is killed or interrupted, the same command resumes it.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} dumps=[RS_2013-*.zst] out=corpus": "from dumps to token shards",
        "{command} dumps=dumps/ out=trial limit=1000": "a trial with 1,000 links",
        "{command} from=documents inputs=[crawl/*.warc.gz] out=corpus": "from web archives",
        "{command} from=tokenizer inputs=[my_texts.jsonl] out=corpus": "from your own texts",
        "{command} dumps=dumps/ out=corpus links.min_karma=5 overlap.tests.mine=test.txt": (
            "settings of the stages"
        ),
    }

    dumps: Annotated[list[str] | None, Listed(PathText(remote=True), null="only with from")] = (
        setting(None, "Reddit dumps: files, folders or globs, [RS_2013-*.zst]", common=True)
    )
    out: Out = setting(
        ..., "folder to create; holds a folder for each stage, and report/", common=True
    )
    first: Annotated[str, OneOf(STAGES)] = setting(
        "links", "first stage", common=True, alias="from"
    )
    inputs: Annotated[list[str] | None, Listed(PathText(remote=True), null="only with dumps")] = (
        setting(
            None,
            "inputs of the first stage if it is not links: your links, archives or documents",
            common=True,
        )
    )
    limit: Annotated[int | None, Whole(1, null="all")] = setting(
        None,
        "trial build: number of links, or of documents if from= is a stage after pages",
        common=True,
    )
    evalsets: Annotated[str | None, PathText(null="none", remote=True)] = setting(
        None, "folder of evaluation sets, for overlap.tests.NAME=", common=True
    )
    webtext_domains: Annotated[str | None, PathText(null="no comparison", remote=True)] = setting(
        None, "table of `count name` lines for the report, as published for WebText"
    )
    engine: Engine = keys(Engine)
    links: Annotated[dict[str, Any], _changes(Links, "links")] = setting(
        dict, "settings of links.py"
    )
    pages: Annotated[dict[str, Any], _changes(Pages, "pages")] = setting(
        dict, "settings of pages.py"
    )
    documents: Annotated[dict[str, Any], _changes(Documents, "documents")] = setting(
        dict, "settings of documents.py"
    )
    dedup: Annotated[dict[str, Any], _changes(Dedup, "dedup")] = setting(
        dict, "settings of dedup.py"
    )
    overlap: Annotated[dict[str, Any], _changes(Overlap, "overlap")] = setting(
        dict, "settings of overlap.py, which runs if test sets are named: overlap.tests.NAME=PATH"
    )
    tokenizer: Annotated[dict[str, Any], _changes(TokenizerSettings, "tokenizer")] = setting(
        dict, "settings of tokenizer.py"
    )
    shards: Annotated[dict[str, Any], _changes(Shards, "shards")] = setting(
        dict, "settings of shards.py"
    )

    @property
    def stages(self) -> list[str]:
        """The stages that run, in order.

        Overlap runs only if test sets are named, tokenizer only if `shards` is not given one.
        """
        left_out = set()
        if not self.overlap.get("tests"):
            left_out.add("overlap")
        if "tokenizer" in self.shards:
            left_out.add("tokenizer")
        return [s for s in STAGES[STAGES.index(self.first) :] if s not in left_out]

    def changes(self, stage: str) -> Mapping[str, Any]:
        """Return the settings that are given for a stage."""
        given: Mapping[str, Any] = getattr(self, stage)
        return given

    @model_validator(mode="after")
    def _inputs_of_the_first_stage(self) -> Self:
        if self.first == "links":
            if self.dumps is None:
                raise ValueError("give dumps=[FILES]")
            if self.inputs is not None:
                raise ValueError("inputs= needs from=STAGE, the stage that reads them")
            return self
        if self.inputs is None:
            raise ValueError(
                f"from={self.first} needs inputs=[FILES], which {self.first}.py reads as "
                f"{INPUT[self.first]}="
            )
        if self.dumps is not None:
            raise ValueError(f"from={self.first} reads inputs=, not dumps=; leave one of them out")
        return self

    @model_validator(mode="after")
    def _keys_that_the_build_sets(self) -> Self:
        for stage in STAGES:
            source = "dumps=, or from= and inputs=" if stage == self.first else "the previous stage"
            for key, instead in ((INPUT[stage], f"comes from {source}"), ("out", "is out/STAGE")):
                if key in (own := self.changes(stage)):
                    raise ValueError(
                        f"{stage}.{key}={shown(own[key])}: build sets this key; it {instead}"
                    )
        return self

    @model_validator(mode="after")
    def _given_tokenizer(self) -> Self:
        given = self.shards.get("tokenizer")
        if given is None and self.first == "shards":
            raise ValueError("from=shards needs shards.tokenizer=FOLDER or a tokenizer.json")
        if given is not None and (self.tokenizer or self.first == "tokenizer"):
            raise ValueError(
                f"shards.tokenizer={given} replaces the tokenizer stage: remove it, or remove "
                "tokenizer.* and from=tokenizer"
            )
        return self

    @model_validator(mode="after")
    def _settings_of_stages_that_run(self) -> Self:
        if self.first == "overlap" and "overlap" not in self.stages:
            raise ValueError("from=overlap needs a test set: overlap.tests.NAME=PATH")
        for stage in STAGES:
            if stage in self.stages or not (own := self.changes(stage)):
                continue
            key = f"{stage}.{next(iter(own))}"
            if STAGES.index(stage) < STAGES.index(self.first):
                raise ValueError(f"{key}: {stage} does not run with from={self.first}")
            raise ValueError(f"{key}: {stage} runs only with test sets, {stage}.tests.NAME=PATH")
        return self
