"""The corpus and training from and to S3: the same bytes as on disk, and clear refusals."""

import hashlib
import http.server
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .object_store import SECRET, environment, free_port, s3_server

pytest.importorskip("s3fs", reason="needs the extra remote")
pytest.importorskip("moto", reason="needs moto[server], of the extra dev")

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "corpus-of-tests"

Environment = dict[str, str]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with s3_server(tmp_path_factory.mktemp("s3") / "server.log") as port:
        yield port


@pytest.fixture(scope="module")
def bucket(port: int, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The client of the machine that owns the bucket: boto3, not the code under test."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
        aws_access_key_id="a", aws_secret_access_key="b",
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    return client


def run(script: str, *arguments: str, env: Environment, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        env=env, cwd=cwd, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert SECRET not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def failure(script: str, *arguments: str, env: Environment, cwd: Path) -> str:
    """Return the one message with which a command ends in under 30 seconds of the store's time."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        env=env, cwd=cwd, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert time.monotonic() - started < 60  # the start of Python on a busy machine, too
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr.count("error: ") == 1
    return done.stderr.partition("error: ")[2].strip()


def objects(client: Any, prefix: str) -> dict[str, bytes]:
    """Return the contents of a folder of the bucket, except manifests, which hold times."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {
        key[len(prefix) :]: client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        for key in keys
        if not key.endswith("manifest.json")
    }


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, bucket: Any) -> Path:
    """A dump and documents, here and in the bucket; every tenth document is there twice."""
    folder = tmp_path_factory.mktemp("inputs")
    draw = random.Random(1)
    words = [f"word{number}" for number in range(400)]
    posts = [
        {"id": f"p{n}", "url": f"http://site{n % 40}.org/{n % 70}", "score": n % 9,
         "created_utc": 1000 + n, "subreddit": "a", "is_self": False}
        for n in range(500)
    ]  # fmt: skip
    texts = [" ".join(draw.choices(words, k=60)) for _ in range(300)]
    documents = [{"id": str(n), "text": t} for n, t in enumerate(texts + texts[::10])]
    for name, rows in (("dumps/RS_2013-01.jsonl", posts), ("texts/a.jsonl", documents[:200]),
                       ("texts/b.jsonl", documents[200:])):  # fmt: skip
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        bucket.upload_file(str(path), BUCKET, name)
    return folder


STAGES = (
    ("links", "dumps=[{}/dumps/RS_*.jsonl]"),
    ("dedup", "documents=[{}/texts]"),
    ("tokenizer", "documents=[{}/out/dedup] vocab_size=300"),
    ("shards", "documents=[{}/out/dedup] tokenizer={}/out/tokenizer val_fraction=0.1"),
)


def build(place: str, env: Environment, cwd: Path) -> None:
    for stage, arguments in STAGES:
        given = arguments.format(place, place).split()
        run(f"data_prep/{stage}.py", *given, f"out={place}/out/{stage}", env=env, cwd=cwd)


@pytest.mark.slow
def test_links_dedup_shards_and_training_on_s3_equal_those_on_disk(
    inputs: Path, bucket: Any, port: int, tmp_path: Path
) -> None:
    at_first, later = (environment(port, tmp_path / name) for name in ("cache", "another"))
    build(str(inputs), at_first, tmp_path)
    build(f"s3://{BUCKET}", at_first, tmp_path)
    for stage, _ in STAGES:
        expected = files(inputs / "out" / stage)
        assert objects(bucket, f"out/{stage}/") == expected
        assert expected  # the stage wrote something

    # A second machine, with an empty cache, trains on the shards.
    figures = []
    for where, name in ((str(inputs), "disk"), (f"s3://{BUCKET}", "s3")):
        run(
            "train.py", "data=shards", f"data.path={where}/out/shards", "model=tiny",
            "model.n_layer=1", "model.block_size=32", "trainer.max_steps=3", f"run_dir={name}",
            env=later, cwd=tmp_path,
        )  # fmt: skip
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        figures.append({key: value for key, value in summary.items() if "loss" in key})
    assert figures[0] == figures[1]
    assert figures[0]
    assert f"s3://{BUCKET}/out/shards" in (tmp_path / "s3/config.yaml").read_text()
    for path in (tmp_path / "s3").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


KINDS = ("a.txt", "b.jsonl", "c.parquet")


@pytest.mark.slow
def test_training_and_finetuning_on_files_of_s3_equal_those_on_files_here(
    bucket: Any, port: int, tmp_path: Path
) -> None:
    """Text, JSONL and Parquet, and a task's rows; the second machine has an empty cache."""
    draw = random.Random(2)
    texts = [" ".join(draw.choices(["red", "blue", "green", "sky"], k=60)) for _ in range(90)]
    here = tmp_path / "files"
    here.mkdir()
    (here / "a.txt").write_text("\n\n".join(texts[:30]))
    (here / "b.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts[30:60]))
    pq.write_table(pa.table({"text": texts[60:]}), here / "c.parquet")
    rows = [f"{text}\t{text.count('sky') % 2}" for text in texts]
    for name, some in (("train.tsv", rows[:60]), ("val.tsv", rows[60:])):
        (here / name).write_text("\n".join(["text\tlabel", *some]) + "\n")
    for path in here.iterdir():
        bucket.upload_file(str(path), BUCKET, f"kinds/{path.name}")
    figures = []
    for where, name in ((str(here), "disk"), (f"s3://{BUCKET}/kinds", "s3")):
        env = environment(port, tmp_path / f"cache_{name}")
        given = ",".join(f"{where}/{kind}" for kind in KINDS)
        run(
            "train.py", "data=files", f"data.path=[{given}]", "tokenizer.vocab_size=270",
            "model=tiny", "model.n_layer=1", "model.block_size=64", "trainer.max_steps=3",
            f"run_dir=run_{name}", env=env, cwd=tmp_path,
        )  # fmt: skip
        (tokens,) = (tmp_path / f"cache_{name}").glob("files-*/tokens-00000.bin")
        digest = hashlib.sha256(tokens.read_bytes()).hexdigest()
        run(
            "finetune.py", "checkpoint=run_disk", "task=file", f"task.train={where}/train.tsv",
            f"task.validation={where}/val.tsv", "trainer.max_steps=2", f"run_dir=tuned_{name}",
            env=env, cwd=tmp_path,
        )  # fmt: skip
        summaries = [
            json.loads((tmp_path / f"{kind}_{name}/summary.json").read_text())
            for kind in ("run", "tuned")
        ]
        losses = [{k: v for k, v in one.items() if "loss" in k} for one in summaries]
        assert all(losses)
        figures.append((tokens.parent.name, digest, losses))
    assert figures[0] == figures[1]


class _Refusing(http.server.BaseHTTPRequestHandler):
    """A store that knows the caller and allows nothing, as S3 answers it."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_GET  # noqa: N815 - named by http.server

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def refusing() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a host that accepts a connection and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield int(listener.getsockname()[1])


class _Stalling(_Refusing):
    """A store with the document `x.jsonl`, of which it sends a part; it takes plans only."""

    protocol_version = "HTTP/1.1"  # which lets a client ask whether to send (100-continue)
    began = 0.0

    def do_HEAD(self) -> None:
        if "x.jsonl" in self.path:
            self._answer(200, {"Content-Length": "1000000", "ETag": '"1"'})
        else:
            self._answer(404, {"Content-Length": "0"})

    def do_GET(self) -> None:
        if "list-type" in self.path:
            body = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
            self._answer(200, {"Content-Length": str(len(body)), "Content-Type": "text/xml"})
            self.wfile.write(body)
            return
        self._answer(200, {"Content-Length": "1000000", "ETag": '"1"'})
        self.wfile.write(b"{" * 1000)
        self._stall()

    def do_PUT(self) -> None:
        if "plan.json" not in self.path:
            self._stall()
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {"Content-Length": "0", "ETag": '"2"'})

    def do_DELETE(self) -> None:
        self._answer(204, {})

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _stall(self) -> None:
        self.wfile.flush()
        type(self).began = type(self).began or time.monotonic()
        time.sleep(60)


@pytest.fixture
def stalling() -> Iterator[int]:
    """The port of a store whose transfers stop; `_Stalling.began` is when the first one did."""
    _Stalling.began = 0.0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Stalling)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


DEDUP = "data_prep/dedup.py"


@pytest.mark.slow
def test_a_bucket_that_does_not_exist(port: int, inputs: Path, tmp_path: Path) -> None:
    env = environment(port, tmp_path / "cache")
    said = failure(DEDUP, "documents=[s3://nobody/x]", "out=out", env=env, cwd=tmp_path)
    assert said.startswith("documents=s3://nobody/x does not exist")
    assert "bucket does not exist" in said
    out = "out=s3://nobody/out"
    said = failure(DEDUP, f"documents=[{inputs}/texts]", out, env=env, cwd=tmp_path)
    assert said.startswith("s3://nobody/out")
    assert "bucket does not exist" in said


def test_access_that_is_refused(refusing: int, tmp_path: Path) -> None:
    env = environment(refusing, tmp_path / "cache")
    said = failure(DEDUP, "documents=[s3://secret/x]", "out=out", env=env, cwd=tmp_path)
    assert said.startswith("s3://secret/x: access is refused")
    assert "credentials" in said


@pytest.mark.slow
def test_credentials_that_are_missing(port: int, tmp_path: Path) -> None:
    env = environment(port, tmp_path / "cache")
    env = {k: v for k, v in env.items() if k not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    env["HOME"] = str(tmp_path)  # no ~/.aws
    said = failure(DEDUP, f"documents=[s3://{BUCKET}/x]", "out=out", env=env, cwd=tmp_path)
    assert said.startswith(f"s3://{BUCKET}/x: no credentials are found")


def test_a_host_that_cannot_be_reached(tmp_path: Path) -> None:
    port = free_port()
    env = environment(port, tmp_path / "cache")
    said = failure(DEDUP, "documents=[s3://b/x]", "out=out", env=env, cwd=tmp_path)
    assert said.startswith("s3://b/x: the host cannot be reached")
    assert f"127.0.0.1:{port}" in said


@pytest.mark.slow
def test_a_host_that_does_not_answer(silent: int, tmp_path: Path) -> None:
    env = environment(silent, tmp_path / "cache")
    said = failure(DEDUP, "documents=[s3://b/x]", "out=out", env=env, cwd=tmp_path)
    assert said.startswith("s3://b/x: ")
    assert "cannot be reached" in said or "does not answer" in said
    assert f"127.0.0.1:{silent}" in said


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["download", "upload"])
def test_a_transfer_that_stalls(
    stalling: int, inputs: Path, tmp_path: Path, direction: str
) -> None:
    env = environment(stalling, tmp_path / "cache")
    given = (
        ("s3://b/x.jsonl", "out") if direction == "download" else (inputs / "texts", "s3://b/out")
    )
    said = failure(DEDUP, f"documents=[{given[0]}]", f"out={given[1]}", env=env, cwd=tmp_path)
    assert time.monotonic() - _Stalling.began < 30
    assert said.startswith("s3://b/")
    assert "cannot be reached" in said
    assert f"127.0.0.1:{stalling}" in said


@pytest.mark.parametrize(
    ("script", "arguments", "key"),
    [
        ("train.py", ["run_dir=s3://b/run"], "run_dir"),
        ("train.py", ["cache_dir=s3://b/cache"], "cache_dir"),
        ("train.py", ["resume=s3://b/run"], "resume"),
        ("eval.py", ["checkpoint=s3://b/run", "tasks=[lambada]"], "checkpoint"),
        ("eval.py", ["checkpoint=x", "tasks=[lambada]", "data_dir=s3://b/sets"], "data_dir"),
        ("finetune.py", ["checkpoint=s3://b/run", "task=sst2"], "checkpoint"),
        ("data_prep/filters.py", ["train=[x]", "out=s3://b/f.bloom"], "out"),
    ],
)
def test_an_address_that_is_not_supported(
    script: str, arguments: list[str], key: str, tmp_path: Path
) -> None:
    said = failure(script, *arguments, env=dict(os.environ), cwd=tmp_path)
    assert said.startswith(f"{key}=s3://b/")
    assert "address" in said
    assert list(tmp_path.iterdir()) == []  # no folder named s3:
