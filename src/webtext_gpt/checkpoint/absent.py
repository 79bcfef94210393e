"""Messages about paths that hold no model or run: what is there instead, and what to name."""

from pathlib import Path

from webtext_gpt.data.shards import holds_shards
from webtext_gpt.paths import absence, shown
from webtext_gpt.signatures import A_MODEL

FOLDER = "checkpoints"
"""Folder of a run that holds its checkpoints."""
CONFIG = "config.yaml"
"""File that marks the folder of a run."""
SHOWN = 3


def no_checkpoint(path: Path) -> str:  # noqa: PLR0911 - one a case
    """Return the message about a path that holds no model.

    Args:
        path: it does not exist, or is a folder without checkpoints of ours.
    """
    if not path.exists():
        return f"{path} {absence(path)}"
    start = f"{path} holds no checkpoint"
    if path.name == FOLDER:
        return f"{start}; name the run folder: {path.parent}"
    if holds_shards(path):
        return f"{start}, but token shards, on which a model is trained (data=shards); {A_MODEL}"
    if runs := _runs_in(path):
        return f"{start}, but there are runs in it; name one of them: {', '.join(map(str, runs))}"
    if (path / CONFIG).is_file():
        return f"{start}: this run has not saved one yet"
    weights = sorted(path.glob("*.safetensors")) + sorted(path.glob("pytorch_model*.bin"))
    if weights:
        return f"{start}: it has {weights[0].name}, but no config.json beside it"
    if (path / "tokenizer.json").is_file() or (path / "vocab.json").is_file():
        return f"{start}: it has a tokenizer, but no weights with their config.json; {A_MODEL}"
    return f"{start}: it has no folder {FOLDER}; {A_MODEL}"


def no_run(path: Path) -> str:
    """Return the message about a path that is no run to resume; it says what to name instead."""
    start = f"resume={shown(path)}"
    if (run := run_of(path)) is not None and (run / CONFIG).is_file():
        return f"{start} is inside a run; name the run's folder: resume={shown(run)}"
    if not path.exists():
        return f"{start} {absence(path)}; name a run's folder, with its {CONFIG}"
    if path.is_file():
        return f"{start} is a file; name a run's folder, with its {CONFIG}"
    runs = sorted(file.parent for file in path.glob(f"*/{CONFIG}"))
    inside = f"; runs in it: {', '.join(map(str, runs[-3:]))}" if runs else ""
    return f"{start}: no run is there (it has no {CONFIG}){inside}"


def run_of(path: Path) -> Path | None:
    """Return the run folder that a path inside a run belongs to; `None` if it is in none."""
    inside = (folder for folder in (path, *path.parents) if folder.name == FOLDER)
    return next((folder.parent for folder in inside), None)


def _runs_in(folder: Path) -> list[Path]:
    """Return some runs in a folder, newest first."""
    found = [p.parent for depth in ("*", "*/*") for p in folder.glob(f"{depth}/{FOLDER}")]
    return sorted(found, key=lambda run: run.stat().st_mtime, reverse=True)[:SHOWN]
