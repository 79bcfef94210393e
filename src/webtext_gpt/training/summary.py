"""Compute and print the figures of a finished run."""

import lzma
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.commands import shell_command
from webtext_gpt.data.shards import TokenStream
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.early_stopping import Patience
from webtext_gpt.training.callbacks.throughput import Throughput
from webtext_gpt.training.module import TrainingModule

if TYPE_CHECKING:
    from webtext_gpt.training.pretrain import PretrainingModule

Summary = dict[str, Any]
"""Figures by name; `None` for one that was not measured."""


def summarize(trainer: L.Trainer, module: "PretrainingModule", validation: TokenStream) -> Summary:
    """Return the contents of `summary.json`: last validation, compressors' figures, speed.

    Args:
        trainer: the trainer, after training and validation.
        module: the trained module.
        validation: the validation split, all of whose text is compressed.
    """
    return {
        **module.validation_metrics,
        **compressed_bits_per_byte(decoded_documents(validation, module.tokenizer)),
        **progress_figures(trainer, module),
    }


def progress_figures(trainer: L.Trainer, module: TrainingModule) -> Summary:
    """Return how far and how fast training went.

    Args:
        trainer: the trainer, after training.
        module: the trained module.
    """
    throughput = next((c for c in trainer.callbacks if isinstance(c, Throughput)), None)
    checkpoints = next((c for c in trainer.callbacks if isinstance(c, Checkpoints)), None)
    return {
        **({f"best_{checkpoints.monitor}": checkpoints.best} if checkpoints else {}),
        "step": trainer.global_step,
        "stopped_early": any(isinstance(c, Patience) and c.is_over for c in trainer.callbacks),
        "skipped_steps": module.guard.skipped,
        "tokens": trainer.global_step * module.tokens_per_step,
        "seconds": module.seconds,
        "tokens_per_second": throughput.tokens_per_second if throughput else None,
        "parameters": module.num_parameters,
    }


def compressed_bits_per_byte(texts: Iterable[str]) -> dict[str, float]:
    """Return the bits that `gzip -9` and `xz -9` need for each byte of the texts.

    The texts are joined by newlines. A language model's bits per byte are comparable: an
    arithmetic coder driven by the model would compress the same text to that size.
    """
    gzip, xz = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS), lzma.LZMACompressor(preset=9)
    n_bytes = gzip_bytes = xz_bytes = 0
    for number, text in enumerate(texts):
        data = ("\n" if number else "").encode() + text.encode()
        n_bytes += len(data)
        gzip_bytes += len(gzip.compress(data))
        xz_bytes += len(xz.compress(data))
    if not n_bytes:
        return {}
    return {
        "gzip_bits_per_byte": 8 * (gzip_bytes + len(gzip.flush())) / n_bytes,
        "xz_bits_per_byte": 8 * (xz_bytes + len(xz.flush())) / n_bytes,
    }


def decoded_documents(stream: TokenStream, tokenizer: Tokenizer) -> Iterator[str]:
    """Yield the text of every document in a split."""
    documents: Iterator[np.ndarray] = iter(stream.documents())
    while batch := list(islice(documents, 1000)):
        yield from tokenizer.decode_batch(batch)


@rank_zero_only
def print_summary(run_dir: str, summary: Summary) -> None:
    """Print the figures of a pretraining run, its last sample, and what to do next."""
    samples = Path(run_dir) / "samples.txt"
    if samples.exists():
        print(f"\n--- sample text\n{samples.read_text(encoding='utf-8').split('=== ')[-1].strip()}")
    model = summary["val_bits_per_byte"]
    compressors = {name: summary[f"{name}_bits_per_byte"] for name in ("gzip", "xz")}
    beaten = [name for name, bits in compressors.items() if model < bits]
    print(
        f"\n--- after {summary['step']:,} steps, {summary['tokens']:,} tokens, "
        f"{summary['seconds']:,.0f} s\n"
        f"validation loss   {summary['val_loss']:.4f} nats a token\n"
        f"perplexity        {summary['val_perplexity']:.2f}\n"
        f"bits per byte     {model:.3f}   (gzip -9: {compressors['gzip']:.3f}, "
        f"xz -9: {compressors['xz']:.3f}, of the same text; "
        f"the model beats {' and '.join(beaten) or 'neither yet'})\n"
        f"run               {run_dir}\n"
        f"loss curve        {run_dir}/loss.png\n"
        f"try it            {shell_command('generate', f'checkpoint={run_dir}', 'prompt=The')}"
    )
