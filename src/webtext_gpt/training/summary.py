"""The figures of a finished run."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import lightning as L
import numpy as np

from webtext_gpt.data.shards import TokenStream
from webtext_gpt.evaluation.compression import compressed_bits_per_byte
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.early_stopping import Patience
from webtext_gpt.training.callbacks.throughput import Throughput
from webtext_gpt.training.module import TrainingModule
from webtext_gpt.training.pretraining import PretrainingModule

Summary = dict[str, Any]
"""Names and figures; `None` where one was not measured."""


def summarize(trainer: L.Trainer, module: PretrainingModule, validation: TokenStream) -> Summary:
    """What `summary.json` holds: losses of the last validation, compressors' figures, speed.

    Args:
        trainer: after training and validation.
        module: what was trained.
        validation: the split that was measured; the compressors get the text of all of it.
    """
    return {
        **module.validation_metrics,
        **compressed_bits_per_byte(decoded_documents(validation, module.tokenizer)),
        **progress_figures(trainer, module),
    }


def progress_figures(trainer: L.Trainer, module: TrainingModule) -> Summary:
    """How far and how fast a training of any kind went.

    Args:
        trainer: after training.
        module: what was trained.
    """
    throughput = next((c for c in trainer.callbacks if isinstance(c, Throughput)), None)
    checkpoints = next((c for c in trainer.callbacks if isinstance(c, Checkpoints)), None)
    return {
        **({f"best_{checkpoints.monitor}": checkpoints.best} if checkpoints else {}),
        "step": trainer.global_step,
        "stopped_early": any(isinstance(c, Patience) and c.is_over for c in trainer.callbacks),
        "tokens": trainer.global_step * module.tokens_per_step,
        "seconds": module.seconds,
        "tokens_per_second": throughput.tokens_per_second if throughput else None,
        "parameters": module.num_parameters,
    }


def decoded_documents(stream: TokenStream, tokenizer: Tokenizer) -> Iterator[str]:
    """The text of every document of a split."""
    for batch in _batched(stream.documents(), 1000):
        yield from tokenizer.decode_batch(batch)


def _batched(documents: Iterable[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    documents = iter(documents)
    while batch := list(islice(documents, size)):
        yield batch
