"""`gs://` on Google's protocol, by an emulator, and `hf://` on the hub's, by a fake of ours."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from .fake_hub import fake_hub
from .object_store import free_port
from .test_object_store import DEDUP, failure, files, run

pytest.importorskip("gcsfs", reason="needs the extra remote")

BUCKET = "corpus-of-tests"
ROWS = [
    {"id": str(number), "text": " ".join(random.Random(number % 60).choices("abcdefgh", k=40))}
    for number in range(80)
]
"""Documents, of which the last 20 repeat the texts of the first."""
TEXTS = {
    f"texts/{name}.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()
    for name, rows in (("a", ROWS[:50]), ("b", ROWS[50:]))
}


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    for name, data in TEXTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def google(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Variables by which a process finds the emulator of Google's store, which has the texts."""
    pytest.importorskip("gcp_storage_emulator", reason="needs the extra dev")
    port, log = free_port(), tmp_path / "emulator.log"
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--host=127.0.0.1",
               f"--port={port}", "--in-memory", f"--default-bucket={BUCKET}"]  # fmt: skip
    with log.open("w") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(150):
            if "All services started" in log.read_text():
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        for name, data in TEXTS.items():
            address = f"http://127.0.0.1:{port}/upload/storage/v1/b/{BUCKET}/o"
            urlopen(
                Request(f"{address}?uploadType=media&name={quote(name, safe='')}", data)
            ).close()
        yield environment(port, tmp_path)
    finally:
        server.terminate()
        server.wait(timeout=10)


def objects(google: dict[str, str], prefix: str) -> dict[str, bytes]:
    """Return the contents of a folder of the bucket, except manifests, which hold times."""
    start = f"{google['STORAGE_EMULATOR_HOST']}/storage/v1/b/{BUCKET}/o"
    with urlopen(f"{start}?prefix={prefix}") as listing:
        names = [item["name"] for item in json.load(listing)["items"]]
    found = {}
    for name in names:
        if not name.endswith("manifest.json"):
            with urlopen(f"{start}/{quote(name, safe='')}?alt=media") as contents:
                found[name[len(prefix) :]] = contents.read()
    return found


def environment(port: int, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ, "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
        "WEBTEXT_GPT_CACHE": str(tmp_path / "cache"), "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }  # fmt: skip


@pytest.mark.slow
def test_a_stage_and_training_on_google_equal_those_on_disk(
    google: dict[str, str], inputs: Path, tmp_path: Path
) -> None:
    hashes = []
    for place in (str(inputs), f"gs://{BUCKET}"):
        run(DEDUP, f"documents=[{place}/texts]", f"out={place}/out", env=google, cwd=tmp_path)
        (tmp_path / "one").mkdir()
        env = {**google, "WEBTEXT_GPT_CACHE": str(tmp_path / "one")}
        run(
            "train.py", "data=files", f"data.path={place}/out", "tokenizer.vocab_size=270",
            "model=tiny", "model.n_layer=1", "model.block_size=32", "trainer.max_steps=2",
            f"run_dir=run_{len(hashes)}", env=env, cwd=tmp_path,
        )  # fmt: skip
        (tokens,) = (tmp_path / "one").glob("files-*/tokens-00000.bin")
        hashes.append((tokens.parent.name, tokens.read_bytes()))
        (tmp_path / "one").rename(tmp_path / f"cache_{len(hashes)}")
    assert hashes[0] == hashes[1]
    sent = objects(google, "out/")
    assert sent == files(inputs / "out")
    assert sent


def test_a_bucket_of_google_that_does_not_exist(google: dict[str, str], tmp_path: Path) -> None:
    said = failure(DEDUP, "documents=[gs://nobody/x]", "out=out", env=google, cwd=tmp_path)
    assert said.startswith("documents=gs://nobody/x does not exist")


@pytest.mark.slow
def test_google_cannot_be_reached(tmp_path: Path) -> None:
    env = environment(free_port(), tmp_path)
    said = failure(DEDUP, "documents=[gs://b/x]", "out=out", env=env, cwd=tmp_path)
    assert said.startswith("gs://b/x: the store does not answer within 20 seconds")


def hub_environment(endpoint: str, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hub"),
        "WEBTEXT_GPT_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0",
    }  # fmt: skip


@pytest.mark.slow
def test_a_dataset_of_the_hub_equals_its_files_on_disk(inputs: Path, tmp_path: Path) -> None:
    with fake_hub({"README.md": b"about", **TEXTS}) as endpoint:
        env = hub_environment(endpoint, tmp_path)
        for place, out in (
            (f"{inputs}/texts", "disk"),
            ("hf://datasets/me/texts/texts", "hub_out"),
        ):
            run(DEDUP, f"documents=[{place}]", f"out={out}", env=env, cwd=tmp_path)
        assert files(tmp_path / "disk") == files(tmp_path / "hub_out")
        manifest = json.loads((tmp_path / "hub_out/manifest.json").read_text())
        assert (manifest["rows_in"], manifest["rows_out"]) == (80, 60)
        for name, message in (("me/none", "repository not found"), ("me/texts/none", "not exist")):
            given = f"documents=[hf://datasets/{name}/x]"
            said = failure(DEDUP, given, "out=out", env=env, cwd=tmp_path)
            assert said.startswith(f"documents=hf://datasets/{name}/x does not exist")
            assert message in said


def test_the_hub_cannot_be_reached(tmp_path: Path) -> None:
    env = hub_environment(f"http://127.0.0.1:{free_port()}", tmp_path)
    said = failure(DEDUP, "documents=[hf://datasets/me/x]", "out=out", env=env, cwd=tmp_path)
    assert said.startswith("hf://datasets/me/x: the host cannot be reached")
