"""Compute and print the figures of a finished run."""

import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.commands import shell_command
from webtext_gpt.data.pretraining import PretrainingData, Source
from webtext_gpt.data.shards import TokenStream
from webtext_gpt.evaluation.tables import aligned
from webtext_gpt.terminal import quoted, say, say_rows
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.callbacks.checkpoints import Checkpoints
from webtext_gpt.training.callbacks.early_stopping import Patience
from webtext_gpt.training.callbacks.samples import last_samples
from webtext_gpt.training.callbacks.sources import Taken, taken
from webtext_gpt.training.callbacks.throughput import Throughput
from webtext_gpt.training.module import TrainingModule
from webtext_gpt.training.validation import byte_shares, weighted_mean

if TYPE_CHECKING:
    from webtext_gpt.training.pretrain import PretrainingModule

LABELS = len("validation loss ")
"""Width of the labels of the printed figures."""
PRINTED = ("val_loss", "val_bits_per_byte", "gzip_bits_per_byte", "xz_bits_per_byte")
"""Figures of each source of a mixture that are printed."""

Summary = dict[str, Any]
"""Figures by name; `None` for one that was not measured."""


def summarize(trainer: L.Trainer, module: "PretrainingModule", data: PretrainingData) -> Summary:
    """Return the contents of `summary.json`: last validation, compressors' figures, speed.

    Args:
        trainer: the trainer, after training and validation.
        module: the trained module.
        data: its data; all text of the validation splits is compressed.
    """
    sources = taken(data, trainer.global_step)
    left_out = {
        name: rows.stream.n_tokens - rows.epoch_tokens for name, rows in data.packed.items()
    }
    return {
        **module.validation_metrics,
        **compressed_sources(data.sources, module.tokenizer),
        **progress_figures(trainer, module),
        **({"sources": sources} if sources else {}),
        **({"left_out_tokens": sum(left_out.values())} if left_out else {}),
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


def compressed_sources(sources: Sequence[Source], tokenizer: Tokenizer) -> dict[str, float]:
    """Return the compressors' figures of the validation text, averaged as the model's are.

    Over several sources, they are means, weighted by the bytes that each source has in a text of
    their shares; `gzip_bits_per_byte_NAME` is the figure of one source.
    """
    found = [
        compressed_bits_per_byte(decoded_documents(source.validation, tokenizer))
        for source in sources
    ]
    if not all(found):
        return {}
    figures = {
        name: weighted_mean([own[name] for own in found], byte_shares(sources)) for name in found[0]
    }
    for source, own in zip(sources, found, strict=True):
        if source.name:
            figures |= {f"{name}_{source.name}": value for name, value in own.items()}
    return figures


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
def print_summary(
    run_dir: str, summary: Summary, *, prompt: str = "The", is_music: bool = False
) -> None:
    """Print the figures of a pretraining run, its last samples, and what to do next.

    Args:
        run_dir: the run's folder.
        summary: its figures.
        prompt: the prompt of the suggested command that generates text.
        is_music: whether the model generates notes, whose bits per byte mean nothing.
    """
    samples = last_samples(Path(run_dir) / "samples.txt")
    if samples and not is_music:  # a model of notes has none
        for number, text in enumerate(samples[1], start=1):
            say(f"\n--- text from the model{f', {number}' if len(samples[1]) > 1 else ''}\n{text}")
    model = summary["val_bits_per_byte"]
    compressors = {name: summary[f"{name}_bits_per_byte"] for name in ("gzip", "xz")}
    beaten = [name for name, bits in compressors.items() if model < bits]
    say(
        f"\n--- after {summary['step']:,} steps, {summary['tokens']:,} tokens, "
        f"{summary['seconds']:,.0f} s\n"
        f"validation loss   {summary['val_loss']:.4f} nats a token\n"
        f"perplexity        {summary['val_perplexity']:,.2f}"
    )
    if not is_music:
        say(
            f"bits per byte     {model:.3f}   (gzip -9: {compressors['gzip']:.3f}, "
            f"xz -9: {compressors['xz']:.3f}, of the same text; "
            f"the model beats {' and '.join(beaten) or 'neither yet'})"
        )
    if table := _source_table(summary):
        say(table)
    checkpoint = f"checkpoint={run_dir}"
    say_rows(
        {
            "run": quoted(run_dir),
            "loss curve": quoted(Path(run_dir) / "loss.png"),
            "report": quoted(Path(run_dir) / "report.html"),
            "try it": shell_command(
                "generate", checkpoint, "out=piece.mid" if is_music else f"prompt={prompt}"
            ),
            "look inside": shell_command("serve", checkpoint),
        },
        least=LABELS,
    )


def _source_table(summary: Summary) -> str:
    """Return a table of the sources of a mixture; empty if the corpus is none."""
    sources: dict[str, Taken] = summary.get("sources", {})
    if not sources:
        return ""
    heads = ["source", "share", "samples", "tokens", "epochs", "val loss", "bits/byte"]
    rows = [[*heads, "gzip -9", "xz -9"]]
    for name, own in sources.items():
        loss, *bits = (summary[f"{figure}_{name}"] for figure in PRINTED)
        counts = [f"{own['share']:.1%}", f"{own['samples']:,}", f"{own['tokens']:,}"]
        rows.append([name, *counts, f"{own['epochs']:.2f}", f"{loss:.4f}"])
        rows[-1] += [f"{value:.3f}" for value in bits]
    return aligned(rows)
