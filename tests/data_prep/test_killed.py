"""Five SIGKILLs at random moments of a stage, and a run to its end, give the undisturbed result."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, corpus_bytes, manifest_of
from .ngrams.overlaps import sentences
from .site import Site
from .test_dedup import jsonl, made_up
from .test_documents import archive, article
from .test_links import many_dumps
from .test_pages import LOCAL, archived, links, statuses

KILLS = 5

Arguments = list[str]


@contextmanager
def links_stage(folder: Path, prose: str) -> Iterator[Arguments]:
    yield [f"dumps=[{','.join(many_dumps(folder, 4, 30_000))}]", "workers=2"]


@contextmanager
def pages_stage(folder: Path, prose: str) -> Iterator[Arguments]:
    with Site(delay=0.02) as site:
        urls = [f"{site.root}/ok/{n}" for n in range(400)]
        source = links(folder / "links.parquet", [*urls, site.root + "/missing"])
        yield [f"links=[{source}]", *LOCAL, "politeness.concurrency=8", "archive_bytes=20000"]


@contextmanager
def documents_stage(folder: Path, prose: str) -> Iterator[Arguments]:
    for n in range(8):
        pages = [(f"http://x.com/{n}/{i}", article(n * 100 + i)) for i in range(40)]
        archive(folder / f"{n}.warc.gz", pages)
    yield [f"pages=[{folder}/*.warc.gz]", "workers=2", "keep_dropped=true"]


@contextmanager
def dedup_stage(folder: Path, prose: str) -> Iterator[Arguments]:
    yield [f"documents=[{jsonl(folder / 'd.jsonl', made_up(8000))}]"]


@contextmanager
def overlap_stage(folder: Path, prose: str) -> Iterator[Arguments]:
    for n in range(6):
        rows = [{"id": f"{n}-{i}", "text": sentences(n * 300 + i, 300)} for i in range(300)]
        jsonl(folder / f"{n}.jsonl", rows)
    (folder / "t.txt").write_text(sentences(3, 40))
    yield [f"train=[{folder}/*.jsonl]", f"tests.t={folder / 't.txt'}", "remove=true", "workers=2"]


@contextmanager
def shards_stage(folder: Path, prose: str) -> Iterator[Arguments]:
    from webtext_gpt.tokenizer import train_bpe

    train_bpe([prose], 280).save(folder / "tokenizer.json")
    for n in range(6):
        jsonl(folder / f"{n}.jsonl", [{"text": f"{n} {i} {prose[i * 90 :]}"} for i in range(60)])
    yield [f"documents=[{folder}/*.jsonl]", f"tokenizer={folder / 'tokenizer.json'}", "workers=2",
           "val_fraction=0.1"]  # fmt: skip


STAGES: dict[str, Callable[[Path, str], Any]] = {
    "links": links_stage, "pages": pages_stage, "documents": documents_stage,
    "dedup": dedup_stage, "overlap": overlap_stage, "shards": shards_stage,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", STAGES)
def test_five_kills_change_nothing(tmp_path: Path, prose: str, name: str) -> None:
    (tmp_path / "inputs").mkdir()
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    with STAGES[name](tmp_path / "inputs", prose) as arguments:
        command = [sys.executable, str(ROOT / f"data_prep/{name}.py"), *arguments]
        started = time.monotonic()
        subprocess.run([*command, f"out={calm}"], check=True, capture_output=True, timeout=300)
        seconds = time.monotonic() - started
        draw = random.Random(name)
        moments: list[str] = []
        while len(moments) < KILLS:
            share = (len(moments) + draw.random()) / KILLS  # spread over the whole run
            if not _killed([*command, f"out={rough}"], share * seconds):
                assert _result(name, rough) == _result(name, calm)
                rough.rename(tmp_path / f"finished-{len(list(tmp_path.iterdir()))}")
                continue  # it ended before its kill
            units = list(rough.glob("_work/done/*.json"))
            moments.append(f"{share:.0%}, {len(units)} units done")
        print(f"{name}, {seconds:.1f} s undisturbed, killed at:", "; ".join(moments))
        subprocess.run([*command, f"out={rough}"], check=True, capture_output=True, timeout=300)
    assert _result(name, rough) == _result(name, calm)


def _killed(command: list[str], seconds: float) -> bool:
    """Kill a stage after a time; return whether it was still running."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def _result(name: str, folder: Path) -> dict[str, Any]:
    """Return everything that must not depend on kills.

    Archives of pages hold the time of fetching and random identifiers, and pages are in the order
    of their arrival. So the pages, by URL, and their statuses are compared.
    """
    manifest = manifest_of(folder)
    for key in ("seconds", "manifest_sha256"):  # the latter is a hash of the former, too
        manifest.pop(key)
    if name != "pages":
        return {"manifest": manifest, **corpus_bytes(folder)}
    for key in ("bytes", "outputs"):
        manifest.pop(key, None)
    rows = {path.name for path in folder.iterdir() if not path.name.startswith("pages-")}
    assert rows == {"manifest.json", "status.parquet"}
    return {"manifest": manifest, "statuses": statuses(folder), "pages": archived(folder)}
