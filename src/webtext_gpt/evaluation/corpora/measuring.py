"""The measurements of one model, kept in a file so that each is made once."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options
from webtext_gpt.evaluation.corpora.heldout import HeldOut
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.files import write_json
from webtext_gpt.training.precision import place_for_inference, usable_device


def measure(
    model: Path,
    file: Path,
    benchmarks: Sequence[Benchmark],
    *,
    data_dir: Path | None,
    options: Options,
    device: str,
) -> dict[str, str]:
    """Measure a model by the benchmarks that its file of measurements lacks.

    Args:
        model: the folder of its run.
        file: file of its measurements.
        benchmarks: held-out sets and benchmarks.
        data_dir: folder with the benchmarks' files. None loads them from the hub.
        options: see `Options`.
        device: `auto`, `cpu`, `cuda`, ...

    Returns:
        The reason by benchmark, for those that could not be run.
    """
    conditions = {b.name: _condition(b, data_dir, options) for b in benchmarks}
    kept = _read(file)
    missing = [b for b in benchmarks if kept.get(b.name, {}).get("of") != conditions[b.name]]
    if not missing:
        return {}
    loaded, tokenizer = load_language_model(model / "checkpoints" / "last.ckpt")
    place_for_inference(loaded, usable_device(device), "fp32")
    scorer = Scorer(loaded, tokenizer)
    failed = {}
    for benchmark in missing:
        try:
            measured = benchmark.run(scorer, data_dir, options)
        except (UserError, OSError) as error:
            failed[benchmark.name] = str(error)
            continue
        kept[benchmark.name] = {"of": conditions[benchmark.name], **asdict(measured)}
        write_json(file, kept)
    return failed


def read_measurements(
    file: Path, benchmarks: Sequence[Benchmark], data_dir: Path | None, options: Options
) -> dict[str, Measurement]:
    """Return the measurements in a file that were made under the conditions asked for."""
    kept = _read(file)
    found = {}
    for benchmark in benchmarks:
        own = dict(kept.get(benchmark.name, {}))
        if own.pop("of", None) == _condition(benchmark, data_dir, options):
            found[benchmark.name] = Measurement(**own)
    return found


def _condition(benchmark: Benchmark, data_dir: Path | None, options: Options) -> dict[str, Any]:
    """Return plain values that identify the conditions of a measurement."""
    if isinstance(benchmark, HeldOut):
        texts = json.dumps(benchmark.documents.texts).encode()
        return {"sha256": hashlib.sha256(texts).hexdigest()}
    return {"data_dir": None if data_dir is None else str(data_dir.absolute()),
            "limit": options.limit}  # fmt: skip


def _read(file: Path) -> dict[str, Mapping[str, Any]]:
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
