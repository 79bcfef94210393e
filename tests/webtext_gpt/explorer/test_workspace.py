"""Checkpoints are found by step, loaded when they are asked for, and at most two are kept."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load, save_model
from webtext_gpt.errors import UserError
from webtext_gpt.explorer import workspace as module
from webtext_gpt.explorer.checkpoints import Checkpoints
from webtext_gpt.explorer.workspace import UnknownCheckpoint, Workspace
from webtext_gpt.model import ClassifierConfig, GPTClassifier
from webtext_gpt.weights import hugging_face


@pytest.fixture(scope="session")
def classifier(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a classifier of pairs."""
    loaded = load(small_checkpoint)
    torch.manual_seed(0)
    head = ClassifierConfig(labels=("no", "yes"), pad_token_id=0, delimiter_token_id=1)
    path = tmp_path_factory.mktemp("classifier") / "pairs.ckpt"
    save_model(GPTClassifier(loaded.model, head), loaded.tokenizer, path)
    return path


@pytest.fixture
def run(small_checkpoint: Path, tmp_path: Path) -> Path:
    """A run folder with checkpoints of steps 5, 20 and 100; 20 is the best."""
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    for step in (100, 5, 20):
        shutil.copy(small_checkpoint, folder / f"step-{step:08d}.ckpt")
    (folder / "best.ckpt").symlink_to("step-00000020.ckpt")
    (folder / "last.ckpt").symlink_to("step-00000100.ckpt")
    return folder.parent


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Names of the files that are loaded during the test."""
    names: list[str] = []

    def recorded(path: str | Path) -> object:
        names.append(Path(path).name)
        return load(path)

    monkeypatch.setattr(module, "load", recorded)
    return names


def test_a_runs_checkpoints_are_listed_by_step(run: Path) -> None:
    found = Workspace(str(run)).describe()
    assert found["checkpoints"] == [
        {"id": "step-00000005", "label": "step 5", "step": 5},
        {"id": "step-00000020", "label": "step 20 (best)", "step": 20},
        {"id": "step-00000100", "label": "step 100 (last)", "step": 100},
    ]
    assert (found["name"], found["default"]) == ("run", "step-00000020")
    assert (found["kind"], found["labels"], found["takes_pairs"]) == ("language_model", None, False)
    assert (found["config"]["n_layer"], found["config"]["norm"]) == (2, "pre")
    # 280 tokens and 64 positions of 32; 2 blocks of 12 * 32^2 weights and 13 * 32 biases and gains;
    # the last gain and bias
    assert found["parameters"] == (280 + 64) * 32 + 2 * (12 * 32**2 + 13 * 32) + 2 * 32
    assert found["has_curve"] is False
    assert {"next", "tree", "tokens", "attention", "lens"} <= set(found["views"])
    assert not {"classify", "curve"} & set(found["views"])


def test_the_shown_first_is_the_one_that_other_commands_load(run: Path) -> None:
    def order() -> list[int | None]:
        return [kept.step for kept in Checkpoints(str(run)).preferred()]

    assert order() == [20, 100, 5]
    (run / "checkpoints" / "best.ckpt").unlink()
    assert order() == [100, 20, 5]
    (run / "checkpoints" / "last.ckpt").unlink()
    assert order() == [100, 20, 5]


def test_checkpoints_are_loaded_when_asked_for_and_two_are_kept(
    run: Path, loads: list[str]
) -> None:
    names = {step: f"step-{step:08d}" for step in (5, 20, 100)}
    workspace = Workspace(str(run))
    assert loads == ["step-00000020.ckpt"]
    for id in (None, "default", names[20], names[5], names[20], names[100], names[20]):
        workspace.open(id)
    assert [name[-6:] for name in loads] == ["0.ckpt", "5.ckpt", "0.ckpt"]
    workspace.open(names[5])  # it was used least recently, and has gone
    assert loads[3:] == ["step-00000005.ckpt"]
    workspace.open(names[20])
    assert len(loads) == 4
    with pytest.raises(UnknownCheckpoint, match="'step-7' does not exist, .* there are step-0000"):
        workspace.open("step-7")


def test_threads_that_ask_for_one_checkpoint_load_it_once(run: Path, loads: list[str]) -> None:
    workspace = Workspace(str(run))
    found: list[Any] = []

    def ask() -> None:
        found.append(workspace.compute("tokens", "step-00000005", {"text": "the cat"}))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert loads == ["step-00000020.ckpt", "step-00000005.ckpt"]
    assert len(found) == 8
    assert all(one == found[0] for one in found)


def test_a_training_run_adds_and_removes_checkpoints(run: Path, small_checkpoint: Path) -> None:
    workspace = Workspace(str(run))
    folder = run / "checkpoints"
    shutil.copy(small_checkpoint, folder / "step-00000200.ckpt")
    (folder / "step-00000005.ckpt").unlink()
    (folder / "best.ckpt").unlink()
    (folder / "best.ckpt").symlink_to("step-00000200.ckpt")
    assert [kept.step for kept in workspace.checkpoints()] == [20, 100, 200]
    assert workspace.default == "step-00000200"
    with pytest.raises(UnknownCheckpoint, match="or the run has removed it"):
        workspace.open("step-00000005")
    (folder / "step-00000020.ckpt").unlink()
    workspace.open("step-00000020")  # still in memory


def test_a_damaged_checkpoint_is_passed_over_at_the_start(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "checkpoints" / "step-00000020.ckpt").write_bytes(b"PK\x03\x04")
    workspace = Workspace(str(run))
    assert workspace.default == "step-00000100"
    assert "step-00000100.ckpt is used instead" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"step-00000020\.ckpt cannot be read as a checkpoint"):
        workspace.open("step-00000020")


def test_one_file_or_a_hugging_face_folder_is_one_checkpoint(
    run: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    loaded = load(small_checkpoint)
    folder = tmp_path / "exported"
    hugging_face.save(loaded.model, loaded.tokenizer, folder)
    for given, label, step in (
        (small_checkpoint, "small.ckpt", None),
        (folder, "exported", None),
        (run / "checkpoints" / "best.ckpt", "best.ckpt", 20),
    ):
        found = Workspace(str(given)).describe()
        assert found["checkpoints"] == [{"id": "model", "label": label, "step": step}]
        assert (found["name"], found["default"]) == (label, "model")


def test_a_checkpoint_inside_a_run_has_its_loss_curve(run: Path) -> None:
    (run / "metrics.csv").write_text("step,train_loss\n1,5.5\n")
    for given in (run, run / "checkpoints" / "best.ckpt"):
        workspace = Workspace(str(given))
        assert workspace.describe()["has_curve"] is True
        assert workspace.losses()["train"] == [[1, 5.5]]
    assert Workspace(str(run)).losses()["checkpoints"] == [5, 20, 100]


def test_what_holds_no_model_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        Workspace(str(tmp_path / "absent"))
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="holds no checkpoint"):
        Workspace(str(tmp_path))


def test_a_second_models_checkpoints_come_after_the_first_ones(
    run: Path, small_checkpoint: Path, loads: list[str]
) -> None:
    workspace = Workspace(str(run), str(small_checkpoint))
    assert sorted(loads) == ["small.ckpt", "step-00000020.ckpt"]
    found = workspace.describe()
    assert [one["id"] for one in found["checkpoints"]][2:] == ["step-00000100", "compare-model"]
    assert [one["label"] for one in found["checkpoints"]][2:] == [
        "run, step 100 (last)",
        "small.ckpt",
    ]
    assert found["default"] == "step-00000020"
    workspace.open("compare-model")
    workspace.open()
    assert len(loads) == 2


def test_models_of_two_kinds_are_not_compared(small_checkpoint: Path, classifier: Path) -> None:
    with pytest.raises(
        UserError, match=r"is a language model and compare=.*pairs\.ckpt is a classifier; "
    ):
        Workspace(str(small_checkpoint), str(classifier))


def test_a_classifier_says_what_it_takes(classifier: Path) -> None:
    workspace = Workspace(str(classifier))
    found = workspace.describe()
    assert (found["kind"], found["labels"], found["takes_pairs"]) == (
        "classifier",
        ["no", "yes"],
        True,
    )
    assert {"classify", "attributions", "attention"} <= set(found["views"])
    assert not {"next", "tree"} & set(found["views"])
    with pytest.raises(UserError, match="next cannot be asked of a classifier, only "):
        workspace.compute("next", None, {"text": "a"})


def test_a_classifier_is_asked_for_its_classes_and_what_decided(classifier: Path) -> None:
    workspace = Workspace(str(classifier))
    found = workspace.compute("classify", None, {"text": "the cat", "second": "a dog"})
    assert [one["label"] for one in found["classes"]] == ["no", "yes"]
    assert sum(one["probability"] for one in found["classes"]) == pytest.approx(1)
    arguments = {"text": "the cat", "second": "a dog", "label": "yes"}
    decided = workspace.compute("attributions", None, arguments)
    assert (decided["label"], len(decided["tokens"])) == ("yes", len(found["tokens"]))
    with pytest.raises(UserError, match="second"):
        workspace.compute("classify", None, {"text": "the cat", "second": None})


def test_the_example_is_a_text_that_the_tokenizer_can_encode(small_checkpoint: Path) -> None:
    assert Workspace(str(small_checkpoint)).describe()["example"].startswith("Return the ")


def test_a_classifier_begins_with_a_mistake_of_its_validation(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    """The worst that is not long; a line separator in it is not the end of its line."""
    loaded, run = load(small_checkpoint), tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    head = ClassifierConfig(labels=("no", "yes"), pad_token_id=0)
    model = GPTClassifier(loaded.model, head)
    save_model(model, loaded.tokenizer, run / "checkpoints" / "step-00000001.ckpt")
    assert Workspace(str(run)).describe()["example"] == ""
    rows = [{"text": "the cat " * 99}, {"text": "a\u2028dog"}, {"text": "the cat"}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (run / "validation").mkdir()
    (run / "validation" / "mistakes.jsonl").write_text("\n".join([*lines, ""]))
    assert Workspace(str(run)).describe()["example"] == "a\u2028dog"
    pair = json.dumps({"text": "a dog", "text_pair": "the cat"})
    (run / "validation" / "mistakes.jsonl").write_text(pair + "\n")
    assert Workspace(str(run)).describe()["example"] == ""
