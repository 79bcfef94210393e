"""Settings of `finetune.py`."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from webtext_gpt.settings.base import Settings, keys, setting
from webtext_gpt.settings.inference import DEVICE, INFERENCE_PRECISION
from webtext_gpt.settings.kinds import (
    Number,
    OneOf,
    PathText,
    Switch,
    Whole,
)
from webtext_gpt.settings.lists import Either, Listed
from webtext_gpt.settings.optimization import Muon
from webtext_gpt.settings.run import RunSettings
from webtext_gpt.settings.task import Task

Dropout = Number(0, below=1)
EPOCHS = 3.0
"""Length of training if nothing sets it."""


class Lora(Settings):
    """Low-rank adaptation of every block, instead of `layers` (Hu et al. 2021)."""

    rank: Annotated[int | None, Whole(1, null="no adaptation")] = setting(
        None, "rank of the updates"
    )
    alpha: Annotated[float, Number(above=0)] = setting(16.0, "updates are scaled by alpha / rank")
    dropout: Annotated[float, Dropout] = setting(0.0, "dropout on the inputs of the updates")


class Finetune(RunSettings):
    """Fine-tune a pretrained GPT to classify, to score, or to complete; or use the result.

    The recipe is that of GPT-1 (Radford et al. 2018, section 4.1). A saved classifier labels texts
    with predict=FILE and is measured with evaluate=FILE.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} checkpoint=runs/... task=sst2": "GLUE's sentiment task",
        "{command} checkpoint=runs/... task=file task.train=mine.csv task.label=stars": (
            "your own labels"
        ),
        "{command} checkpoint=runs/my_classifier predict=new.csv out=labels.csv": "label texts",
        "{command} checkpoint=runs/my_classifier evaluate=test.tsv": "measure a classifier",
        "{command} checkpoint=runs/... task=pairs task.train=pairs.jsonl": (
            "learn to complete prompts"
        ),
    }

    checkpoint: Annotated[
        str | None,
        PathText(what="a run folder, .ckpt file, Hugging Face folder or hub name", null="none"),
    ] = setting(None, "model to start from, or classifier to use", common=True)
    task: Task = keys(Task)
    predict: Annotated[str | None, PathText(null="none", remote=True)] = setting(
        None, "file of texts to label, with the task's columns", common=True
    )
    out: Annotated[str | None, PathText(null="predictions.csv in run_dir")] = setting(
        None, ".csv or .jsonl file for the labels and their probabilities", common=True
    )
    evaluate: Annotated[str | None, PathText(null="none", remote=True)] = setting(
        None, "file of labeled texts to measure the classifier on", common=True
    )
    epochs: Annotated[
        float | None,
        Number(above=0, null=f"{EPOCHS:g}, unless trainer.max_steps or max_minutes is set"),
    ] = setting(None, "length of training, in passes over the training rows", common=True)
    batch_size: Annotated[int, Whole(1, unit="examples")] = setting(
        32, "size of one optimizer step, over all devices", common=True
    )
    micro_batch_size: Annotated[
        int | None,
        Whole(1, unit="examples", null="the largest divisor of its share, up to 8,192 tokens"),
    ] = setting(None, "size of one forward pass of one device")
    dropout: Annotated[float, Dropout] = setting(0.1, "dropout on the classification head's input")
    lm_weight: Annotated[float, Number(0)] = setting(
        0.5, "weight of the auxiliary language-model loss; 0: none"
    )
    body_dropout: Annotated[float | None, Number(0, below=1, null="as in pretraining")] = setting(
        None, "dropout in the language model"
    )
    layers: Annotated[str | int, Either((OneOf(("all",)), Whole(0, unit="blocks")))] = setting(
        "all", "blocks to train: all, or the number of last blocks; 0: only the head", common=True
    )
    lora: Lora = keys(Lora)
    train_new_tokens: Annotated[bool, Switch()] = setting(
        True, "with layers or lora.rank: train the embeddings of the special tokens all the same"
    )
    from_scratch: Annotated[bool, Switch()] = setting(
        False, "draw new weights for the body, as a baseline without pretraining"
    )
    validate_every: Annotated[
        int | None, Whole(1, unit="optimizer steps", null="once per epoch")
    ] = setting(None, "interval between validations")
    score_limit: Annotated[int | None, Whole(1, unit="prompts", null="all")] = setting(
        500, "prompts that task=pairs answers for BLEU and ROUGE"
    )
    max_new_tokens: Annotated[
        int | None, Whole(1, unit="tokens", null="128, or half of the context if that is less")
    ] = setting(None, "maximum length of an answer")
    seeds: Annotated[list[int] | None, Listed(Whole(0, 2**32 - 1), null="a single run")] = setting(
        None, "one run per seed, each in a separate folder, then mean and deviation"
    )
    device: Annotated[str, DEVICE] = setting("auto", "device of predictions and final figures")
    precision: Annotated[str, INFERENCE_PRECISION] = setting(
        "auto", "number format of predictions and final figures; auto: bf16 on GPUs that have it"
    )

    @model_validator(mode="after")
    def _refuse_what_does_not_apply(self) -> Self:
        if self.trainer.max_tokens is not None:
            raise ValueError(
                "trainer.max_tokens is for pretraining; set epochs=... or trainer.max_steps=..."
            )
        if not self.train_new_tokens and self.layers == "all" and self.lora.rank is None:
            raise ValueError(
                "train_new_tokens=false is for a frozen embedding; set layers=... or "
                "lora.rank=..., or leave it out"
            )
        if isinstance(self.optimizer, Muon) and self.layers == 0 and self.lora.rank is None:
            raise ValueError(
                "optimizer=muon trains the matrices of blocks, and layers=0 freezes them all; set "
                "layers=1 or above, or optimizer=adamw"
            )
        return self

    @model_validator(mode="after")
    def _refuse_two_lengths(self) -> Self:
        if self.epochs is not None and self.trainer.max_steps is not None:
            raise ValueError(
                f"epochs={self.epochs:g} and trainer.max_steps={self.trainer.max_steps} both give "
                "the length of training; leave one out"
            )
        return self
