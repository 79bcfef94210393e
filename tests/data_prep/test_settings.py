"""Settings of the corpus commands: names of files as they are, and wrong values refused by key."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from data_prep.settings import Dedup, Links, Overlap
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import train_bpe

from .conftest import ROOT, manifest_of
from .test_end_to_end import article

Call = Callable[..., subprocess.CompletedProcess[str]]
AWKWARD = [
    "a b", "a,b", "a=b", "[x]", "[x", "it's", 'q"q"', "'q'", "$HOME", "${x}", "100%", "%s", "~",
    "~a", "é", "文", "#x", "{a: b}", "-x", "a:b", "*", "null", "a&b;c", "(x)", " x ",
]  # fmt: skip


def quoted(name: str) -> str:
    return '"' + name.replace('"', '\\"') + '"'


def dump(path: Path, number: int) -> None:
    row = {"id": f"p{number}", "url": f"http://a.com/{number}", "score": 5, "created_utc": 1}
    path.write_text(json.dumps({**row, "subreddit": "a", "is_self": False}) + "\n")


def archive(path: Path, number: int) -> None:
    headers = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        page = io.BytesIO(article(f"/page/{number}"))
        url = f"http://a.com/{number}"
        writer.write_record(
            writer.create_warc_record(url, "response", payload=page, http_headers=headers)
        )


def documents(path: Path, number: int) -> None:
    rows = ({"id": f"{number}-{n}", "text": f"Number {number} and {n}."} for n in range(5))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("stage", "key", "suffix", "write", "more"),
    [
        ("links", "dumps", ".ndjson", dump, ["workers=1"]),
        pytest.param(
            *("documents", "pages", ".warc.gz", archive, ["workers=1"]), marks=pytest.mark.slow
        ),
        ("dedup", "documents", ".jsonl", documents, []),
        ("shards", "documents", ".jsonl", documents,
         ["workers=1", "tokenizer=[t], $HOME 'é' 100%", "val_fraction=0.3"]),
    ],
)  # fmt: skip
def test_files_of_any_name_are_read(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, prose: str, stage: str, key: str,
    suffix: str, write: Callable[[Path, int], None], more: list[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    train_bpe([prose], 300).save(tmp_path / "[t], $HOME 'é' 100%")
    names = [f"{name}{suffix}" for name in AWKWARD]
    for number, name in enumerate(names):
        write(tmp_path / name, number)
    out = "[o], a=b ${x} 'é' 100%"
    done = call(
        f"data_prep/{stage}.py", f"{key}=[{','.join(map(quoted, names))}]", f"out={out}", *more
    )
    assert done.returncode == 0, done.stderr
    assert {file["name"] for file in manifest_of(tmp_path / out)["inputs"]} == set(names)

    (tmp_path / "all, 'of' [them]").mkdir()
    single = f"all, 'of' [them]/a=b, [x] $HOME ${{y}} 'q' \"r\" 100% é{suffix}"
    write(tmp_path / single, 99)
    done = call(f"data_prep/{stage}.py", f"{key}={single}", "out=s3:one", *more)
    assert done.returncode == 0, done.stderr
    assert [f["name"] for f in manifest_of(tmp_path / "s3:one")["inputs"]] == [Path(single).name]
    done = call("data_prep/report.py", f"{stage}=s3:one", "out=report")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", AWKWARD)
def test_one_file_needs_no_brackets(
    tmp_path: Path, compose: Callable[..., Links], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    settings = compose("links", f"dumps={name}", f"out={name}-out")
    assert (settings.dumps, settings.out) == ([name], f"{name}-out")


def test_a_test_set_may_have_several_files(compose: Callable[..., Overlap]) -> None:
    settings = compose("overlap", "train=a", "out=b", "tests.one=a,b", "tests.two=[a,'b,c']")
    assert settings.tests == {"one": ["a,b"], "two": ["a", "b,c"]}


BAD = [
    ("links", "min_karma", ["many", "1.5", "", "nan", "[1,2]", "true"]),
    ("links", "karma", ["mean", ""]),
    ("links", "over_18", ["maybe", "2", ""]),
    ("links", "dumps", ["", "[]"]),
    ("links", "urls.unwrap", ["perhaps"]),
    ("links", "blocked_subreddits", [""]),
    ("links", "workers", ["0", "-1", "two"]),
    ("pages", "shard", ["3/2", "0/1", "1", "1/0", "a/b"]),
    ("pages", "politeness.delay", ["-1", "inf", "soon"]),
    ("pages", "politeness.concurrency", ["0", "-5", "1.5"]),
    ("documents", "text.min_language", ["2", "-0.1", "nan"]),
    ("documents", "page_seconds", ["0", "-1", "inf"]),
    ("dedup", "threshold", ["0", "1.1", "nan", "[0.5]"]),
    ("dedup", "split", ["3", "0"]),
    ("dedup", "engine", ["spark"]),
    ("dedup", "engine.address", ["auto"]),
    ("overlap", "direction", ["sideways"]),
    ("overlap", "rate", ["0", "0.6", "2"]),
    ("overlap", "tests.t", [""]),
    ("filters", "merge", ["[a.bloom]"]),
    ("filters", "ngrams", ["0", "2**30"]),
    ("tokenizer", "vocab_size", ["256", "1e3x"]),
    ("tokenizer", "seed", ["-1"]),
    ("shards", "val_fraction", ["0", "1", "5%"]),
    ("report", "nothing", ["1"]),
]
INPUTS = {
    "links": ["dumps=in"], "pages": ["links=in"], "documents": ["pages=in"],
    "dedup": ["documents=in"], "overlap": ["train=in", "tests.u=in"], "filters": ["train=in"],
    "tokenizer": ["documents=in"], "shards": ["documents=in", "tokenizer=in"], "report": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "key", "value"), [(stage, key, value) for stage, key, vs in BAD for value in vs]
)
def test_a_wrong_value_is_refused_by_key_and_nothing_is_written(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, stage: str, key: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(f"data_prep/{stage}.py", *INPUTS[stage], "out=out", f"{key}={value}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert key in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        ("dedup", ["documents=in", "rows=6", "split=4"], "split=4 does not divide rows=6"),
        ("filters", [], "give either train=[FILES] to build a filter or merge=[FILTERS]"),
        ("filters", ["train=in", "merge=in"], "give either train=[FILES]"),
        ("filters", ["merge=in", "ngrams=9"], "ngrams=9: merge= keeps the size of its filters"),
        ("tokenizer", [], "give documents=[FILES] to train on, or gpt2=FOLDER"),
        ("overlap", ["train=in"], "no test set: give tests.NAME=PATH"),
        ("overlap", ["tests.t=in"], "give train=[FILES], or with direction=train give filter=FILE"),
        ("overlap", ["tests.t=in", "filter=in"], "give train=[FILES]"),
        ("overlap", ["tests.t=in", "train=in", "direction=test", "filter=in"],
         "filter: direction=test uses no filter"),
        ("overlap", ["tests.t=in", "train=in", "filter=in", "keep_filter=true"],
         "keep_filter=true keeps a filter that is built here"),
        ("report", [], "nothing to report on: give links=FOLDER"),
        ("links", ["dumps=in", "karma=sum", "karmas=max"], "unknown key 'karmas'"),
        ("links", ["dumps=~nobody-has-this/x"], "dumps=~nobody-has-this/x does not exist"),
        ("links", ["dumps=**x"], "dumps=**x matches no file"),
        ("links", [], "dumps has no value; give dumps=..."),
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_refused_and_nothing_is_written(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, stage: str, arguments: list[str],
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = call(f"data_prep/{stage}.py", *arguments, "out=out")
    assert done.returncode == 1
    assert f"error: {message}" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_plain_values(compose: Callable[..., Dedup]) -> None:
    settings = compose("dedup", "documents=a", "out=b", "threshold=1", "ngram=1_000")
    assert (settings.documents, settings.threshold, settings.ngram) == (["a"], 1.0, 1000)
    assert type(settings.threshold) is float


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["documents=[]"], "documents=.*expected a path or a list of them"),
        (["ngram=many"], "ngram=many: expected a whole number"),
        (["ngram=true"], "ngram=true: expected a whole number"),
        (["threshold=null"], "threshold=null: expected a number"),
        (["workers=two"], "workers=two: expected a whole number"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_key(
    compose: Callable[..., Any], wrong: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        compose("dedup", "documents=a", "out=b", *wrong)


def test_help_imports_nothing_that_the_work_needs() -> None:
    stages = [*INPUTS, "build"]
    code = f"""
import contextlib, io, runpy, sys
for stage in {stages}:
    sys.argv = [stage, "--help"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path(f"{ROOT}/data_prep/{{stage}}.py", run_name="__main__")
print(*{{name.partition(".")[0] for name in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"daft", "torch", "pyarrow", "scrapy", "numpy", "hydra", "omegaconf", "tokenizers"}
    loaded = set(done.stdout.split())
    assert "pydantic" in loaded
    assert not heavy & loaded
