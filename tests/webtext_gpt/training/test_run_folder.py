"""Reopening a run: its own configuration, with the changes that this call may make."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from webtext_gpt.errors import UserError
from webtext_gpt.settings.saved import load, plain, save
from webtext_gpt.training.run_folder import newest_undamaged, refuse_other_run


@pytest.fixture
def run(compose: Callable[..., Any], tmp_path: Path) -> Path:
    save(compose("train", "model=small", "optimizer.lr=1e-3"), tmp_path / "run")
    return tmp_path / "run"


def test_a_reopened_run_takes_this_calls_values(run: Path, compose: Callable[..., Any]) -> None:
    settings = compose("train", f"resume={run}", "optimizer.lr=2e-3", "strategy=ddp")
    assert settings.model.n_layer == 12  # this call composes tiny
    assert settings.optimizer.lr == 2e-3
    assert settings.strategy.target == "webtext_gpt.training.strategy.ddp"
    assert settings.run_dir == str(run)
    assert compose("train", f"resume={run}").optimizer.lr == 1e-3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=medium", "model=medium: a resumed run keeps its groups"),
        ("experiment=quickstart", "experiment=quickstart: a resumed run keeps its groups"),
        ("recipe=modern", r"recipe=modern: a resumed .*change single keys \(optimizer.lr=\.\.\."),
        ("optimizer.rl=1", r"unknown key 'optimizer.rl'; did you mean optimizer.lr\?"),
    ],
)
def test_changes_that_do_not_fit_are_refused(
    override: str, message: str, run: Path, compose: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=message):
        compose("train", f"resume={run}", override)


def test_a_run_of_the_other_script_is_named(run: Path, compose: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match=r"a run of train\.py; resume it with python train\.py"):
        compose("finetune", f"resume={run}")
    with pytest.raises(
        UserError, match=r"no run is there \(it has no config.yaml\); runs in it: .*run"
    ):
        compose("train", f"resume={run.parent}")


def test_a_path_that_is_no_run_leads_to_the_run_it_lies_in(
    run: Path, compose: Callable[..., Any]
) -> None:
    inside = run / "checkpoints"
    inside.mkdir()
    (inside / "last.ckpt").write_text("x")
    (run.parent / "README.md").write_text("x")
    for path, message in (
        (inside / "last.ckpt", rf"last.ckpt is inside a run; name the run's folder: resume={run}$"),
        (inside, rf"checkpoints is inside a run; name the run's folder: resume={run}$"),
        (run.parent / "README.md", "README.md is a file; name a run's folder, with its config.yam"),
        (run.parent / "gone", r"gone does not exist .*; name a run's folder, with its config.yaml"),
    ):
        with pytest.raises(UserError, match=message):
            compose("train", f"resume={path}")


def test_a_file_is_no_folder_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(UserError, match="run_dir=.*README.md is a file, but a folder is expected"):
        refuse_other_run(tmp_path / "README.md")


def test_targets_of_earlier_versions_are_brought_up_to_date(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    save(compose("finetune", "task=sst2"), tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    # where it stood until November 2026
    earlier = config.read_text().replace(
        "webtext_gpt.finetuning.data.task", "webtext_gpt.data.task"
    )
    config.write_text(earlier)
    assert "webtext_gpt.data.task.Task" in config.read_text()
    opened = compose("finetune", f"resume={tmp_path / 'run'}")
    assert opened.task.target == "webtext_gpt.finetuning.data.task.Task"


def test_the_configuration_of_an_earlier_version_is_read(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    """Until November 2026 it held Hydra's keys and interpolations."""
    run = tmp_path / "run"
    save(compose("train", "model=small", "trainer.max_steps=7"), run)
    values = yaml.safe_load((run / "config.yaml").read_text())
    values["cache_dir"] = "${oc.env:WEBTEXT_GPT_CACHE,'~/.cache/webtext-gpt'}"
    values["optimizer"]["_partial_"] = True
    values["callbacks"]["samples"]["run_dir"] = "${run_dir}"
    values["callbacks"]["console"]["metric"] = "${callbacks.checkpoints.monitor}"
    values["logger"] = {}
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    assert "${run_dir}" in (run / "config.yaml").read_text()
    opened = compose("train", f"resume={run}")
    assert (opened.model.n_layer, opened.trainer.max_steps, opened.logger) == (12, 7, None)
    assert "${" not in str(load(run))


def test_paths_of_files_that_exist_are_made_absolute(
    compose: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    settings = compose("train", "data=files", "data.path=[a.txt,missing.txt,'~/b']")
    save(settings, tmp_path / "run", global_batch_tokens=512)
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["data"]["path"] == [str(tmp_path / "a.txt"), "missing.txt", "~/b"]
    assert saved["global_batch_tokens"] == 512


def test_texts_are_read_again_as_they_were(compose: Callable[..., Any], tmp_path: Path) -> None:
    given = ["callbacks.samples.prompt=${model.n_layer} $x", "data=files", "data.path=${a}/\\b"]
    save(compose("train", *given), tmp_path / "run")
    opened = compose("train", f"resume={tmp_path / 'run'}")
    assert opened.callbacks.samples.prompt == "${model.n_layer} $x"
    assert opened.data.path == ["${a}/\\b"]


@pytest.mark.parametrize("name", ["[a].txt", "~", "*.txt", "b?"])
def test_a_literal_name_is_made_absolute(
    name: str, compose: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    settings = compose("train", "data=files", f"data.path={name}")
    assert plain(settings)["data"]["path"] == [str(tmp_path / name)]


def test_looking_for_a_checkpoint_changes_nothing(tmp_path: Path) -> None:
    """A checkpoint that a killed run had set aside stays as it is; only opening a run restores."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".step-00000002.ckpt.old").write_bytes(b"x")
    before = sorted(tmp_path.rglob("*"))
    assert newest_undamaged(tmp_path) is None
    assert sorted(tmp_path.rglob("*")) == before
