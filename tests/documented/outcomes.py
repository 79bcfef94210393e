"""Files and output that the pages promise for their commands."""

import fnmatch
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.documented.tables import FINETUNE, PAIRS, TRAIN

MANIFEST = "{out}/manifest.json"


class Outcome(NamedTuple):
    """Files and output that a command has to leave.

    Attributes:
        pattern: regular expression that is searched in the text of a command.
        files: patterns of files that it writes; `{KEY}` is the value of that key, and `*` any text.
        prints: regular expressions that are searched in what it prints.
    """

    pattern: str
    files: tuple[str, ...] = ()
    prints: tuple[str, ...] = ()


OUTCOMES = (
    Outcome(
        TRAIN,
        ("*checkpoints/best.ckpt", "*checkpoints/last.ckpt", "*metrics.csv", "*loss.png",
         "*summary.json", "*report.html", "*report.md", "*config.yaml"),
        (r"(?m)^run +\S+", r"(?m)^try it +\S*(?:python|webtext-gpt) ",
         r"(?m)^look inside +\S*(?:python|webtext-gpt) "),
    ),
    Outcome(rf"{TRAIN}(?!.*(?:{PAIRS}))", (), (r"(?m)^report +\S+\.html",)),
    Outcome(rf"{TRAIN}(?!.*samples=null)", ("*samples.txt",)),
    Outcome(rf"{TRAIN}(?!.*(?:data=midi|experiment=chorales|translation|data=pairs))", (),
            (r"bits per byte +\d.*gzip -9: .*xz -9: ",)),
    Outcome(r"experiment=translation", ("*checkpoints/average.ckpt",)),
    Outcome(r"data=mixture.*novels", (), (r"(?m)^source .*gzip -9", r"(?m)^plays +25\.0%")),
    Outcome(r"logger=wandb", ("*wandb/offline-run-*",), (r"wandb sync ",)),
    Outcome(r"estimate=true", (), (r"GiB a device .*activations +total",)),
    Outcome(r"estimate=A100", (), (r"time +on 8 A100", r"tokens/s +hours")),
    Outcome(r"gpt2_small.*estimate=A100", (), (r"ZeRO-2 +0\.3590 .* 1,434,500 +60\.91  <-",)),
    Outcome(r"estimate=RTX-4090", (), (r"time +on 1 RTX-4090", r"tokens/s +hours")),
    Outcome(r"train\.py --help$", (), (r"trainer\.max_steps",)),
    Outcome(r"--help scheduler", (), (r"scheduler=cosine|cosine", r"scheduler\.warmup_steps")),
    Outcome(r"webtext-gpt --help", (), (r"\btrain\b", r"\bfinetune\b", r"\blinks\b")),
    Outcome(r"data\.path=my texts.*--cfg", (), (r"my texts/\[1\]\.txt", r"max_steps: 1000\b")),
    Outcome(r"(?:budget|size)=\S+ --cfg", (), (r"n_layer: \d", r"global_batch_tokens: \d")),
    Outcome(r"next=10", (), (r"(?m)(?:^ +\d+\.\d\d% .*\n){10}",)),
    Outcome(r"next=10 steps=5$", (), (r"(?:'.*' is followed by\n(?:    .*\n){10}){5}",)),
    Outcome(r"generate\.py(?!.*(?:out=|my_translator))", (), (r"\w",)),
    Outcome(r"generate\.py.*my_translator prompt=", (), (r"\n",)),  # untrained: often no word
    Outcome(r"generate\.py.*out=(?!continued)", ("{out}",)),
    Outcome(r"out=continued\.mid", ("continued-1.mid", "continued-4.mid")),
    Outcome(r"out=piece\.mid", ("piece.mid", "piece.png")),
    Outcome(r"^python eval\.py.*checkpoint=", ("*evaluation.json", "*evaluation.md")),
    Outcome(r"eval\.py.*checkpoint=(?:gpt2|runs/my_run|runs/gpt2)(?!.*(?:hella|core|blimp))", (),
            (r"GPT-2 small \(paper\)", r"LAMBADA", r"WikiText2")),
    Outcome(r"tasks=\[hellaswag", (), ("hellaswag", "arc_challenge", "acc_norm", "completion_acc")),
    Outcome(r"tasks=core ", (), ("core_v1", "core_v2", "GPT-2 xl")),
    Outcome(r"checkpoint.*tasks=blimp ", (), ("5-gram", "LSTM", "Transformer-XL", "people")),
    Outcome(r"tasks=music", (), ("music",)),
    Outcome(r"tasks=translation", (), ("bleu", "chrf")),
    Outcome(r"eval\.py compare=", ("*comparison.json", "*comparison.md", "*A/*", "*B/*")),
    Outcome(r"eval\.py report=", ("scaling/scaling.png", "scaling/scaling.md")),
    Outcome(r"evaluation\.corpora", ("*corpora.html", "*corpora.md", "*corpora.json",
                                     "*corpora.png", "*models/*/seed-0/*")),
    Outcome(r"lm_eval", (), (r"lambada_openai", r"perplexity")),
    Outcome(rf"{FINETUNE}", ("*summary.json", "*loss.png", "*report.html")),
    Outcome(rf"{FINETUNE}(?!.*task=pairs)", ("*validation/report.md", "*validation/confusion.png",
                                             "*validation/mistakes.jsonl"),
            (r"precision +recall +F1", r"(?m)^accuracy +0\.\d{4}$")),
    Outcome(rf"{FINETUNE}(?!.*(?:task=pairs|seeds=))", (), (r"(?m)^try it .*predict=FILE",)),
    Outcome(r"finetune.*task=pairs", ("*answers.jsonl",)),
    Outcome(r"predict=", ("{out}",)),
    Outcome(r"evaluate=", (), ("accuracy",)),
    Outcome(r"webtext_gpt\.weights.*out=(?:exported|FOLDER)",
            ("exported/config.json", "exported/model.safetensors", "exported/tokenizer.json")),
    Outcome(r"webtext_gpt\.weights checkpoint=(?!runs/my_classifier).*out=exported$",
            ("exported/generation_config.json", "exported/tokenizer_config.json",
             "exported/special_tokens_map.json", "exported/vocab.json", "exported/merges.txt")),
    Outcome(r"webtext_gpt\.weights.*out=\S*\.", ("{out}",)),
    Outcome(r"out=onnx/model\.onnx", ("onnx/tokenizer.json",)),
    Outcome(r"serve\.py(?!.*export=)", (), (r"http://127\.0\.0\.1:\d+", "stopped")),
    Outcome(r"serve\.py.*export=", ("{export}",)),
    Outcome(r"data_prep/(?!filters|report|build).*out=(?!s3)", (MANIFEST,)),
    Outcome(r"data_prep/links\.py.*out=s3://", (), (r"rows in, \d+ out",)),
    Outcome(r"^webtext-gpt links", (MANIFEST,)),
    Outcome(r"data_prep/pages", ("{out}/pages-*.warc.gz", "{out}/status.parquet")),
    Outcome(r"data_prep/documents", ("{out}/documents-*.parquet",)),
    Outcome(r"data_prep/dedup", ("{out}/documents-*.parquet", "{out}/clusters.parquet")),
    Outcome(r"data_prep/tokenizer", ("{out}/tokenizer.json",)),
    Outcome(r"data_prep/shards", ("{out}/tokens-00000.bin", "{out}/documents-00000.bin",
                                  "{out}/tokenizer.json")),
    Outcome(r"data_prep/quality", ("{out}/model.safetensors",)),
    Outcome(r"data_prep/overlap", ("{out}/overlap.json", "{out}/overlap.md", "{out}/overlap.html",
                                   "{out}/overlap.png", "{out}/samples.parquet")),
    Outcome(r"data_prep/overlap\.py train=", ("{out}/train_documents.parquet",)),
    Outcome(r"data_prep/filters", ("{out}",)),
    Outcome(r"data_prep/report", ("{out}/report.html", "{out}/report.md", "{out}/*.png")),
    Outcome(r"data_prep/build",
            ("{out}/shards/manifest.json", "{out}/report/report.html", "{out}/report/report.md"),
            (r"train\.py data=shards ", r"experiment=webtext")),
    Outcome(r"data_prep/build\.py dumps=",
            tuple(f"{{out}}/{name}/manifest.json"
                  for name in ("links", "pages", "documents", "dedup", "tokenizer"))),
    Outcome(r"data_prep/build.*limit=", ("{out}/limit/manifest.json",)),
    Outcome(r"data_prep/build.*overlap\.", ("{out}/overlap/overlap.json",)),
    Outcome(r"> docs/reference/configuration\.md", ("docs/reference/configuration.md",)),
    Outcome(r"> docstrings\.jsonl", ("docstrings.jsonl",)),
    Outcome(r"> chargpt/config\.json", ("chargpt/config.json",)),
    Outcome(r"^cat > new\.csv", ("new.csv",)),
    Outcome(r"^python - <<'END'", ("docstrings.csv",)),
    Outcome(r"^python benchmarks/", (), (r"\d",)),
    Outcome(r"webtext-gpt cache", (), (r"\w",)),
    Outcome(r"torch\.cuda\.is_available", (), (r"True|False",)),
)  # fmt: skip


def check_outcomes(
    text: str, words: Sequence[str], printed: str, folder: Path, written: Sequence[str]
) -> None:
    """Fail if a command has not written or printed what the pages say.

    Args:
        text: the command as documented.
        words: the command as run.
        printed: its standard output.
        folder: where it ran.
        written: the files that it wrote, relative to the folder.
    """
    keys = dict(word.split("=", 1) for word in words if "=" in word)
    for outcome in OUTCOMES:
        if not re.search(outcome.pattern, text):
            continue
        for pattern in outcome.files:
            name = pattern.format_map(keys).replace("[", "[[]")
            assert fnmatch.filter(written, name), f"{name} is not among {written}"
        for pattern in outcome.prints:
            assert re.search(pattern, printed), f"{pattern!r} is not in {printed!r}"
    if re.search(TRAIN, text):
        steps = int(keys.get("trainer.max_steps", 4))
        summaries = [name for name in written if name.endswith("summary.json")]
        taken = {json.loads((folder / name).read_text())["step"] for name in summaries}
        assert taken == {steps}, f"{taken} steps were taken, not {steps}"
    if "callbacks=zero_shot" in text:
        (metrics,) = (name for name in written if name.endswith("metrics.csv"))
        columns = (folder / metrics).read_text().partition("\n")[0].split(",")
        assert {"lambada_accuracy", "wikitext2_perplexity"} <= set(columns)


def says_nothing_is_promised(text: str) -> bool:
    """Return whether no outcome belongs to a command."""
    return not any(re.search(outcome.pattern, text) for outcome in OUTCOMES)
