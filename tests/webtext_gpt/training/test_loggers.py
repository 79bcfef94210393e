"""Weights & Biases: all offline parts of a run are uploaded together."""

import shlex
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.training.loggers import wandb, wandb_sync


def test_the_upload_names_every_offline_part_of_the_run_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = ["offline-run-20261126_101500-ab12", "offline-run-20261125_235959-ab12"]
    others = ["offline-run-20261126_101500-xab12", "offline-run-20261126_101500-ab123"]
    others += ["run-20261126_120000-ab12"]  # was online
    run = tmp_path / "my run"
    for name in (*parts, *others):
        (run / "wandb" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    earlier_first = [f"my run/wandb/{name}" for name in sorted(parts)]
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    assert shlex.split(wandb_sync(run, "ab12")) == ["wandb", "sync", *earlier_first]
    # The shell does not find it, but it is installed beside this Python.
    monkeypatch.setattr("shutil.which", lambda name: None)
    beside = tmp_path / "my env" / "bin"
    beside.mkdir(parents=True)
    (beside / "wandb").touch()
    monkeypatch.setattr("sys.executable", str(beside / "python"))
    called = shlex.split(wandb_sync(run, "ab12"))
    assert called == ["my env/bin/wandb", "sync", *earlier_first]
    assert wandb_sync(run, "none") == ""


def test_an_unknown_mode_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "of")
    with pytest.raises(UserError, match="WANDB_MODE=of is not one of online, offline"):
        wandb(str(tmp_path), "project")


def test_a_server_that_cannot_be_reached_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = pytest.importorskip("wandb")

    def refuse(**_: object) -> None:
        raise client.errors.CommError("no answer\nafter 90 s")

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(client, "init", refuse)
    logger = wandb(str(tmp_path), "project")
    with pytest.raises(UserError, match="no answer after 90 s; WANDB_MODE=offline keeps the run"):
        _ = logger.experiment
