"""The documented job script under a real SLURM of two nodes: pre-empted, requeued, finished."""

import json
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from webtext_gpt.training.loggers import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
REPOSITORY = Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost=host-a
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0
SlurmdParameters=config_overrides
KillWait=60
NodeName=host-a,host-b CPUs=16 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
Two = tuple[Any, Any]
SECONDS = 900
"""Longest time to wait for a start or an end on a busy machine."""


class Slurm:
    """A controller on the first host, and a node daemon on each."""

    def __init__(self, hosts: Two, folder: Path) -> None:
        self.hosts, self.folder = hosts, folder
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder))
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
        socket = folder / "munge.socket"
        hosts[0].start("munged", "--foreground", "--force", f"--socket={socket}", *files)
        _until(socket.exists, 30)
        self._start(hosts[0], "slurmctld", "-D")
        for host in hosts:
            self._start(host, "slurmd", "-D", "-N", host.name)
        _until(lambda: self("sinfo", "--noheader", "--format=%T %D").split() == ["idle", "2"], 60)

    def _start(self, host: Any, *command: str) -> "subprocess.Popen[str]":
        return host.start(*command, SLURM_CONF=str(self.folder / "slurm.conf"))

    def __call__(self, *command: str) -> str:
        """Run one of SLURM's commands, and return its output."""
        process = self._start(self.hosts[0], *command)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == 0, output
        return output

    def submit(self, script: str, *arguments: str, options: Sequence[str] = ()) -> str:
        """Submit a job script, and return the job's number."""
        path = self.folder / "job.sh"
        path.write_text(script)
        output = f"--output={self.folder}/%x-%j.log"
        return self("sbatch", "--parsable", output, *options, str(path), *arguments).strip()

    def states(self, job: str) -> list[str]:
        """States of a job's tasks."""
        shown = self("scontrol", "show", "job", job)
        return re.findall(r"JobState=(\w+)", shown)

    def log(self, job: str) -> str:
        """Output of a job."""
        return (self.folder / f"job.sh-{job}.log").read_text()

    def started(self, job: str) -> bool:
        """Whether a job has begun to write its output."""
        return (self.folder / f"job.sh-{job}.log").exists()

    def logs(self) -> str:
        """Output of all jobs."""
        return "".join(path.read_text() for path in self.folder.glob("job.sh-*.log"))


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture
def slurm(hosts: Two, tmp_path: Path) -> Slurm:
    """A cluster of two nodes, which ends with the hosts."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed (Debian's slurm-wlm and munge)")
    folder = tmp_path / "slurm"
    folder.mkdir(mode=0o755)
    return Slurm(hosts, folder)


@pytest.fixture
def script(documented: Callable[..., str], run_settings: list[str]) -> str:
    """The documented job script with a small model on CPUs; its arguments begin with `run_dir`."""
    settings = [*run_settings, "callbacks.checkpoints.save_every=1000000"]
    return documented(
        "srun",
        {
            "--ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=6": "--ntasks-per-node=1",
            "--time=24:00:00": "--time=01:00:00",
            "python train.py model=xl": f"python {REPOSITORY}/train.py",
            "trainer.devices=8": "trainer.devices=1",
            "data=shards data.path=/shared/shards": " ".join(settings),
            "/shared/runs/xl": '"$@"',
        },
    )


def _trains(run: Path) -> bool:
    metrics = run / "metrics.csv"
    return metrics.exists() and len(metrics.read_text().splitlines()) > 5


def test_pre_empted_requeued_finished(slurm: Slurm, script: str, tmp_path: Path) -> None:
    """USR1 comes as `--signal` sends it: to the processes of srun, not to the script."""
    run, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    settings = ["trainer.max_steps=150", "strategy=ddp"]
    job = slurm.submit(script, str(run), *settings)
    _until(lambda: _trains(run), SECONDS)
    slurm("scancel", "--signal=USR1", job)
    _until(lambda: "stopped by SIGUSR1; step " in slurm.log(job), 120)
    (stopped,) = re.findall(r"stopped by SIGUSR1; step (\d+) is saved", slurm.log(job))
    assert 0 < int(stopped) < 150
    assert not (run / "summary.json").exists()
    _until(lambda: slurm.states(job) in (["COMPLETED"], ["FAILED"]), SECONDS)
    assert slurm.states(job) == ["COMPLETED"], slurm.log(job)
    assert "Restarts=1 " in slurm("scontrol", "show", "job", job)
    other = slurm.submit(script, str(undisturbed), *settings)
    _until(lambda: slurm.states(other) in (["COMPLETED"], ["FAILED"]), SECONDS)
    ours, theirs = (read_metrics(folder / "metrics.csv") for folder in (run, undisturbed))
    assert [row["step"] for row in ours] == [*range(1, 151)]
    for column in ("step", "train_loss", "val_loss", "lr", "grad_norm"):
        assert [row.get(column) for row in ours] == [row.get(column) for row in theirs]


def test_a_cancelled_job_is_saved_and_not_requeued(
    slurm: Slurm, script: str, tmp_path: Path
) -> None:
    job = slurm.submit(script, str(tmp_path / "run"), "trainer.max_steps=1000000", "strategy=ddp")
    _until(lambda: _trains(tmp_path / "run"), SECONDS)
    slurm("scancel", job)
    _until(lambda: slurm.states(job) == ["CANCELLED"], 120)
    time.sleep(20)  # a requeued job would be pending or running by now
    assert slurm.states(job) == ["CANCELLED"]
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


@pytest.fixture
def without_text(hosts: Two, prose_file: Path) -> Path:
    """The text to train on, which the second host does not have."""
    hosts[1].mounts.append(f"mount -t tmpfs none {prose_file.parent}")
    return prose_file


def test_a_host_that_fails_before_it_joins_ends_the_job(
    without_text: Path, slurm: Slurm, script: str, tmp_path: Path
) -> None:
    """It is not requeued, as it would fail again."""
    job = slurm.submit(script, str(tmp_path / "run"), "trainer.max_steps=2", "strategy=ddp")
    cause = f"error: data.path={without_text}"
    _until(lambda: slurm.started(job) and cause in slurm.log(job), SECONDS)
    _until(lambda: slurm.states(job) != ["RUNNING"], 60)
    time.sleep(20)  # a requeued job would be pending or running by now
    assert slurm.states(job) == ["FAILED"], slurm.log(job)
    assert slurm.log(job).count("error: data.path=") == 1


def test_an_array_fetches_every_link_once(slurm: Slurm, hosts: Two, tmp_path: Path) -> None:
    """The example script, in two tasks over the two nodes."""
    corpus, site = tmp_path / "corpus", tmp_path / "site"
    (corpus / "links").mkdir(parents=True)
    site.mkdir()
    text = "The river was wide, and on the other bank a small house stood among old trees. " * 20
    urls = [f"http://{hosts[0].address}:8000/{n}.html" for n in range(8)]
    for n in range(8):
        (site / f"{n}.html").write_text(f"<html><body><p>Page {n}. {text}</p></body></html>")
    links = {
        "id": [f"id-{n}" for n in range(8)],
        "url": urls,
        "domain": [f"d{n}.org" for n in range(8)],
    }
    parquet.write_table(pyarrow.table(links), corpus / "links" / "links.parquet")
    server = ["-m", "http.server", "8000", f"--bind={hosts[0].address}", f"--directory={site}"]
    hosts[0].start(sys.executable, *server)
    script = (REPOSITORY / "examples" / "slurm" / "corpus.sh").read_text()
    environment = f"--export=ALL,CORPUS={corpus},PARTS=2,USER_AGENT=test"
    options = ["--array=1-2", "--cpus-per-task=1", f"--chdir={REPOSITORY}", environment]
    job = slurm.submit(script, "allow_private=true", options=options)
    ended = {"COMPLETED", "FAILED"}
    _until(lambda: {*slurm.states(job)} <= ended and len(slurm.states(job)) == 2, SECONDS)
    assert slurm.states(job) == ["COMPLETED"] * 2, slurm.logs()
    parts = [parquet.read_table(corpus / f"pages-{n}" / "status.parquet") for n in (1, 2)]
    assert all(part.num_rows for part in parts)  # of the eight domains each task has some
    fetched = [row for part in parts for row in part.to_pylist()]
    assert sorted(row["url"] for row in fetched) == urls
    assert {row["status"] for row in fetched} == {"fetched"}
    rows = [
        json.loads((corpus / f"documents-{n}" / "manifest.json").read_text())["rows_out"]
        for n in (1, 2)
    ]
    assert sum(rows) == 8
