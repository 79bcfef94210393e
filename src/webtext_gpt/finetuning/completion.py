"""Fine-tuning on prompts and completions; only the tokens of completions count in the loss."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from webtext_gpt.errors import UserError
from webtext_gpt.files import write_json_lines
from webtext_gpt.finetuning.data.examples import Examples
from webtext_gpt.finetuning.data.sequences import (
    EncodedExamples,
    ExampleBatch,
    collate,
    encode_completions,
)
from webtext_gpt.finetuning.data.task import Task
from webtext_gpt.finetuning.metrics import COMPLETION, Answers, compute
from webtext_gpt.finetuning.module import (
    FinetuningModule,
    FinetuningOptions,
    mean_text_loss,
    text_losses,
)
from webtext_gpt.generation.prompts import encode_prompts, fit_prompts, remarks
from webtext_gpt.generation.sampling import GREEDY
from webtext_gpt.generation.texts import Continuation, continuations
from webtext_gpt.model import GPT, perplexity
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings import whole_number
from webtext_gpt.terminal import say
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
            context if that is less. Only prompts that fill the context are cut, so an answer to a
            long prompt has less room.

    Raises:
        UserError: a number is out of range, or the first metric is not the loss. The other metrics
            need generated text, so they cannot choose the best checkpoint.
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
        self._limit(body)
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

        Prompts, answers and references are written to `answers.jsonl`. The figures count the
        answers, the prompts that were shortened, and the answers that were stopped by their
        maximum length.
        """
        figures: dict[str, float] = self._loss(model, tokenizer, examples)
        n_all = len(examples)
        examples = examples.subset(range(min(self.score_limit or n_all, n_all)))
        if len(examples) < n_all:
            say(
                f"the first {len(examples):,} of the {n_all:,} {out.name} prompts are answered; "
                "score_limit=null answers all"
            )
        limits = {"max_new_tokens": self._limit(model), "block_size": model.config.block_size}
        between = self.task.between
        encoded = encode_prompts(tokenizer, examples.texts, between)
        prompts, cut = fit_prompts(tokenizer, encoded, between=between, **limits)
        written = _answers(model, tokenizer, prompts, limits["max_new_tokens"])
        unended = sum(not answer.is_ended for answer in written)
        for remark in remarks(f"{out.name} ", len(prompts), cut, unended, **limits):
            say(remark)
        texts = [answer.text for answer in written]
        references = [str(label) for label in examples.labels]
        write_json_lines(
            out / "answers.jsonl",
            (
                {"prompt": prompt, "answer": answer, "reference": reference}
                for prompt, answer, reference in zip(
                    tokenizer.decode_batch(prompts), texts, references, strict=True
                )
            ),
        )
        figures |= compute(COMPLETION, Answers(figures["loss"], texts, references))
        return figures | {"answers": len(texts), "shortened_prompts": cut, "stopped": unended}

    def _limit(self, model: GPT) -> int:
        """Return the maximum tokens of an answer; a long prompt may leave less room for it."""
        context = model.config.block_size
        new = self.max_new_tokens
        new = min(LONGEST_ANSWER, context // 2) if new is None else new
        if new >= context:
            raise UserError(
                f"max_new_tokens={new} leaves no room for a prompt in the model's context of "
                f"{context} tokens"
            )
        return new

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


def _answers(
    model: GPT, tokenizer: Tokenizer, prompts: Sequence[list[int]], max_new_tokens: int
) -> list[Continuation]:
    """Return the greedy answer to each prompt; the longest are answered first, in batches."""
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    answers: dict[int, Continuation] = {}
    with progress_bar("answers", total=len(prompts), unit="prompt") as bar:
        for start in range(0, len(order), SCORE_BATCH):
            rows = order[start : start + SCORE_BATCH]
            written = continuations(
                model,
                tokenizer,
                [prompts[row] for row in rows],
                max_new_tokens=max_new_tokens,
                sampling=GREEDY,
                overflow="shorten",
            )
            answers.update(zip(rows, written, strict=True))
            bar.update(len(rows))
    return [answers[row] for row in range(len(prompts))]


def completion_nats(model: GPT, batch: ExampleBatch) -> Tensor:
    """Return each completion's nats and number of tokens, `(B, 2)`."""
    hidden = model.hidden_states(batch.tokens)
    nats, counts = text_losses(model.lm_head, hidden, batch.tokens, batch.lengths, batch.starts)
    return torch.stack((nats, counts.to(nats.dtype)), dim=1)


def loss_figures(measured: Tensor) -> dict[str, float]:
    """Return nats per token and perplexity, from the `(n, 2)` of `completion_nats`."""
    nats, tokens = measured.double().sum(dim=0).tolist()
    return {"loss": nats / tokens, "perplexity": perplexity(nats / tokens)}
