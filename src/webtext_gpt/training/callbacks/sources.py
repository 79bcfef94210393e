"""Report of a mixture: what each source gives, before training and after it."""

from collections.abc import Iterator, Mapping
from typing import TypedDict

import lightning as L

from webtext_gpt.data.pretraining import PretrainingData
from webtext_gpt.terminal import say

MANY_PASSES = 4
"""Passes over a text up to which repeating it is almost as good as new text (Muennighoff et al.
2023, "Scaling Data-Constrained Language Models")."""


class Taken(TypedDict):
    """Amount of training data from one source.

    Attributes:
        share: its fraction of the training samples.
        samples: training samples.
        tokens: their tokens.
        epochs: passes over its training split.
    """

    share: float
    samples: int
    tokens: int
    epochs: float


def taken(data: PretrainingData, steps: int) -> dict[str, Taken]:
    """Return the amounts that the first `steps` steps take from each source of a mixture."""
    samples = steps * data.global_batch_size
    counts, passes = data.sample_counts(samples), data.passes(samples)
    return {
        source.name: {
            "share": source.share,
            "samples": counts[source.name],
            "tokens": counts[source.name] * data.block_size,
            "epochs": passes[source.name],
        }
        for source in data.sources
        if source.name
    }


class Sources(L.Callback):
    """Prints, before the first step, how often the run will read each source of its mixture.

    The length of a run that is limited by time alone is known only when it starts, so this is a
    callback.

    Args:
        data: the training data, a mixture.
        epochs: passes over each source, by name, in proportion to which the shares were chosen;
            empty if they were chosen otherwise.
    """

    def __init__(self, data: PretrainingData, epochs: Mapping[str, float]) -> None:
        self.data = data
        self.epochs = epochs

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the report on rank 0."""
        if trainer.is_global_zero:
            for line in self.lines(trainer.max_steps):
                say(line)

    def lines(self, steps: int) -> Iterator[str]:
        """Yield the report on a run of `steps` optimizer steps."""
        planned = taken(self.data, steps)
        width = max(map(len, planned))
        for source in self.data.sources:
            own = planned[source.name]
            yield (
                f"source      {source.name:{width}}  {own['share']:6.1%} of the samples, "
                f"{source.training.n_tokens:,} tokens, read {own['epochs']:.2f} times"
            )
        if self.epochs:
            tokens = sum(self.epochs[s.name] * s.epoch_tokens for s in self.data.sources)
            yield (
                f"source      trainer.max_tokens={round(tokens)} reads each as often as its epochs "
                "say"
            )
        for name, own in planned.items():
            if own["epochs"] > MANY_PASSES:
                yield (
                    f"note        {name} is read {own['epochs']:.1f} times; beyond "
                    f"{MANY_PASSES} times, repeated text teaches less than new text, so give it a "
                    "smaller weight, more text, or train for fewer steps"
                )
