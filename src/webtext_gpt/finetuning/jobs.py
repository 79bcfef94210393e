"""What fine-tuning does of its own for each kind of task: the model, its inputs, its figures."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from omegaconf import DictConfig

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.prompted import answers
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.text_metrics import measure_generated
from webtext_gpt.files import write_json_lines
from webtext_gpt.finetuning.classification import ClassificationModule
from webtext_gpt.finetuning.completion import CompletionModule, completion_nats, loss_figures
from webtext_gpt.finetuning.data.datamodule import Batch, EncodedExamples, collate
from webtext_gpt.finetuning.data.examples import Examples, label_names
from webtext_gpt.finetuning.data.sequences import encode_completions, encode_texts, shortened
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.labelled import report_examples, targets_of
from webtext_gpt.finetuning.model import add_head
from webtext_gpt.finetuning.module import FinetuningModule
from webtext_gpt.finetuning.predict import TextClassifier
from webtext_gpt.model import GPT, GPTClassifier
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import Tokenizer

LONGEST_ANSWER = 128
"""Tokens, where neither the call nor the context sets fewer."""

SCORE_BATCH = 32
"""Prompts that are answered at once."""


class Job(Protocol):
    """A kind of task, with one task's settings.

    Attributes:
        labels: of the classes; one for a number, none for completions.
    """

    labels: tuple[str, ...]

    def model(self, body: GPT, tokenizer: Tokenizer) -> tuple[GPT | GPTClassifier, Tokenizer]:
        """What is trained, on a language model, which is changed by it."""
        ...

    def encode(self, model: Any, tokenizer: Tokenizer, examples: Examples) -> EncodedExamples:
        """Examples as the model reads them."""
        ...

    def module(self, model: Any, tokenizer: Tokenizer, **options: Any) -> FinetuningModule:
        """The model in training."""
        ...

    def conclude(
        self,
        model: Any,
        tokenizer: Tokenizer,
        examples: Examples,
        out: Path,
    ) -> dict[str, float]:
        """Figures of a trained model; what can be looked at is written into a folder."""
        ...


class ClassificationJob:
    """Classes, or a number, from texts or pairs of texts.

    Args:
        cfg: as `conf/finetune.yaml` composes it.
        task: what the texts and labels are.
        train: by which the labels are known.

    Raises:
        UserError: there is a single class.
    """

    def __init__(self, cfg: DictConfig, task: Task, train: Examples) -> None:
        self.cfg = cfg
        self.task = task
        self.labels = label_names(train, task)

    def model(self, body: GPT, tokenizer: Tokenizer) -> tuple[GPTClassifier, Tokenizer]:
        """See `Job`."""
        return add_head(
            body,
            tokenizer,
            self.labels,
            pairs=self.task.text_pair is not None,
            both_orders=self.task.symmetric,
            dropout=self.cfg.dropout,
        )

    def encode(
        self, model: GPTClassifier, tokenizer: Tokenizer, examples: Examples
    ) -> EncodedExamples:
        """See `Job`."""
        sequences = encode_texts(
            tokenizer,
            model.config,
            model.body.config.block_size,
            examples.texts,
            examples.seconds,
        )
        return EncodedExamples(sequences, targets_of(examples, self.labels), examples.places)

    def module(
        self, model: GPTClassifier, tokenizer: Tokenizer, **options: Any
    ) -> ClassificationModule:
        """See `Job`. The auxiliary loss is of use only where the language model is trained."""
        is_trained = any(p.requires_grad for p in model.body.parameters())
        return ClassificationModule(
            model,
            tokenizer,
            lm_weight=self.cfg.lm_weight if is_trained else 0.0,
            positive=self.task.positive,
            **options,
        )

    def conclude(
        self, model: GPTClassifier, tokenizer: Tokenizer, examples: Examples, out: Path
    ) -> dict[str, float]:
        """See `Job`."""
        classifier = TextClassifier(model, tokenizer)
        return report_examples(classifier, examples, out, positive=self.task.positive)


class CompletionJob:
    """Completions of prompts, written by the language model.

    Args:
        cfg: as `conf/finetune.yaml` composes it.
        task: what the prompts and completions are.

    Raises:
        UserError: the best checkpoint would be chosen by generating text.
    """

    def __init__(self, cfg: DictConfig, task: Task) -> None:
        if task.metrics[0] != "loss":
            raise UserError(
                f"task.metrics=[{','.join(task.metrics)}]: the first, by which the best checkpoint "
                "is chosen, must be loss; the others are measured at the end"
            )
        if cfg.score_limit is not None:
            whole_number("score_limit", cfg.score_limit, 1)
        if cfg.max_new_tokens is not None:
            whole_number("max_new_tokens", cfg.max_new_tokens, 1)
        self.cfg = cfg
        self.task = task
        self.labels: tuple[str, ...] = ()

    def model(self, body: GPT, tokenizer: Tokenizer) -> tuple[GPT, Tokenizer]:
        """See `Job`: the language model itself.

        Raises:
            UserError: its context has no room for answers.
        """
        self._room(body)
        return body, tokenizer

    def _room(self, model: GPT) -> tuple[int, int]:
        """Tokens for a prompt and for its answer."""
        context, new = model.config.block_size, self.cfg.max_new_tokens
        new = min(LONGEST_ANSWER, context // 2) if new is None else new
        if new >= context:
            raise UserError(
                f"max_new_tokens={new} leaves nothing of the model's context of {context} for a "
                "prompt"
            )
        return context - new, new

    def encode(self, model: GPT, tokenizer: Tokenizer, examples: Examples) -> EncodedExamples:
        """See `Job`."""
        completions = [str(label) for label in examples.labels]
        sequences = encode_completions(
            tokenizer,
            model.config.block_size,
            examples.texts,
            completions,
            self.task.between,
        )
        nothing = np.zeros(len(examples), dtype=np.int64)
        return EncodedExamples(sequences, nothing, examples.places)

    def module(self, model: GPT, tokenizer: Tokenizer, **options: Any) -> CompletionModule:
        """See `Job`."""
        return CompletionModule(model, tokenizer, **options)

    def conclude(
        self, model: GPT, tokenizer: Tokenizer, examples: Examples, out: Path
    ) -> dict[str, float]:
        """Loss, and BLEU and ROUGE of greedy answers to the first `score_limit` prompts.

        The prompts, answers and references are written into `answers.jsonl`.
        """
        figures = self._loss(model, tokenizer, examples)
        limit = self.cfg.score_limit
        examples = examples.subset(range(min(limit or len(examples), len(examples))))
        most, new = self._room(model)
        between = self.task.between
        prompts = [
            tokenizer.decode(shortened(tokenizer, ids, between, most))
            for ids in tokenizer.encode_batch([text + between for text in examples.texts])
        ]
        written = answers(
            Scorer(model, tokenizer),
            "answers",
            prompts,
            max_new_tokens=new,
            batch_size=SCORE_BATCH,
        )
        references = [str(label) for label in examples.labels]
        write_json_lines(
            out / "answers.jsonl",
            (
                {"prompt": prompt, "answer": answer, "reference": reference}
                for prompt, answer, reference in zip(prompts, written, references, strict=True)
            ),
        )
        return figures | measure_generated(written, references)

    @torch.inference_mode()
    def _loss(self, model: GPT, tokenizer: Tokenizer, examples: Examples) -> dict[str, float]:
        encoded = self.encode(model, tokenizer, examples)
        device = model.wte.weight.device
        measured = []
        for first in range(0, len(examples), SCORE_BATCH):
            rows = range(first, min(first + SCORE_BATCH, len(examples)))
            batch = collate([encoded.item(row, row) for row in rows], tokenizer.end_of_text)
            batch = Batch(*(tensor.to(device) for tensor in batch))
            measured.append(completion_nats(model, batch))
        return loss_figures(torch.cat(measured))


def open_job(cfg: DictConfig, task: Task, train: Examples) -> Job:
    """The job of a task's kind. Raises as the jobs do."""
    if task.kind == "pairs":
        return CompletionJob(cfg, task)
    return ClassificationJob(cfg, task, train)
