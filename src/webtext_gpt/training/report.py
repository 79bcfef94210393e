"""Report of a finished run, `report.md` and `report.html`: result, curve, settings, a sample."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from webtext_gpt.cli import parse, read_settings
from webtext_gpt.commands import COMMANDS, Command
from webtext_gpt.evaluation.tables import escaped, markdown_table, one_line
from webtext_gpt.files import write_text
from webtext_gpt.page import write_page
from webtext_gpt.settings.base import TARGET, Settings
from webtext_gpt.training.callbacks.samples import last_samples
from webtext_gpt.training.loss_picture import finding
from webtext_gpt.training.metrics import METRICS, read_metrics

PLACES = ("run_dir", "resume", "cache_dir")
"""Settings that say where files are, and change nothing else."""
LONGEST = 200
"""Maximum number of characters of a setting's value in the table."""
SAMPLE = "samples.txt"
PICTURES = {
    "loss.png": "losses by optimizer step",
    "validation/confusion.png": "confusion matrix of the validation rows",
    "validation/scatter.png": "predicted over true values of the validation rows",
    "test/confusion.png": "confusion matrix of the test rows",
    "test/scatter.png": "predicted over true values of the test rows",
}


def write_run_report(
    run_dir: Path, settings: Settings, summary: Mapping[str, Any], metric: str = "val_loss"
) -> None:
    """Write `report.md` and, from it, `report.html`, which needs no other file.

    Args:
        run_dir: the folder of a finished run.
        settings: its settings.
        summary: the contents of its `summary.json`.
        metric: validation metric by which the run is judged.
    """
    (command,) = (
        c for c in COMMANDS.values() if c.settings.endswith(f":{type(settings).__name__}")
    )
    parts = [
        f"# {escaped(one_line(run_dir.name, 100))}",
        f"A run of `{command.script}`. {finding(read_metrics(run_dir / METRICS), metric)}.",
    ]
    pictures = {name: said for name, said in PICTURES.items() if (run_dir / name).is_file()}
    parts += [f"![{said}]({name})" for name, said in pictures.items()]
    parts += ["## Final figures", markdown_table([["figure", "value"], *_figures(summary)])]
    if sources := summary.get("sources"):
        parts += ["## Sources", markdown_table(_sources(sources))]
    parts += ["## Settings that differ from the defaults", *_settings(settings, command)]
    parts += _samples(run_dir / SAMPLE)
    write_text(run_dir / "report.md", "\n\n".join(parts) + "\n")
    write_page(run_dir / "report.md")


def _figures(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table of figures; those that were not measured are left out."""
    rows = []
    for name, value in summary.items():
        if isinstance(value, Mapping) or value is None or value is False:
            continue
        shown = "yes" if value is True else value
        if isinstance(shown, int):
            shown = f"{shown:,}"
        elif isinstance(shown, float):
            shown = f"{shown:,.0f}" if abs(shown) >= 1000 else f"{shown:.4g}"
        said = name.replace("val_", "validation ").replace("_", " ")
        rows.append([escaped(said), escaped(one_line(str(shown), LONGEST))])
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
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append([escaped(key), escaped(one_line(shown, LONGEST))])
    return [markdown_table([["setting", "value"], *rows])] if rows else ["None."]


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
    blocks = []
    for text in texts:
        longest = max(map(len, re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        blocks.append(f"{fence}text\n{text}\n{fence}")
    return [f"## Text from the model after step {step:,}", *blocks]
