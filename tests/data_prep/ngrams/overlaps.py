"""Made-up documents, their 8-grams in plain Python, and a call of the overlap stage."""

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.ngrams.measurement import OverlapRules
from data_prep.overlap import measure_overlap


def eight_grams(text: str) -> list[str]:
    """Return the 8-grams of a text whose letters are all ASCII, as strings."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return [" ".join(words[at : at + 8]) for at in range(len(words) - 7)]


def sentences(seed: int, words: int) -> str:
    rng = random.Random(seed)
    return " ".join(f"{rng.choice('bcdfgh')}{rng.randrange(3000)}" for _ in range(words))


def eight_grams_of_any(text: str) -> list[tuple[str, ...]]:
    """Return the 8-grams of a text in any script, as tuples of words."""
    words = re.findall(r"[^\W_]+", text.lower())
    return [tuple(words[at : at + 8]) for at in range(len(words) - 7)]


def measure(tmp_path: Path, train: Any, tests: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    rules = {k: options.pop(k) for k in list(options) if k in OverlapRules.__annotations__}
    patterns = [str(train)] if isinstance(train, Path) else train
    out = tmp_path / options.pop("out", "out")
    where = {name: str(path) for name, path in tests.items()}
    measure_overlap(patterns, where, out, OverlapRules(**rules), workers_at_once=1, **options)
    return json.loads((out / "overlap.json").read_text())
