"""All stages in one command, starting from any stage, with manifests back to the dump."""

import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard

from data_prep.build import build, train_commands
from data_prep.settings import Build
from data_prep.stage.inputs import fingerprint
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.errors import UserError
from webtext_gpt.settings.train import Train
from webtext_gpt.tokenizer import train_bpe

from .conftest import ROOT, corpus_bytes, manifest_of
from .site import Site
from .test_end_to_end import article

Stage = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ["tokenizer.vocab_size=400", "shards.val_fraction=0.2"]


def dump_of(path: Path, root: str, pages: int) -> Path:
    rows = (
        {"id": f"p{n}", "url": f"{root}/page/{n}", "score": 9, "created_utc": n,
         "subreddit": "news", "is_self": False}
        for n in range(1, pages + 1)
    )  # fmt: skip
    path.write_bytes(zstandard.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    return path


def ancestors(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield manifest
    for source in manifest["sources"]:
        yield from ancestors(source)


@pytest.mark.slow
def test_from_a_real_dump_to_shards(
    tmp_path: Path, stage: Stage, realdata: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site on loopback is the proxy of the crawl, and answers for the hosts of the dump."""
    dump, out = realdata / "reddit/RS_v2_2005-06.xz", tmp_path / "corpus"

    def page(url: str) -> bytes:
        return article(f"/page/{int(hashlib.sha256(url.encode()).hexdigest(), 16) % 10_000}")

    with Site(page) as proxy:
        monkeypatch.setenv("http_proxy", proxy.root)
        done = stage(
            "build", f"dumps=[{dump}]", f"out={out}", "pages.proxies=true",
            "pages.politeness.delay=0", "pages.politeness.per_host=8", *SMALL,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    links, pages, documents, dedup, shards = (
        manifest_of(out / name) for name in ("links", "pages", "documents", "dedup", "shards")
    )
    assert (links["rows_in"], links["rejected"]["low karma"]) == (103, 20)  # counted by hand
    assert pages["rows_in"] == links["rows_out"] >= 75
    assert pages["rejected"] == {}
    assert documents["rows_out"] == pages["rows_out"] == len(set(proxy.hits) - robots_of(proxy))
    assert shards["rows_in"] == dedup["rows_out"] >= 75


def robots_of(site: Site) -> set[str]:
    return {path for path in site.hits if path.endswith("/robots.txt")}


@pytest.mark.slow
def test_from_a_dump_to_a_trained_model(tmp_path: Path, stage: Stage) -> None:
    out = tmp_path / "corpus"
    (tmp_path / "test.txt").write_text(
        "The harbour of number 97 was near the ferry and the morning. Nothing else is known here."
    )
    with Site(article) as site:
        dump = dump_of(tmp_path / "RS.zst", site.root, 24)
        arguments = [
            f"dumps=[{dump}]", f"out={out}", "links.allow_private=true", "limit=20",
            "pages.allow_private=true", "pages.politeness.delay=0", "pages.politeness.per_host=8",
            f"overlap.tests.own={tmp_path / 'test.txt'}", "overlap.remove=true",
            "overlap.threshold=500", *SMALL,
        ]  # fmt: skip
        done = stage("build", *arguments)
        assert done.returncode == 0, done.stderr
        hits = sum(site.hits.values())
        again = stage("build", *arguments)
        assert again.returncode == 0, again.stderr
        assert sum(site.hits.values()) == hits  # nothing is fetched twice
    for number, name in enumerate(
        ("links", "pages", "documents", "dedup", "overlap", "tokenizer", "shards"), start=1
    ):
        assert f"[{number}/7] {name}" in done.stdout
        assert manifest_of(out / name)["stage"] == name
    assert manifest_of(out / "limit")["rejected"] == {"over the limit": 4}
    assert manifest_of(out / "dedup")["rows_out"] == 20
    report = (out / "report/report.md").read_text()
    for part in ("### links", "### shards", "## Overlap with test sets", "| own |", "## Tokens"):
        assert part in report

    stages = [m["stage"] for m in ancestors(manifest_of(out / "shards"))]
    assert stages[0] == "shards"
    assert {"overlap", "dedup", "documents", "pages", "limit", "links", "tokenizer"} <= set(stages)
    links = next(m for m in ancestors(manifest_of(out / "shards")) if m["stage"] == "links")
    assert links["inputs"] == [fingerprint(dump)]

    command = next(line for line in done.stdout.splitlines() if "data=shards" in line).split()
    assert command[:3] == ["python", "train.py", "data=shards"]
    trained = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *command[2:], "model.n_layer=1", "model.n_head=2",
         "model.n_embd=32", "model.block_size=32", "global_batch_tokens=128",
         "trainer.max_steps=4", "trainer.accelerator=cpu", "trainer.precision=32-true",
         "callbacks.samples.max_new_tokens=3", f"run_dir={tmp_path / 'run'}"],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "run/checkpoints/last.ckpt").exists()


@pytest.fixture
def own_texts(tmp_path: Path) -> Path:
    path = tmp_path / "own.jsonl"
    rows = [{"id": n, "text": article(f"/page/{n}").decode()} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.slow
def test_own_documents_start_at_any_stage(tmp_path: Path, own_texts: Path, stage: Stage) -> None:
    for first in ("dedup", "tokenizer"):
        out = tmp_path / first
        done = stage("build", f"from={first}", f"inputs=[{own_texts}]", f"out={out}", "limit=30",
                     *SMALL)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"python train.py data=shards data.path={out / 'shards'}" in done.stdout
        shards = TokenShards(out / "shards")
        assert sum(shards.split(s).n_documents for s in ("train", "validation")) == 30
        kept = {r["id"] for p in (out / "limit").glob("*.parquet")
                for r in pq.read_table(p, columns=["id"]).to_pylist()}  # fmt: skip
        assert len(kept) == 30


@pytest.mark.slow
def test_a_killed_build_resumes_to_the_same_bytes(
    tmp_path: Path, own_texts: Path, stage: Stage, killed: Callable[..., int]
) -> None:
    arguments = ["from=dedup", f"inputs=[{own_texts}]", "workers=1", *SMALL]
    assert stage("build", f"out={tmp_path / 'whole'}", *arguments).returncode == 0
    assert killed("build", f"out={tmp_path / 'again'}", *arguments, kills=2, shortest=0.7,
                  longest=1.4)  # fmt: skip
    for name in ("dedup", "tokenizer", "shards"):
        assert corpus_bytes(tmp_path / "whole" / name) == corpus_bytes(tmp_path / "again" / name)


@pytest.mark.slow
def test_shards_alone_are_built_from_own_documents_and_tokenizer(
    tmp_path: Path, own_texts: Path, stage: Stage, prose: str
) -> None:
    own = train_bpe([prose], 300)
    own.save(tmp_path / "tokenizer.json")
    vocabulary = f"shards.tokenizer={tmp_path / 'tokenizer.json'}"
    done = stage("build", "from=shards", f"inputs=[{own_texts}]", f"out={tmp_path / 'out'}",
                 vocabulary, "shards.val_fraction=0.2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert TokenShards(tmp_path / "out/shards").tokenizer.hash == own.hash


def test_a_build_without_documents_names_the_stage_that_needs_some(
    tmp_path: Path, compose: Callable[..., Build]
) -> None:
    (tmp_path / "own.jsonl").write_text("")
    (tmp_path / "t.txt").write_text("one two three four five six seven eight nine")
    settings = compose(
        "build", f"out={tmp_path / 'out'}", f"inputs=[{tmp_path / 'own.jsonl'}]", "from=dedup",
        f"overlap.tests.t={tmp_path / 't.txt'}",
    )  # fmt: skip
    with pytest.raises(UserError, match=r"^tokenizer: .* hold no text to train on"):
        build(settings)
    for name in ("dedup", "overlap"):
        assert manifest_of(tmp_path / "out" / name)["rows_out"] == 0
    assert not (tmp_path / "out/shards").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"give dumps=\[FILES\]"),
        (["from=dedup"], r"from=dedup needs inputs=\[FILES\], which dedup.py reads as documents="),
        (["from=extract", "inputs=[x]"], "from=extract: expected links, pages"),
        (["dumps=[x]", "limit=0"], "limit=0: expected a whole number, 1 or above"),
        (["dumps=[x]", "links.min_carma=5"], "'links.min_carma'; did you mean links.min_karma"),
        (["dumps=[x]", "links=3"], "links=3: links holds several settings; give links.work"),
        (["dumps=[x]", "urls.unwrap=true"], r"'urls.unwrap'.* links.urls.unwrap or pages.urls.unw"),
        (["dumps=[x]", "links.urls.unwrap=maybe"], "links.urls.unwrap=maybe: expected true or fal"),
        (["dumps=[x]", "overlap.tests.t="], "error: overlap.tests.t=: expected a path"),
        (["dumps=[x]", "links.urls.hosts.a=[b,]"], r"error: links.urls.hosts.a=\[b,\]: expected a"),
        (["dumps=[x]", "dedup.rows=7"], "dedup: split=2 does not divide rows=7"),
        (["dumps=[x]", "pages.shard=3/2"], "pages: shard=3/2: expected i/n"),
        (["dumps=[x]", "overlap.remove=true"], "overlap.remove: overlap runs only with test sets"),
        (["from=dedup", "inputs=[x]", "links.min_karma=5"], "links.min_karma: links does not run"),
        (["from=overlap", "inputs=[x]"], "from=overlap needs a test set"),
        (["dumps=[x]", "from=pages", "inputs=[x]"], "from=pages reads inputs=, not dumps="),
        (["dumps=[x]", "inputs=[x]"], "inputs= needs from=STAGE"),
        (["dumps=[x]", "engine.address=auto"], "has an effect only with engine=ray"),
        (["dumps=[nothing]"], "dumps=nothing does not exist"),
        (
            ["dumps=[x]", "links.blocked_subreddits=none.txt"],
            "blocked_subreddits: the list of names cannot be read: none.txt does not exist",
        ),
        (
            ["dumps=[x]", "pages.urls.blocked_domains=no.txt"],
            "blocked_domains: the list of names cannot be read: no.txt does not exist",
        ),
        (["dumps=[x]", "overlap.tests.t=./none.txt"], r"tests.t=./none.txt does not exist"),
        (["dumps=[x]", "overlap.tests.t=x", "evalsets=none"], "evalsets=none is not a folder"),
        (["dumps=[x]", "tokenizer.gpt2=/"], "/ holds neither encoder.json"),
        (["dumps=[x]", "shards.tokenizer=/"], "/ holds neither encoder.json"),
        (
            ["dumps=[x]", "webtext_domains=none.txt"],
            "webtext_domains=none.txt: none.txt does not exist",
        ),
        (["from=shards", "inputs=[x]"], "from=shards needs shards.tokenizer="),
        (["dumps=[x]", "dedup.documents=[y]"], "dedup.documents=.*: build sets this key; it comes"),
        (["from=dedup", "inputs=[x]", "shards.out=y"], "shards.out=y: build sets this key"),
        (
            ["from=tokenizer", "inputs=[x]", "shards.tokenizer=y"],
            "shards.tokenizer=y replaces the tokenizer stage",
        ),
        (
            ["dumps=[x]", "shards.tokenizer=y", "tokenizer.vocab_size=300"],
            "replaces the tokenizer stage",
        ),
    ],
)
def test_bad_settings_are_refused_by_name(
    tmp_path: Path, call: Stage, arguments: list[str], message: str
) -> None:
    done = call("data_prep/build.py", f"out={tmp_path / 'out'}", *arguments)
    assert done.returncode == 1
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_given_tokenizer_replaces_its_stage(
    tmp_path: Path, own_texts: Path, prose: str, compose: Callable[..., Build]
) -> None:
    own = train_bpe([prose], 300)
    own.save(tmp_path / "tokenizer.json")
    settings = compose(
        "build", f"out={tmp_path / 'out'}", f"inputs=[{own_texts}]", "from=dedup",
        f"shards.tokenizer={tmp_path / 'tokenizer.json'}", "shards.val_fraction=0.2",
    )  # fmt: skip
    manifests = build(settings)
    assert list(manifests) == ["dedup", "shards"]
    assert TokenShards(tmp_path / "out/shards").tokenizer.hash == own.hash


@pytest.mark.parametrize(
    "folder", ["corpus", "my corpus", "a=b", "a,b", "it's", "[x]", "$HOME", "${x}", 'q"q', "~", "é"]
)
def test_the_train_commands_quote_any_folder_name(
    folder: str, compose: Callable[..., Train], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.setattr(sys, "argv", ["data_prep/build.py"])
    shards = Path(folder) / "shards"
    for command in train_commands(shards, 1):
        python, script, *overrides = shlex.split(command)
        assert (python, script) == ("python", "train.py")
        assert compose("train", *overrides).data.path == str(shards)
    monkeypatch.setattr(sys, "argv", ["bin/webtext-gpt"])
    assert train_commands(shards, 1)[0].startswith("webtext-gpt train data=shards ")
