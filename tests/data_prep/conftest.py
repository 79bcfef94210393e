import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .ngrams.overlaps import sentences

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stage() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python data_prep/<stage>.py key=value ...` and return the finished process."""

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / f"data_prep/{name}.py"), *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def killed() -> Callable[..., int]:
    """Run a stage, kill it after random waits, and run it again until it ends; count the kills."""

    def run(name: str, *arguments: str, kills: int, shortest: float, longest: float) -> int:
        rng, times = random.Random(name), 0
        command = [sys.executable, str(ROOT / f"data_prep/{name}.py"), *arguments]
        while True:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                start_new_session=True,
            )  # fmt: skip
            try:
                wait = rng.uniform(shortest, longest) if times < kills else 300
                output, _ = process.communicate(timeout=wait)
            except subprocess.TimeoutExpired:
                assert times < kills, f"{name} did not end"
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
                times += 1
                time.sleep(0.1)
                continue
            assert process.returncode == 0, output
            return times

    return run


def corpus_bytes(folder: Path) -> dict[str, bytes]:
    """Read every file of a corpus except the manifest, whose `seconds` differ between runs."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def manifest_of(folder: Path) -> dict:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows_in"] == manifest["rows_used"] + sum(manifest["rejected"].values())
    return manifest


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Sixty documents of 200 words, in Parquet and JSONL."""
    rows = [{"id": f"d{n}", "text": sentences(n, 200), "url": f"u{n}"} for n in range(60)]
    folder = tmp_path / "train"
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows[:30]), folder / "a.parquet")
    lines = [json.dumps(row) + "\n" for row in rows[30:]]
    (folder / "b.jsonl").write_text("".join(lines))
    return folder
