"""A cluster without Ray: addresses, and the look at code and data. With it: tests/hosts."""

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.stage.cluster import join
from data_prep.stage.engine import start_engine
from data_prep.stage.nodes import code_hash, data_fault, node_check
from webtext_gpt.errors import UserError


def test_a_port_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]  # bound, and not listening
        began = time.monotonic()
        with pytest.raises(UserError, match=rf"127.0.0.1:{port}: nobody listens at port {port}"):
            join(f"127.0.0.1:{port}")
    assert time.monotonic() - began < 10


def test_an_unknown_engine(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'dask' is not known: expected native or ray"):
        start_engine({"name": "dask"}, [], tmp_path)


def test_a_machine_that_sees_the_data(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("abc")
    (tmp_path / "out").mkdir()
    with node_check([(tmp_path / "a", 3)], tmp_path / "out") as look:
        assert len(list((tmp_path / "out").iterdir())) == 1  # by which the folder is recognized
        assert look() == ""
    assert list((tmp_path / "out").iterdir()) == []


def test_a_machine_that_lacks_the_data(tmp_path: Path) -> None:
    here = tmp_path / "a"
    mark = tmp_path / "out/.mark"
    assert data_fault([(here, 3)], mark) == (
        f"does not see {tmp_path}: mount that folder there under the same path;"
    )
    here.write_text("abcd")
    assert data_fault([(here, 3)], mark).startswith(f"has another a in {tmp_path}: mount the same")
    here.write_text("abc")
    assert data_fault([(here, 3)], mark).startswith(f"does not see {tmp_path / 'out'}: mount")


def test_the_hash_of_the_code_is_that_of_its_text() -> None:
    """The hash covers the files that git lists and new ones, no more and no fewer."""
    import xxhash

    root = Path(__file__).parents[3]
    files = [*root.glob("data_prep/**/*.py"), *root.glob("src/webtext_gpt/**/*.py")]
    texts = {str(path.relative_to(root)).removeprefix("src/"): path.read_bytes() for path in files}
    ordered = sorted(texts, key=lambda name: Path(name).parts)
    expected = xxhash.xxh3_64_hexdigest(
        b"".join(f"{name}\n".encode() + texts[name] for name in ordered)
    )
    assert code_hash() == expected


@pytest.mark.parametrize(
    ("stage", "arguments", "message"),
    [
        ("pages", ["links=x"], "on several machines, give each a part of the sites: shard=1/4"),
        ("report", ["links=x"], "a report is made by one process, on this machine"),
        ("quality", ["good=x"], "the classifier is trained by one process, on this machine"),
    ],
)
def test_a_stage_of_one_process_says_so(
    stage: str, arguments: list[str], message: str,
    call: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:  # fmt: skip
    done = call(f"data_prep/{stage}.py", *arguments, "out=y", "engine=ray")
    assert done.returncode == 1
    assert "unknown key 'engine': " in done.stderr
    assert message in done.stderr


def test_an_address_without_a_port(call: Callable[..., "subprocess.CompletedProcess[str]"]) -> None:
    given = ["engine=ray", "engine.address=machine"]
    done = call("data_prep/shards.py", "documents=x", "tokenizer=y", "out=z", *given)
    assert "engine.address=machine: expected auto or HOST:PORT" in done.stderr
