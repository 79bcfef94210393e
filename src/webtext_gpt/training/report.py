"""Report of a finished run, `report.md` and `report.html`: result, curve, settings, a sample."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from webtext_gpt.cli import parse, read_settings
from webtext_gpt.commands import COMMANDS, Command
from webtext_gpt.evaluation.tables import escaped, markdown_table, one_line
from webtext_gpt.files import write_text
from webtext_gpt.page import write_page
from webtext_gpt.settings.base import TARGET, Settings
from webtext_gpt.training.callbacks.samples import SAMPLES, last_samples
from webtext_gpt.training.figures import explained
from webtext_gpt.training.loss_picture import finding
from webtext_gpt.training.metrics import METRICS, PER_TOKEN, LossMeaning, read_metrics

PLACES = ("run_dir", "resume", "cache_dir")
"""Settings that say where files are, and change nothing else."""
LONGEST = 200
"""Maximum number of characters of a setting's value in the table."""
PICTURE = "loss.png"


def write_run_report(
    run_dir: Path,
    settings: Settings,
    summary: Mapping[str, Any],
    *,
    metric: str = "val_loss",
    meaning: LossMeaning = PER_TOKEN,
    line: str | None = None,
    sections: Sequence[str] = (),
) -> None:
    """Write `report.md` and, from it, `report.html`, which needs no other file.

    Args:
        run_dir: the folder of a finished run.
        settings: its settings.
        summary: the contents of its `summary.json`.
        metric: validation metric by which the run is judged.
        meaning: what its losses measure.
        line: the command line; None if there is none.
        sections: blocks of Markdown that follow the loss curve.
    """
    (command,) = (
        c for c in COMMANDS.values() if c.settings.endswith(f":{type(settings).__name__}")
    )
    parts = [
        f"# {escaped(one_line(run_dir.name, 100))}",
        f"A run of `{command.script}`, finished on {date.today().isoformat()}. "
        f"{_result(run_dir, summary, metric, meaning)}.",
    ]
    if (run_dir / PICTURE).is_file():
        parts.append(f"![losses by optimizer step]({PICTURE})")
        if meaning.training:
            parts.append(
                f"The training loss is {meaning.training}; the validation loss is without that. "
                "The two lines are therefore at different heights, and only the validation loss "
                f"({meaning.unit}) belongs to the metrics. The picture is measured during "
                "training, in its precision; the figures below are measured afterwards, on the "
                "best checkpoint."
            )
    parts += sections
    head = ["figure", "value", "meaning"]
    parts += ["## Final figures", markdown_table([head, *_figures(summary, meaning)])]
    if sources := summary.get("sources"):
        parts += ["## Sources", markdown_table(_sources(sources))]
    parts += ["## Settings that differ from the defaults", *_settings(settings, command)]
    if line is not None:
        parts += ["## Command", code_block(line)]
    parts += _samples(run_dir / SAMPLES)
    write_text(run_dir / "report.md", "\n\n".join(parts) + "\n")
    write_page(run_dir / "report.md")


def _result(run_dir: Path, summary: Mapping[str, Any], metric: str, meaning: LossMeaning) -> str:
    """Return one sentence: the metric of the best checkpoint, or how far the losses came."""
    if metric != "val_loss" and metric in summary:
        name = metric.removeprefix("val_").replace("_", " ")
        beside = summary.get(metric.replace("val_", "val_naive_bayes_"))
        words = "" if beside is None else f"; naive Bayes on words has {beside:.4g}"
        return f"Validation: {name} {summary[metric]:.4g} of the best checkpoint{words}"
    return finding(read_metrics(run_dir / METRICS), metric, meaning=meaning)


def _figures(summary: Mapping[str, Any], meaning: LossMeaning) -> list[list[str]]:
    """Return the rows of the table; counts of nothing and what was not measured are left out."""
    rows = []
    for name, value in summary.items():
        if isinstance(value, Mapping) or value is None or value is False:
            continue
        if value == 0 and isinstance(value, int):
            continue
        shown = "yes" if value is True else value
        if isinstance(shown, int):
            shown = f"{shown:,}"
        elif isinstance(shown, float):
            shown = f"{shown:,.0f}" if abs(shown) >= 1000 else f"{shown:.4g}"
        said = name.replace("val_", "validation ").replace("_", " ")
        cells = (said, one_line(str(shown), LONGEST), explained(name, meaning.unit))
        rows.append([escaped(cell) for cell in cells])
    return rows


def _sources(sources: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    rows = [["source", "share of the samples", "tokens", "passes"]]
    for name, own in sources.items():
        shares = (f"{own['share']:.1%}", f"{own['tokens']:,}", f"{own['epochs']:.2f}")
        rows.append([escaped(name), *shares])
    return rows


def _settings(settings: Settings, command: Command) -> list[str]:
    """Return the table of the settings that differ from the command's defaults."""
    rows = []
    for key, value in changed(settings, read_settings(command, parse([], command))):
        if key not in PLACES:
            rows.append([escaped(key), escaped(one_line(_typed(value), LONGEST))])
    return [markdown_table([["setting", "value"], *rows])] if rows else ["None."]


def _typed(value: object) -> str:
    """Return a setting's value as it is typed on the command line."""
    if isinstance(value, list):
        return ", ".join(map(_typed, value))
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def changed(settings: Settings, defaults: Settings | None) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of settings that differ from their defaults.

    Args:
        settings: the settings.
        defaults: those of a call without arguments; for a choice that such a call does not have,
            None means the defaults of its class.
    """
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if defaults is not None:
            default = getattr(defaults, name)
        else:
            default = field.get_default(call_default_factory=True, validated_data={})
        key = field.alias or name
        if isinstance(value, Settings):
            yield from _changed_group(key, value, default)
        elif isinstance(value, dict) and any(isinstance(v, Settings) for v in value.values()):
            for inner, own in value.items():
                yield from _changed_group(f"{key}.{inner}", own, None)
        elif value != default and key != TARGET:
            yield key, value


def _changed_group(name: str, value: Settings, default: object) -> Iterator[tuple[str, Any]]:
    """Yield the differences in a group; if its choice differs, first that choice's name."""
    same = default if isinstance(default, Settings) and type(default) is type(value) else None
    if same is None:
        target = getattr(value, "target", None)
        yield name, str(target or type(value).__name__).rpartition(".")[2].lower()
    for key, inner in changed(value, same):
        yield f"{name}.{key}", inner


def _samples(file: Path) -> list[str]:
    """Return the last samples of a run, if it has any, as blocks of text under a heading."""
    found = last_samples(file)
    if found is None:
        return []
    step, texts = found
    return [f"## Text from the model after step {step:,}", *map(code_block, texts)]


def code_block(text: str) -> str:
    """Return a text as a Markdown block that shows it literally."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
