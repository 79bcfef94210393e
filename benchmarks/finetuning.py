"""Compare fine-tuning with training from scratch, a frozen body, and TF-IDF.

    python benchmarks/finetuning.py CHECKPOINT DATA OUT [--tasks trec sst2] [--seeds 0 1 2]

DATA holds the folders sst2, cola, trec and ag_news with the files named below. Every arm of a task
uses the same examples, epochs, batch size and evaluation. `finetune.py` runs each arm in a folder
under OUT. The table shows validation and test figures, mean and deviation over the seeds. TF-IDF
features are classified by logistic regression.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, matthews_corrcoef
from sklearn.pipeline import make_pipeline

from webtext_gpt.cli import parse, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.finetuning.data.splits import read_splits
from webtext_gpt.finetuning.run import open_task

REPOSITORY = Path(__file__).parents[1]
FILES = {
    "sst2": {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"},
    "cola": {
        "train": "in_domain_train.tsv",
        "validation": "in_domain_dev.tsv",
        "test": "out_of_domain_dev.tsv",
    },
    "trec": {"train": "TREC.train", "test": "TREC.test"},
    "ag_news": {"train": "dev.tsv", "test": "test.tsv"},
}
METRICS = {"cola": "matthews"}
EPOCHS = {"sst2": 1, "cola": 3, "trec": 6, "ag_news": 1}
ARMS = {
    "fine-tuned": ["optimizer.lr=1e-3"],
    "from scratch": ["from_scratch=true", "optimizer.lr=1e-3"],
    "body frozen": ["layers=0", "optimizer.lr=1e-2"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tasks", nargs="+", default=list(FILES))
    parser.add_argument("--arms", nargs="*", default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options, overrides_for_all = parser.parse_known_args()
    for task in options.tasks:
        files = {split: options.data / task / name for split, name in FILES[task].items()}
        overrides = [f"task={task}", *(f"task.{split}={file}" for split, file in files.items())]
        metric = METRICS.get(task, "accuracy")
        rows = {"TF-IDF": _tf_idf(overrides, metric)}
        for arm in options.arms:
            run = options.out / f"{task}-{arm.replace(' ', '-')}"
            if not (run / "summary.json").exists():
                command = [sys.executable, str(REPOSITORY / "finetune.py"), *overrides]
                command += [f"checkpoint={options.checkpoint}", f"run_dir={run}", *ARMS[arm]]
                command += [f"epochs={EPOCHS[task]}", f"seeds={options.seeds}".replace(" ", "")]
                command += [] if not (run / "config.yaml").exists() else ["resume=auto"]
                subprocess.run(
                    [*command, *overrides_for_all], check=True, stdout=subprocess.DEVNULL
                )
            figures = json.loads((run / "summary.json").read_text())["mean_and_deviation"]
            rows[arm] = {split: figures[f"{split}_{metric}"] for split in ("val", "test")}
        for arm, row in rows.items():
            shown = "".join(f" {r['mean']:.4f} ± {r['deviation']:.4f} |" for r in row.values())
            print(f"| {task} | {metric} | {arm} |{shown}", flush=True)


def _tf_idf(overrides: list[str], metric: str) -> dict[str, dict[str, float]]:
    """Return the figures of TF-IDF on words and word pairs with logistic regression.

    The validation set chooses the tokenization and the strength of regularization.
    """
    command = COMMANDS["finetune"]
    task = open_task(read_settings(command, parse(overrides, command)).task)
    train, validation, test = read_splits(task)
    score = {"accuracy": accuracy_score, "matthews": matthews_corrcoef}[metric]
    found = []
    for pattern, strength in itertools.product((r"\S+", r"\w+|[^\w\s]"), (1, 10, 100)):
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=pattern),
            LogisticRegression(C=strength, max_iter=1000),
        )
        model.fit(train.texts, train.labels)
        scores = [
            float(score(split.labels, model.predict(split.texts))) for split in (validation, test)
        ]
        found.append(scores)
    best = max(found, key=lambda scores: scores[0])
    return {
        name: {"mean": value, "deviation": 0.0}
        for name, value in zip(("val", "test"), best, strict=True)
    }


if __name__ == "__main__":
    main()
