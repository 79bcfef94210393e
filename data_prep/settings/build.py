"""Settings of `build.py`, with those of every stage under the stage's name."""

from typing import Annotated, Any, ClassVar

from data_prep.settings.common import Engine, Out, Parallel
from data_prep.settings.texts import Dedup, Documents, Overlap
from data_prep.settings.tokens import Shards, TokenizerSettings
from data_prep.settings.web import Links, Pages
from webtext_gpt.settings.base import Changes, keys, setting
from webtext_gpt.settings.kinds import Listed, OneOf, PathText, Whole

STAGES = ("links", "pages", "documents", "dedup", "overlap", "tokenizer", "shards")


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

    dumps: Annotated[list[str] | None, Listed(PathText(), null="only with from")] = setting(
        None, "dumps: files, folders or globs, [RS_2013-*.zst]", common=True
    )
    out: Out = setting(
        ..., "folder to create; holds a folder for each stage, and report/", common=True
    )
    first: Annotated[str, OneOf(STAGES)] = setting(
        "links", "first stage", common=True, alias="from"
    )
    inputs: Annotated[list[str] | None, Listed(PathText(), null="only with from")] = setting(
        None,
        "inputs of the first stage if it is not links: your links, archives or documents",
        common=True,
    )
    limit: Annotated[int | None, Whole(1, null="all")] = setting(
        None,
        "trial build: number of links, or of documents if from= is a stage after pages",
        common=True,
    )
    evalsets: Annotated[str | None, PathText(null="none")] = setting(
        None, "folder of evaluation sets, for overlap.tests.NAME=", common=True
    )
    webtext_domains: Annotated[str | None, PathText(null="no comparison")] = setting(
        None, "table of `count name` lines for the report, as published for WebText"
    )
    engine: Engine = keys(Engine)
    links: Annotated[dict[str, Any], Changes(Links, "links")] = setting(
        dict, "settings of links.py"
    )
    pages: Annotated[dict[str, Any], Changes(Pages, "pages")] = setting(
        dict, "settings of pages.py"
    )
    documents: Annotated[dict[str, Any], Changes(Documents, "documents")] = setting(
        dict, "settings of documents.py"
    )
    dedup: Annotated[dict[str, Any], Changes(Dedup, "dedup")] = setting(
        dict, "settings of dedup.py"
    )
    overlap: Annotated[dict[str, Any], Changes(Overlap, "overlap")] = setting(
        dict, "settings of overlap.py, which runs if test sets are named: overlap.tests.NAME=PATH"
    )
    tokenizer: Annotated[dict[str, Any], Changes(TokenizerSettings, "tokenizer")] = setting(
        dict, "settings of tokenizer.py"
    )
    shards: Annotated[dict[str, Any], Changes(Shards, "shards")] = setting(
        dict, "settings of shards.py"
    )
