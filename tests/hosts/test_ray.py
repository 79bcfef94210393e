"""The corpus on a Ray cluster of several hosts, started by examples/ray/cluster.sh as it stands."""

import bz2
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..data_prep.conftest import corpus_bytes
from ..data_prep.near_duplicates.documents import made_up
from ..data_prep.test_documents import archive, article
from ..data_prep.test_links import lines_of, row

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
REPOSITORY = Path(__file__).parents[2]
SCRIPT = str(REPOSITORY / "examples/ray/cluster.sh")
SMALL = ["--num-cpus=1", "--object-store-memory=100000000"]
SECONDS = 300
"""Longest time to wait on a busy machine."""


def _command(stage: str, *arguments: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / f"data_prep/{stage}.py"), *arguments]


class Cluster:
    """A Ray cluster of one core a host. `host-a` is its head, `host-d` joins for some tests."""

    def __init__(self, hosts: list[Any], folder: Path) -> None:
        self.hosts, self._folder = dict(zip("abcd", hosts, strict=True)), folder
        for letter, host in self.hosts.items():
            own = folder / f"ray-{letter}"  # of its sockets and logs
            own.mkdir()
            host.mounts += ["mkdir -p /tmp/ray", f"mount --bind {own} /tmp/ray"]

    def start(self, letter: str, *command: str, mounts: tuple[str, ...] = ()) -> Any:
        """Start a command on a host, with further mounts for it alone."""
        host = self.hosts[letter]
        before, host.mounts = host.mounts, [*host.mounts, *mounts]
        try:
            return host.start(
                *command,
                RAY_AUTH_MODE="token",
                RAY_AUTH_TOKEN_PATH=str(self._folder / "token"),
                PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                PYTHONPATH=f"{REPOSITORY}:{REPOSITORY / 'src'}",
            )
        finally:
            host.mounts = before

    def join(self, letter: str, mounts: tuple[str, ...] = ()) -> None:
        """Start Ray on a host by the script, and wait until it is a node."""
        how = ["head"] if letter == "a" else ["worker", "host-a"]
        process = self.start(letter, "bash", SCRIPT, *how, *SMALL, mounts=mounts)
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ray runtime started" in line:
                return
        pytest.fail("".join(said))

    @contextlib.contextmanager
    def fourth(self, *mounts: str) -> Iterator[None]:
        """Let `host-d` join in the block."""
        self.join("d", mounts)
        try:
            yield
        finally:
            self.hosts["d"].kill()

    def begin(self, stage: str, *arguments: str) -> Any:
        """Start a stage on the cluster, by the script."""
        return self.start("a", "bash", SCRIPT, "run", *_command(stage, *arguments))

    def run(self, stage: str, *arguments: str, code: int = 0) -> str:
        """Run a stage on the cluster and return what it prints."""
        process = self.begin(stage, *arguments)
        output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == code, output
        return str(output)

    def refused(self, letter: str, address: str, mounts: tuple[str, ...] = ()) -> str:
        """Run a stage at an address of no use; return its only message, which comes in 30 s."""
        source = self._folder / "one.jsonl"
        source.write_text('{"text": "some text"}\n')
        out = self._folder / "refused"
        command = _command("dedup", f"documents=[{source}]", f"out={out}", "engine=ray")
        began = time.monotonic()
        process = self.start(letter, *command, f"engine.address={address}", mounts=mounts)
        output, _ = process.communicate(timeout=SECONDS)
        took = time.monotonic() - began
        assert process.returncode == 1, output
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, output
        assert "Traceback" not in output
        assert not out.exists()
        assert took < 30
        return errors[0]


@pytest.fixture(scope="module")
def cluster(four_hosts: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A cluster of `host-a`, `host-b` and `host-c`, which ends with the hosts."""
    made = Cluster(four_hosts, tmp_path_factory.mktemp("ray"))
    for letter in "abc":
        made.join(letter)
    return made


def _alone(stage: str, *arguments: str) -> None:
    done = subprocess.run(
        _command(stage, *arguments), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr


def _hosts_of(output: str, label: str) -> dict[str, int]:
    """Return the number of tasks that each host ran, as a stage prints it."""
    (counts,) = re.findall(rf"^{label}: [\d,]+ tasks on Ray: (.*)$", output, re.MULTILINE)
    return {host: int(count) for host, count in (part.split() for part in counts.split(", "))}


def _write_inputs(folder: Path) -> None:
    rows = [row(n, f"http://a{n % 70}.com/{n % 150}", n % 9) for n in range(400)]
    for number in range(3):
        part = lines_of(rows[number::3] + rows[:20])
        (folder / f"RS_{number}.bz2").write_bytes(bz2.compress(part))
    for number in range(4):
        pages = [(f"http://a.com/{n}", article(n)) for n in range(number * 5, number * 5 + 5)]
        archive(folder / f"pages-{number}.warc.gz", pages)
    documents = made_up(400)
    for number in range(8):
        lines = [json.dumps(document) + "\n" for document in documents[number::8]]
        (folder / f"documents-{number}.jsonl").write_text("".join(lines))
    (folder / "test.txt").write_text(documents[5]["text"])


def test_every_stage_gives_the_bytes_of_one_machine(cluster: Cluster, tmp_path: Path) -> None:
    _write_inputs(tmp_path)
    documents = f"documents=[{tmp_path}/documents-*.jsonl]"
    stages = {
        "links": [f"dumps=[{tmp_path}/RS_*.bz2]"],
        "documents": [f"pages=[{tmp_path}/pages-*.warc.gz]"],
        "dedup": [documents, "part_characters=100000"],
        "overlap": [
            f"train=[{tmp_path}/documents-*.jsonl]", f"tests.t={tmp_path}/test.txt",
            "remove=true", "keep_filter=true",
        ],
        "tokenizer": [documents, "vocab_size=300", "sample_bytes=200000"],
        "shards": [documents, f"tokenizer={tmp_path}/alone/tokenizer"],
    }  # fmt: skip
    used = set()
    for stage, arguments in stages.items():
        _alone(stage, *arguments, f"out={tmp_path}/alone/{stage}")
        output = cluster.run(stage, *arguments, f"out={tmp_path}/ray/{stage}")
        used |= set(re.findall(r"host-[a-d]", output))
    alone, ray = (corpus_bytes(tmp_path / name) for name in ("alone", "ray"))
    assert {name.split("/")[0] for name in alone} == set(stages)
    assert alone.keys() == ray.keys()
    assert [name for name in alone if alone[name] != ray[name]] == []
    assert used == {"host-a", "host-b", "host-c"}


def test_filters_built_in_parts(cluster: Cluster, tmp_path: Path) -> None:
    _write_inputs(tmp_path)
    train = f"train=[{tmp_path}/documents-*.jsonl]"
    _alone("filters", train, f"out={tmp_path}/alone.bloom")
    cluster.run("filters", train, f"out={tmp_path}/ray.bloom", "workers=2")
    assert (tmp_path / "alone.bloom").read_bytes() == (tmp_path / "ray.bloom").read_bytes()


def _killed_in_the_middle(
    cluster: Cluster, stage: str, out: Path, units: int, *arguments: str
) -> str:
    """Run a stage; kill all processes of `host-d` once it has finished some units of work."""
    with cluster.fourth():
        process = cluster.begin(stage, *arguments, f"out={out}")
        deadline = time.monotonic() + SECONDS
        while len(list(out.glob("_work/done/*"))) < units:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        cluster.hosts["d"].kill()
        assert not (out / "manifest.json").exists()
        output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, output
    assert not list(out.rglob("*.partial"))
    return str(output)


def test_a_node_that_is_killed_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    _write_inputs(tmp_path)
    arguments = [f"documents=[{tmp_path}/documents-*.jsonl]", "part_characters=50000"]
    _alone("dedup", *arguments, f"out={tmp_path}/alone")
    output = _killed_in_the_middle(cluster, "dedup", tmp_path / "ray", 12, *arguments)
    assert "host-d" in _hosts_of(output, "reading documents")
    assert "host-d" not in _hosts_of(output, "writing documents")
    assert corpus_bytes(tmp_path / "alone") == corpus_bytes(tmp_path / "ray")


def test_novels_with_a_node_killed(cluster: Cluster, realdata: Path, tmp_path: Path) -> None:
    novels = realdata / "text/novels"
    parts = [f"documents=[{novels}]", "part_characters=1000000"]
    sets = realdata / "evalsets"
    tests = [f"train=[{novels}]", f"tests.wt2={sets}/wikitext2_test.raw", "keep_filter=true",
             f"tests.lambada={sets}/lambada_test.jsonl"]  # fmt: skip
    for stage, units, label, arguments in (
        ("dedup", 10, "reading documents", parts),
        ("overlap", 8, "reading train", tests),
    ):
        _alone(stage, *arguments, f"out={tmp_path}/alone/{stage}")
        out = tmp_path / "ray" / stage
        output = _killed_in_the_middle(cluster, stage, out, units, *arguments)
        hosts = _hosts_of(output, label)
        assert {"host-a", "host-b", "host-c"} <= set(hosts)
        assert sum(hosts.values()) == 40
    assert corpus_bytes(tmp_path / "alone") == corpus_bytes(tmp_path / "ray")


@pytest.mark.parametrize("hidden", ["inputs", "out"])
def test_a_node_that_does_not_see_a_folder_is_named(
    hidden: str, cluster: Cluster, tmp_path: Path
) -> None:
    folder = tmp_path / hidden
    for name in ("inputs", "out"):
        (tmp_path / name).mkdir()
    _write_inputs(tmp_path / "inputs")
    with cluster.fourth(f"mount -t tmpfs none {folder}"):
        began = time.monotonic()
        output = cluster.run(
            "dedup", f"documents=[{tmp_path}/inputs/documents-*.jsonl]",
            f"out={tmp_path}/out/dedup", code=1,
        )  # fmt: skip
        assert time.monotonic() - began < 30
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    where = folder if hidden == "inputs" else folder / "dedup"
    assert errors == [f"error: host-d does not see {where}: mount that folder there under the "
                      "same path;"]  # fmt: skip
    assert output.rstrip().endswith("or take the node out of the cluster: ray stop")
    assert "tasks on Ray" not in output  # before the work
    assert not (tmp_path / "out/dedup").exists()


def test_a_node_with_other_code_is_named(cluster: Cluster, tmp_path: Path) -> None:
    other = tmp_path / "dedup.py"
    shutil.copy(REPOSITORY / "data_prep/dedup.py", other)
    with other.open("a") as file:
        file.write("# another version\n")
    with cluster.fourth(f"mount --bind {other} {REPOSITORY}/data_prep/dedup.py"):
        said = cluster.refused("a", "host-a:6379")
    assert said.startswith(f"error: host-d has other code of this project in {REPOSITORY}")


def test_another_version_of_ray_is_named(cluster: Cluster, tmp_path: Path) -> None:
    """On the machine of the stage; a node with one cannot join."""
    import ray
    from ray import _version

    other = tmp_path / "_version.py"
    other.write_text(Path(_version.__file__).read_text().replace(ray.__version__, "2.58.0"))
    mounts = (f"mount --bind {other} {_version.__file__}",)
    said = cluster.refused("a", "host-a:6379", mounts)
    assert "ersion mismatch" in said
    assert "2.58.0" in said
    assert ray.__version__ in said
    process = cluster.start("d", "bash", SCRIPT, "worker", "host-a", *SMALL, mounts=mounts)
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert "2.58.0" in output


@pytest.mark.parametrize(
    ("letter", "address", "message"),
    [
        ("a", "host-a:6999", "nobody listens at port 6999 of host-a"),
        ("a", "host-z:6379", "no host of the name host-z is known"),
        ("a", "10.99.0.1:6379", "10.99.0.1 cannot be reached (Network is unreachable)"),
        ("d", "host-a:6379", "host-d is not a node of that cluster"),
        ("a", "host-a:10001", "no Ray head answers there within 20 s"),  # Ray's own other server
    ],
)
def test_a_bad_address_is_explained_in_30_s(
    letter: str, address: str, message: str, cluster: Cluster
) -> None:
    said = cluster.refused(letter, address)
    assert f"error: engine.address={address}: {message}" in said


def test_a_host_that_drops_packets(cluster: Cluster) -> None:
    """Its address leads to an interface that nobody has."""
    nobody = cluster.hosts["a"].address.rpartition(".")[0]
    address = f"{nobody}.{int(cluster.hosts['a'].address.rpartition('.')[2]) + 9}"
    lost = f"ip neigh replace {address} lladdr 02:00:00:00:00:99 dev eth0"
    said = cluster.refused("a", f"{address}:6379", (lost,))
    assert f"{address} does not answer within 5 s" in said


def test_a_cluster_with_another_token(cluster: Cluster, tmp_path: Path) -> None:
    """Ray alone would wait for minutes."""
    (tmp_path / "other").write_text("0" * 64)
    token = cluster._folder / "token"
    said = cluster.refused("a", "host-a:6379", (f"mount --bind {tmp_path}/other {token}",))
    assert "the cluster asks for another token" in said


def test_bash_can_read_the_script() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True, timeout=10)
