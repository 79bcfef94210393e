"""Runs and models of other programs that the documentation's commands read."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from tests.documented.inputs import Inputs, makes
from tests.documented.tables import SHAPE, TRANSLATOR

if TYPE_CHECKING:
    import torch

SHORT = (
    *("trainer.max_steps=4", "trainer.log_every_n_steps=1", "global_batch_tokens=256"),
    "callbacks.samples.max_new_tokens=5",
)
CONTEXT = 1024
"""Block size of the language models: benchmarks have prompts of hundreds of tokens."""


def _pretrain(inputs: Inputs, path: Path, *settings: str) -> None:
    inputs.run("python", "train.py", "data=files", "data.path=my_texts", "tokenizer.vocab_size=280",
               *SHAPE, f"model.block_size={CONTEXT}", *SHORT, f"global_batch_tokens={2 * CONTEXT}",
               f"run_dir={path}", *settings)  # fmt: skip


@makes("runs/my_run", "runs/gpt2", "runs/b", "runs/docstrings", "runs/tiny", "runs/small",
       "runs/medium", "runs/DATE_TIME", "checkpoint=novels", "checkpoint=mixed",
       "resume=runs/small", uses=["my_texts"])  # fmt: skip
def _run(inputs: Inputs, path: Path) -> None:
    layers = {"small": 2, "medium": 3}.get(path.name, 1)
    _pretrain(inputs, path, f"model.n_layer={layers}", "average=ema")


@makes("runs/a", "resume=runs/a", uses=["my_texts"])
def _run_that_may_become_longer(inputs: Inputs, path: Path) -> None:
    _pretrain(inputs, path, "scheduler=wsd", "seed=2")


@makes("resume=runs/my_run", uses=["my_texts"])
def _interrupted_run(inputs: Inputs, path: Path) -> None:
    with _ctrl_c(step=2):
        _pretrain(inputs, path)


def _ctrl_c(step: int) -> "mock._patch":
    """Return a context in which a run gets Ctrl-C in a step; it saves, and exits with 1."""
    from webtext_gpt.training.callbacks.interrupt import GracefulInterrupt

    stop = GracefulInterrupt.on_train_batch_start

    def interrupt(self: GracefulInterrupt, trainer: object, *arguments: object) -> None:
        if trainer.global_step == step:
            self._request(2, None)
        stop(self, trainer, *arguments)

    return mock.patch.object(GracefulInterrupt, "on_train_batch_start", interrupt)


def _finetune(inputs: Inputs, path: Path, *settings: str) -> None:
    inputs.run("python", "finetune.py", "checkpoint=runs/my_run", *settings,
               "trainer.max_steps=4", f"run_dir={path}")  # fmt: skip


@makes("runs/my_classifier", "my_classifier", uses=["runs/my_run", "reviews.csv"])
def _classifier(inputs: Inputs, path: Path) -> None:
    _finetune(inputs, path, "task=file", "task.train=reviews.csv", "task.text=review",
              "task.label=stars")  # fmt: skip


@makes("resume=runs/my_classifier", uses=["runs/my_run", "reviews.csv"])
def _interrupted_classifier(inputs: Inputs, path: Path) -> None:
    with _ctrl_c(step=2):
        _classifier(inputs, path)


@makes("runs/packages", uses=["runs/my_run", "docstrings.csv"])
def _packages(inputs: Inputs, path: Path) -> None:
    _finetune(inputs, path, "task=file", "task.train=docstrings.csv", "task.label=package")


@makes("runs/feedback", uses=["runs/my_run", "feedback.csv"])
def _feedback(inputs: Inputs, path: Path) -> None:
    _finetune(inputs, path, "task=file", "task.train=feedback.csv", "task.text=Review Text",
              "task.label=Rating", "task.skip_empty=true")  # fmt: skip


@makes("sentiment", uses=["runs/my_run", "sst2"])
def _sentiment(inputs: Inputs, path: Path) -> None:
    _finetune(inputs, path, "task=sst2", "task.train=sst2/train.tsv",
              "task.validation=sst2/dev.tsv")  # fmt: skip


@makes("runs/my_summarizer", uses=["runs/my_run", "pairs.jsonl"])
def _summarizer(inputs: Inputs, path: Path) -> None:
    _finetune(inputs, path, "task=pairs", "task.train=pairs.jsonl", "score_limit=2")


@makes("runs/my_translator", uses=["train.en", "train.de"])
def _translator(inputs: Inputs, path: Path) -> None:
    inputs.run("python", "train.py", "data=pairs", "data.source=train.en", "data.target=train.de",
               *TRANSLATOR, "tokenizer.vocab_size=280", *SHORT, f"run_dir={path}")  # fmt: skip


@makes("runs/my_chorales", uses=["Jsb16thSeparated.json"])
def _composer(inputs: Inputs, path: Path) -> None:
    inputs.run("python", "train.py", "experiment=chorales", "data.path=Jsb16thSeparated.json",
               *SHAPE, *SHORT, f"run_dir={path}")  # fmt: skip


@makes("gpt2", "openai-community/gpt2", "exported", "TOKENIZER_FOLDER", uses=["runs/my_run"])
def _hugging_face_folder(inputs: Inputs, path: Path) -> None:
    inputs.run("python", "-m", "webtext_gpt.weights", "checkpoint=runs/my_run", f"out={path}")


@makes("tokenizer.json", uses=["gpt2"])
def _tokenizer(inputs: Inputs, path: Path) -> None:
    path.write_bytes((inputs.path("gpt2") / "tokenizer.json").read_bytes())


@makes("nanoGPT")
def _nanogpt(inputs: Inputs, path: Path) -> None:
    """Its checkpoint, as its train.py saves it, and the text with the characters."""
    import torch

    text = path / "data/shakespeare_char/input.txt"
    text.parent.mkdir(parents=True)
    text.write_text(inputs.path("input.txt").read_text())
    arguments = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 64, "bias": True}
    arguments["vocab_size"] = len(set(text.read_text()))
    weights = _linear_layout(arguments)
    (path / "out").mkdir()
    torch.save({"model": weights, "model_args": arguments, "iter_num": 1}, path / "out/ckpt.pt")


@makes("chargpt", uses=["input.txt"])
def _mingpt(inputs: Inputs, path: Path) -> None:
    """Its state dict of three heads, and the file that says so."""
    import torch

    path.mkdir()
    shape = {"n_layer": 1, "n_head": 3, "n_embd": 48, "block_size": 64}
    characters = len(set(inputs.path("input.txt").read_text()))
    torch.save(_linear_layout({**shape, "vocab_size": characters}), path / "model.pt")
    (path / "config.json").write_text(json.dumps({"n_head": 3}))


def _linear_layout(shape: dict) -> "dict[str, torch.Tensor]":
    """Return the weights of transformers' GPT-2 with the matrices as nn.Linear has them."""
    from transformers import GPT2Config, GPT2LMHeadModel

    given = {**shape, "n_positions": shape["block_size"]}
    weights = GPT2LMHeadModel(GPT2Config(**given)).state_dict()
    return {
        name: value.T.contiguous() if re.search(r"\.(c_\w+)\.weight$", name) else value
        for name, value in weights.items()
    }
