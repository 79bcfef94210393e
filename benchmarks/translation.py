"""Train translation models on Multi30k for some minutes, and score them on its test set of 2016.

    python benchmarks/translation.py multi30k/ --minutes 60 --seeds 3

The folder holds train, val and test_2016_flickr of each language (`train.en.gz`). Each seed, from
1, is a run of `train.py experiment=translation` on this machine's cores; further settings follow
the options: `model.positions=learned`. Scored are beam-search translations of the average of the
weights; sacreBLEU is of running text. Neither the test set nor its scores choose anything.

`--longest 12` trains on sentences of up to 12 words only, and also scores the test sentences with
more: how do positions continue beyond those of training?
"""

import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from benchmarks.common.machine import machine, sentence
from benchmarks.common.options import parser
from benchmarks.common.report import report
from webtext_gpt.checkpoint.load import load, only_translator
from webtext_gpt.data.pairs import Pair, ParallelText
from webtext_gpt.evaluation.translation_metrics import translation_scores
from webtext_gpt.generation.translate import translate

REPOSITORY = Path(__file__).parents[1]
SCORES = {
    "bleu": "sacreBLEU",
    "bleu_lowercase": "lower-cased",
    "bleu_tokenized": "tokenised",
    "chrf": "chrF",
}


def files(folder: Path, name: str, languages: Sequence[str]) -> list[Path]:
    """Return the files of a split, source and target."""
    return [folder / f"{name}.{language}.gz" for language in languages]


def pairs_of(paths: Sequence[Path]) -> list[Pair]:
    """Return the pairs of two files."""
    source, target = map(str, paths)
    split = {"source": source, "target_file": target}
    return ParallelText(**split, val_source=source, val_target=target).splits()[0].pairs


def shortened(paths: Sequence[Path], longest: int, folder: Path) -> list[Path]:
    """Write the pairs with at most `longest` words on each side; return their files."""
    kept = [p for p in pairs_of(paths) if max(len(text.split()) for text in p[:2]) <= longest]
    made = [folder / f"short.{path.name}" for path in paths]
    for side, path in enumerate(made):
        path.write_bytes(gzip.compress("".join(f"{pair[side]}\n" for pair in kept).encode()))
    return made


def train(run: Path, training: Sequence[Path], held: Sequence[Path], *settings: str) -> float:
    """Train a model in its folder, by a command of its own; return the minutes it took."""
    keys = ("data.source", "data.target", "data.val_source", "data.val_target")
    data = [f"{key}={path}" for key, path in zip(keys, (*training, *held), strict=True)]
    began = time.perf_counter()
    command = ["train.py", "experiment=translation", *data, f"run_dir={run}", *settings]
    subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=True)
    return (time.perf_counter() - began) / 60


def scores(run: Path, pairs: Sequence[Pair]) -> list[float]:
    """Return the scores of a run's average of the weights, or of its best checkpoint."""
    average = run / "checkpoints" / "average.ckpt"
    loaded = load(average if average.exists() else run)
    written = translate(
        only_translator(loaded, run), loaded.tokenizer, [pair.source for pair in pairs]
    )
    found = translation_scores(written, [pair.target for pair in pairs])
    return [found[name].value for name in SCORES]


def main() -> None:
    options = parser(__doc__, longest=0, seeds=3)
    options.add_argument("folder", type=Path, help="folder of Multi30k")
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--languages", nargs=2, default=["en", "de"], help="from and to")
    options.add_argument("--runs", type=Path, help="keep the runs in this folder")
    asked, settings = options.parse_known_args()
    test = pairs_of(files(asked.folder, "test_2016_flickr", asked.languages))
    groups: dict[str, list[Pair]] = {"": test}
    if asked.longest:
        groups = {f", {name} {asked.longest} words": [] for name in ("up to", "over")}
        short, long = groups.values()
        for pair in test:
            (long if len(pair.source.split()) > asked.longest else short).append(pair)
    rows: list[list[str]] = []
    found: dict[str, list[list[float]]] = {group: [] for group in groups}
    with tempfile.TemporaryDirectory() as name:
        runs = asked.runs or Path(name)
        runs.mkdir(parents=True, exist_ok=True)
        training = files(asked.folder, "train", asked.languages)
        if asked.longest:
            training = shortened(training, asked.longest, runs)
        held = files(asked.folder, "val", asked.languages)
        for seed in range(1, asked.seeds + 1):
            run = runs.absolute() / f"seed-{seed}"
            more = [f"trainer.max_minutes={asked.minutes:g}", f"seed={seed}", *settings]
            minutes = train(run, training, held, *more)
            summary = json.loads((run / "summary.json").read_text())
            for group, pairs in groups.items():
                found[group].append(scores(run, pairs))
                cells = [f"{summary['parameters'] / 1e6:.2f} M", f"{minutes:.1f}"]
                cells += [f"{summary['epochs']:.1f}", f"{summary['val_loss']:.3f}"]
                rows.append([f"seed {seed}{group}", *cells, *_shown(found[group][-1])])
    for group, each in found.items():
        means = [mean(column) for column in zip(*each, strict=True)]
        rows.append([f"mean{group}", "", "", "", "", *_shown(means)])
    columns = ("", "parameters", "minutes", "epochs", "val loss", *SCORES.values())
    report(
        f"How good are translations after {asked.minutes:g} minutes on Multi30k?",
        columns,
        rows,
        notes=[sentence(machine()), f"Settings: {' '.join(settings) or 'of the experiment'}."],
    )


def _shown(values: Sequence[float]) -> list[str]:
    return [f"{value:.2f}" for value in values]


if __name__ == "__main__":
    main()
