"""Plan of a build: the stages that run, and the settings of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_prep.settings.build import INPUT, STAGES, Build
from data_prep.stage.limit import LIMIT
from webtext_gpt.commands import COMMANDS
from webtext_gpt.remote.addresses import under
from webtext_gpt.settings.base import Settings
from webtext_gpt.settings.composition import compose
from webtext_gpt.settings.reading import read


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a build.

    Attributes:
        name: Its name.
        settings: Its settings.
        all_inputs: In a trial build, the complete inputs, of which this stage reads a part; else
            None.
    """

    name: str
    settings: Settings
    all_inputs: Sequence[str] | None = None


def plan(build: Build) -> list[PlannedStage]:
    """Return the stages of a build in order, with all their settings checked.

    Raises:
        UserError: Settings of a stage contradict each other. The message names its keys.
    """
    stages = []
    inputs = (build.dumps if build.first == "links" else build.inputs) or []
    limited = _limited_stage(build)
    for name in build.stages:
        all_inputs = None
        if name == limited:
            all_inputs, inputs = inputs, [under(build.out, LIMIT)]
        settings = _settings(build, name, inputs)
        stages.append(PlannedStage(name, settings, all_inputs))
        if name != "tokenizer" and (name != "overlap" or build.overlap.get("remove")):
            inputs = [under(build.out, name)]
    return stages


def _limited_stage(build: Build) -> str | None:
    """Return the stage before which a trial build drops rows; None for a build without limit.

    It is pages if this build makes or reads links, else the first stage that reads documents.
    """
    if build.limit is None:
        return None
    earliest = "pages" if build.first in ("links", "pages") else "dedup"
    return next(s for s in build.stages if STAGES.index(s) >= STAGES.index(earliest))


def _settings(build: Build, stage: str, inputs: Sequence[str]) -> Settings:
    command = COMMANDS[stage]
    model: type[Settings] = command.load("settings")
    shared = {
        "workers": build.workers, "evalsets": build.evalsets, "engine": build.engine.arguments(),
        "out": under(build.out, stage),
    }  # fmt: skip
    values = compose(command.config, {}) if command.config else {}
    values |= {key: value for key, value in shared.items() if key in model.model_fields}
    values = _merged(values, build.changes(stage))
    if stage != "tokenizer" or values.get("gpt2") is None:
        values[INPUT[stage]] = inputs
    if stage == "shards" and "tokenizer" in build.stages:
        values["tokenizer"] = under(build.out, "tokenizer")
    return read(model, values, source=f"{stage}.")


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with some of them changed."""
    merged = dict(values)
    for key, new in changes.items():
        old = merged.get(key)
        nested = isinstance(old, Mapping) and isinstance(new, Mapping)
        merged[key] = _merged(dict(old or {}), new) if nested else new
    return merged
