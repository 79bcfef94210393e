"""Fine-tuning on prompts and completions, in which only the completions are learned."""

from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.prompted import answers
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.files import write_json_lines
from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.data.sequences import (
    EncodedExamples,
    ExampleBatch,
    collate,
    encode_completions,
    shortened,
)
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.metrics import COMPLETION, Answers, compute
from webtext_gpt.finetuning.module import (
    FinetuningModule,
    FinetuningOptions,
    mean_text_loss,
    text_losses,
)
from webtext_gpt.model import GPT, perplexity
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import Tokenizer

LONGEST_ANSWER = 128
"""Maximum tokens of an answer, unless `max_new_tokens` is set or the context is under 256."""

SCORE_BATCH = 32
"""Number of prompts answered at once."""


class CompletionModule(FinetuningModule):
    """Trains a language model to complete prompts; tokens of prompts are not targets.

    Args:
        model: the language model.
        tokenizer: the model's.
        options: see `FinetuningModule`.
    """

    model: GPT

    def __init__(
        self, model: GPT, tokenizer: Tokenizer, **options: Unpack[FinetuningOptions]
    ) -> None:
        def loss(batch: ExampleBatch) -> Tensor:
            hidden = model.hidden_states(batch.tokens)
            return mean_text_loss(model.lm_head, hidden, batch.tokens, batch.lengths, batch.starts)

        super().__init__(model, tokenizer, loss, **options)

    def training_step(self, batch: ExampleBatch, batch_idx: int) -> Tensor:
        """See `TrainingModule.training_step`."""
        return super().training_step((batch,), batch_idx)

    def measure(self, batch: ExampleBatch) -> Tensor:
        """Return each completion's nats and number of tokens, `(B, 2)`."""
        return completion_nats(self.model, batch)

    def validation_figures(self) -> dict[str, float]:
        """Return the loss of completions in nats per token, and their perplexity."""
        return {f"val_{name}": value for name, value in loss_figures(self.gathered()[0]).items()}


class Completion:
    """`Objective` of completions, for which the language model needs no head.

    Args:
        task: names the columns, and the text between a prompt and its completion.
        score_limit: maximum number of prompts to answer for BLEU and ROUGE; `None` answers all.
        max_new_tokens: maximum tokens of an answer; `None` means `LONGEST_ANSWER`, or half of the
            context if that is less.

    Raises:
        UserError: a number is out of range, or the first metric is not the loss. The others need
            generated text, so they cannot choose the best checkpoint.
    """

    def __init__(self, task: Task, *, score_limit: int | None, max_new_tokens: int | None) -> None:
        if task.metrics[0] != "loss":
            raise UserError(
                f"task.metrics=[{','.join(task.metrics)}]: the first, which chooses the best "
                "checkpoint, must be loss; the others are measured after training"
            )
        if score_limit is not None:
            whole_number("score_limit", score_limit, 1)
        if max_new_tokens is not None:
            whole_number("max_new_tokens", max_new_tokens, 1)
        self.task = task
        self.labels: tuple[str, ...] = ()
        self.score_limit = score_limit
        self.max_new_tokens = max_new_tokens

    def build_model(self, body: GPT, tokenizer: Tokenizer) -> tuple[GPT, Tokenizer]:
        """Return the language model itself; see `Objective`.

        Raises:
            UserError: the model's context has no room for answers.
        """
        self._room(body)
        return body, tokenizer

    def encode(self, model: GPT, tokenizer: Tokenizer, examples: Examples) -> EncodedExamples:
        """See `Objective`."""
        sequences = encode_completions(
            tokenizer,
            model.config.block_size,
            examples.texts,
            [str(label) for label in examples.labels],
            self.task.between,
        )
        no_targets = np.zeros(len(examples), dtype=np.int64)
        return EncodedExamples(sequences, no_targets, examples.places)

    def build_module(
        self, model: GPT, tokenizer: Tokenizer, **options: Unpack[FinetuningOptions]
    ) -> CompletionModule:
        """See `Objective`."""
        return CompletionModule(model, tokenizer, **options)

    def evaluate(
        self, model: GPT, tokenizer: Tokenizer, examples: Examples, out: Path
    ) -> dict[str, float]:
        """Measure the loss, and BLEU and ROUGE of greedy answers to the first prompts.

        Prompts, answers and references are written to `answers.jsonl`.
        """
        figures = self._loss(model, tokenizer, examples)
        examples = examples.subset(range(min(self.score_limit or len(examples), len(examples))))
        prompts, written = self._answers(model, tokenizer, examples)
        references = [str(label) for label in examples.labels]
        write_json_lines(
            out / "answers.jsonl",
            (
                {"prompt": prompt, "answer": answer, "reference": reference}
                for prompt, answer, reference in zip(prompts, written, references, strict=True)
            ),
        )
        return figures | compute(COMPLETION, Answers(figures["loss"], written, references))

    def _answers(
        self, model: GPT, tokenizer: Tokenizer, examples: Examples
    ) -> tuple[list[str], list[str]]:
        """Return the prompts, shortened to fit, and the answers to them."""
        most, new = self._room(model)
        between = self.task.between
        prompts = [
            tokenizer.decode(shortened(tokenizer, ids, between, most))
            for ids in tokenizer.encode_batch([text + between for text in examples.texts])
        ]
        scorer = Scorer(model, tokenizer)
        written = answers(scorer, "answers", prompts, max_new_tokens=new, batch_size=SCORE_BATCH)
        return prompts, written

    def _room(self, model: GPT) -> tuple[int, int]:
        """Return the maximum numbers of tokens of a prompt and of its answer."""
        context = model.config.block_size
        new = self.max_new_tokens
        new = min(LONGEST_ANSWER, context // 2) if new is None else new
        if new >= context:
            raise UserError(
                f"max_new_tokens={new} leaves no room for a prompt in the model's context of "
                f"{context} tokens"
            )
        return context - new, new

    @torch.inference_mode()
    def _loss(self, model: GPT, tokenizer: Tokenizer, examples: Examples) -> dict[str, float]:
        encoded = self.encode(model, tokenizer, examples)
        device = model.wte.weight.device
        measured = []
        for first in range(0, len(examples), SCORE_BATCH):
            rows = range(first, min(first + SCORE_BATCH, len(examples)))
            batch = collate([encoded.item(row, row) for row in rows], tokenizer.end_of_text)
            batch = ExampleBatch(*(tensor.to(device) for tensor in batch))
            measured.append(completion_nats(model, batch))
        return loss_figures(torch.cat(measured))


def completion_nats(model: GPT, batch: ExampleBatch) -> Tensor:
    """Return each completion's nats and number of tokens, `(B, 2)`."""
    hidden = model.hidden_states(batch.tokens)
    nats, counts = text_losses(model.lm_head, hidden, batch.tokens, batch.lengths, batch.starts)
    return torch.stack((nats, counts.to(nats.dtype)), dim=1)


def loss_figures(measured: Tensor) -> dict[str, float]:
    """Return nats per token and perplexity, from the `(n, 2)` of `completion_nats`."""
    nats, tokens = measured.double().sum(dim=0).tolist()
    return {"loss": nats / tokens, "perplexity": perplexity(nats / tokens)}
