"""Hosts on this machine: network namespaces whose virtual interfaces a switch connects.

Each host has a name, an address, a `/etc/hosts` and mounts of its own, and shares everything else.
Nothing but these namespaces and the loopback is reached. Without root, or where the kernel does not
allow namespaces, the tests are skipped.
"""

import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SUBNET = 10 * 256**3 + 203 * 256**2
"""First address of the private range 10.203.0.0/16."""
_numbers = itertools.count()


@dataclass
class Host:
    """One host. `names` are the lines of its `/etc/hosts`, `mounts` shell commands before start."""

    name: str
    address: str
    namespace: str
    hosts_file: Path
    interface: str = "eth0"
    mounts: list[str] = field(default_factory=list)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command on the host, in a process group of its own; its output is piped."""
        script = [
            f"hostname {self.name}",
            f"mount --bind {self.hosts_file} /etc/hosts",
            *self.mounts,
            'exec "$@"',
        ]
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--uts", "--mount"]
        process = subprocess.Popen(
            [*enter, "sh", "-ec", "\n".join(script), "sh", *command],
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def pids(self) -> list[int]:
        """Ids of all processes on the host."""
        listed = _ip("netns", "pids", self.namespace).split()
        return [int(pid) for pid in listed]

    def kill(self) -> None:
        """SIGKILL every process on the host, as when its power fails."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def disconnect(self) -> None:
        """Set the link down: packets are lost, and nobody is told."""
        _ip("-n", self.namespace, "link", "set", self.interface, "down")


def _ip(*arguments: str) -> str:
    return subprocess.run(
        ["ip", *arguments], check=True, capture_output=True, text=True, timeout=30
    ).stdout


@functools.cache
def _why_not() -> str | None:
    """Return why there can be no namespaces here; None if they work."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if missing := [name for name in ("ip", "nsenter", "unshare") if shutil.which(name) is None]:
        return f"{' and '.join(missing)} not installed (Debian's iproute2 and util-linux)"
    probe = f"wg-probe-{os.getpid()}"
    tried = subprocess.run(
        f"ip netns add {probe} && ip -n {probe} link add name veth0 type veth peer name veth1 && "
        f"ip -n {probe} link add switch type bridge; "
        f"code=$?; ip netns delete {probe}; exit $code",
        shell=True,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return None if tried.returncode == 0 else f"no network namespaces here: {tried.stderr.strip()}"


@contextlib.contextmanager
def connected_hosts(folder: Path, letters: str) -> Iterator[list[Host]]:
    """Make hosts `host-a`, ... that know each other by name, and remove them at the end."""
    unique = f"{os.getpid() % 100_000}-{next(_numbers)}"
    first = SUBNET + (os.getpid() + next(_numbers)) * 16 % 2**16
    switch = f"wg-switch-{unique}"
    hosts = []
    for number, letter in enumerate(letters, start=1):
        address = ".".join(str(byte) for byte in (first + number).to_bytes(4, "big"))
        file = folder / f"hosts-{letter}"
        hosts.append(Host(f"host-{letter}", address, f"wg-{letter}-{unique}", file))
    names = "".join(f"{host.address} {host.name}\n" for host in hosts)
    try:
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        for letter, host in zip(letters, hosts, strict=True):
            host.hosts_file.write_text(f"127.0.0.1 localhost\n{names}")
            _ip("netns", "add", host.namespace)
            _ip("-n", host.namespace, "link", "set", "lo", "up")
            peer = ["peer", "name", f"port-{letter}", "netns", switch]
            _ip("-n", host.namespace, "link", "add", "name", host.interface, "type", "veth", *peer)
            _ip("-n", switch, "link", "set", f"port-{letter}", "master", "switch", "up")
            _ip("-n", host.namespace, "address", "add", f"{host.address}/28", "dev", host.interface)
            _ip("-n", host.namespace, "link", "set", host.interface, "up")
        yield hosts
    finally:
        for host in hosts:
            with contextlib.suppress(subprocess.CalledProcessError):
                host.kill()
            for process in host.started:
                process.kill()
                process.communicate()
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", host.namespace)
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", switch)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, ...]]:
    """Two connected hosts, `host-a` and `host-b`."""
    if reason := _why_not():
        pytest.skip(reason)
    with connected_hosts(tmp_path, "ab") as made:
        yield tuple(made)


@pytest.fixture(scope="module")
def four_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Host]]:
    """Four connected hosts, `host-a` to `host-d`, for the tests of a module."""
    if reason := _why_not():
        pytest.skip(reason)
    with connected_hosts(tmp_path_factory.mktemp("hosts"), "abcd") as made:
        yield made


@pytest.fixture(scope="session")
def documented() -> Callable[..., str]:
    """`documented(word, {text: replacement})`: the shell block with `word` of how-to/devices.md.

    Sizes and paths of a cluster are replaced by those of a test; each has to occur.
    """

    def find(word: str, replacements: dict[str, str]) -> str:
        page = (REPOSITORY / "docs" / "how-to" / "devices.md").read_text()
        (block,) = (b for b in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) if word in b)
        for text, replacement in replacements.items():
            assert text in block, text
            block = block.replace(text, replacement)
        return block

    return find


@pytest.fixture(scope="session")
def run_settings(prose_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of the small run of contract 7, without its length, strategy and folder."""
    return [
        "data=files",
        f"data.path={prose_file}",
        "tokenizer.vocab_size=280",
        *("model.n_layer=2", "model.n_head=3", "model.n_embd=33", "model.block_size=32"),
        *("global_batch_tokens=256", "micro_batch_size=2"),
        "trainer.log_every_n_steps=1",
        *("trainer.accelerator=cpu", "trainer.precision=32-true"),
        *("validate_every=7", "callbacks.checkpoints.save_every=5"),
        "callbacks.samples.max_new_tokens=5",
        *("scheduler=constant", "scheduler.warmup_steps=2", "optimizer.lr=3e-3"),
        f"cache_dir={tmp_path_factory.mktemp('cache')}",
    ]
