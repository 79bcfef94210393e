"""A path without a model: the message says what is there, and what to name."""

from pathlib import Path

import pytest

from webtext_gpt.checkpoint.absent import no_checkpoint, run_of
from webtext_gpt.checkpoint.store import find_checkpoint
from webtext_gpt.errors import UserError


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "folder holds no checkpoint: it has no folder checkpoints; a model is a run folder"),
        (("config.yaml",), "holds no checkpoint: this run has not saved one yet"),
        (("tokenizer.json",), "it has a tokenizer, but no weights with their config.json"),
        (("model.safetensors",), "it has model.safetensors, but no config.json beside it"),
        (("manifest.json", "tokens-00000.bin"), "but token shards, on which a model is trained"),
        (("a/checkpoints/last.ckpt",), "but there are runs in it; name one of them: .*folder/a"),
        (("day/a/checkpoints/x",), "but there are runs in it; name one of them: .*folder/day/a"),
    ],
)
def test_what_is_there_instead(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    with pytest.raises(UserError, match=message):
        find_checkpoint(folder, ("best.ckpt", "last.ckpt"))


def test_a_folder_inside_a_run_leads_to_the_run(tmp_path: Path) -> None:
    inside = tmp_path / "run" / "checkpoints"
    inside.mkdir(parents=True)
    assert no_checkpoint(inside).endswith(f"name the run folder: {tmp_path / 'run'}")
    assert run_of(inside) == run_of(inside / "last.ckpt") == tmp_path / "run"
    assert run_of(inside / "step-1.ckpt" / "part") == tmp_path / "run"
    assert run_of(tmp_path) is None
    assert no_checkpoint(tmp_path / "gone").startswith(
        f"checkpoint={tmp_path / 'gone'} does not exist"
    )
