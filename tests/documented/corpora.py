"""A dump whose links lead to a site of the test, and the stages' folders made from it."""

import json
from pathlib import Path

from tests.data_prep.test_documents import archive
from tests.data_prep.test_end_to_end import article
from tests.documented.inputs import Inputs, makes
from tests.documented.tables import changes_of

N_LINKS = 24


def _stage(inputs: Inputs, command: str) -> None:
    """Run a command of the pages, with what its table adds."""
    added = [word for change in changes_of(command) for word in change.arguments]
    inputs.run(*command.split(), *added)


@makes("RS_2013-01.zst")
def _dump(inputs: Inputs, path: Path) -> None:
    import zstandard

    posts = (
        {"id": f"p{n}", "url": f"{inputs.site}/page/{n}", "score": 60 if n % 2 else 3,
         "created_utc": 1357000000 + n, "subreddit": "news", "is_self": False, "over_18": False,
         "title": "x"}
        for n in range(1, N_LINKS + 1)
    )  # fmt: skip
    lines = "".join(f"{json.dumps(post)}\n" for post in posts)
    path.write_bytes(zstandard.compress(lines.encode()))


@makes("corpus", uses=["RS_2013-01.zst"])
def _corpus(inputs: Inputs, path: Path) -> None:
    _stage(inputs, "python data_prep/build.py dumps=[RS_2013-01.zst] out=corpus")


@makes(*(f"corpus/{stage}" for stage in ("links", "pages", "documents", "dedup", "tokenizer",
                                         "shards")))  # fmt: skip
def _folder_of_a_stage(inputs: Inputs, path: Path) -> None:
    inputs.path("corpus")


@makes("corpus/quality", uses=["wanted.jsonl", "unwanted.jsonl"])
def _quality(inputs: Inputs, path: Path) -> None:
    _stage(inputs, "python data_prep/quality.py good=[wanted.jsonl] bad=[unwanted.jsonl] "
                   "out=corpus/quality")  # fmt: skip


@makes("corpus/scored", uses=["corpus/pages", "corpus/quality"])
def _scored(inputs: Inputs, path: Path) -> None:
    _stage(inputs, "python data_prep/documents.py pages=[corpus/pages] out=corpus/scored "
                   "quality.model=corpus/quality quality.percentile=20")  # fmt: skip


@makes("data.path=shards", uses=["corpus/shards"])
def _shards(inputs: Inputs, path: Path) -> None:
    path.symlink_to(inputs.path("corpus/shards"))


@makes("crawl")
def _crawl(_: Inputs, path: Path) -> None:
    path.mkdir()
    numbers = range(1, N_LINKS + 1)
    pages = [(f"http://a.example/page/{n}", article(f"/page/{n}")) for n in numbers]
    archive(path / "a.warc.gz", pages)


@makes("1.bloom", "2.bloom", "train.bloom", uses=["part1", "part2"])
def _filter(inputs: Inputs, path: Path) -> None:
    part = "part2" if path.name == "2.bloom" else "part1"
    _stage(inputs, f"python data_prep/filters.py train=[{part}] out={path.name}")
