"""Policy for losses and gradient norms that are not finite, and for spikes of the norm."""

import math
import statistics
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from webtext_gpt.checkpoint.store import saved_checkpoints
from webtext_gpt.errors import UserError

WINDOW = 100
"""Number of recent gradient norms whose median is the usual norm."""
FEWEST = 20
"""Number of norms needed before one can count as a spike."""
CHOICES = ("stop", "skip")
MOST_NAMED = 20
"""Maximum number of documents that one message names."""


class Guard:
    """Stop training at a loss or gradient that is not finite, or skip its step.

    Every process calls the checks at the same step with the same values.

    Args:
        not_finite: `stop` or `skip`.
        spike: multiple of the usual gradient norm above which a norm is reported.

    Attributes:
        norms: the recent gradient norms.
        skipping: whether the current step is to be skipped.

    Raises:
        UserError: `not_finite` is neither `stop` nor `skip`.
    """

    def __init__(self, not_finite: str, spike: float) -> None:
        if not_finite not in CHOICES:
            raise UserError(f"guard.not_finite={not_finite} is neither {' nor '.join(CHOICES)}")
        self.not_finite = not_finite
        self.norms = GradientNorms(spike)
        self.skipping = False

    def check_loss(self, loss: float, batch: "StepBatch", finite: Sequence[bool]) -> None:
        """Check the mean loss of a global batch, in nats, before the optimizer's step.

        Args:
            loss: mean over all micro-batches of all processes.
            batch: the batch that gave the loss.
            finite: for each micro-batch of this process, whether its loss is finite.

        Raises:
            UserError: the loss is not finite, and `not_finite` is `stop`.
        """
        self.skipping = not math.isfinite(loss)
        if self.skipping:
            self._refuse(f"the loss is {loss}", batch, finite)

    def check_norm(self, norm: float, batch: "StepBatch") -> None:
        """Check the norm of a global batch's gradient.

        Raises:
            UserError: the norm is not finite, and `not_finite` is `stop`.
        """
        if math.isfinite(norm):
            usual = self.norms.usual if self.norms.is_spike(norm) else None
            if usual is not None:
                batch.report(f"the gradient's norm is {norm:.3g}, {norm / usual:.0f} x the usual")
        elif not self.skipping:
            self.skipping = True
            self._refuse(f"the gradient's norm is {norm}", batch, None)

    def _refuse(self, finding: str, batch: "StepBatch", finite: Sequence[bool] | None) -> None:
        found = batch.documents(finite)
        names = [str(d) for d in found[:MOST_NAMED]] + ["..."] * (len(found) > MOST_NAMED)
        problem = (
            f"{finding} in step {batch.step}, whose batch has the training documents "
            f"{', '.join(names)}"
        )
        if self.not_finite == "skip":
            batch.report(f"{problem}; the step is skipped")
            return
        saved = saved_checkpoints(batch.run_dir)
        raise UserError(
            f"{problem}. Training has stopped before that step; the last good checkpoint is "
            f"{saved[0] if saved else 'none'}. Lower optimizer.lr, lengthen "
            "scheduler.warmup_steps, or resume with guard.not_finite=skip"
        )


@dataclass(frozen=True)
class StepBatch:
    """The global batch of one optimizer step, as described in messages."""

    step: int
    """Number of the step, from 1."""
    run_dir: str | Path
    documents: Callable[[Sequence[bool] | None], Sequence[int]]
    """Returns the numbers of the documents in the micro-batches whose loss is not finite; for
    `None`, those of all micro-batches. A collective operation."""
    is_rank_zero: bool
    """Whether this process prints."""

    def report(self, message: str) -> None:
        """Print a line above the progress bar, on rank 0."""
        if self.is_rank_zero:
            tqdm.write(message, file=sys.stderr)


class GradientNorms:
    """Detects spikes: norms above a multiple of the median of the last `WINDOW` norms.

    Args:
        factor: multiple of the median above which a norm is a spike.

    Attributes:
        spikes: number of spikes so far.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.spikes = 0
        self._last: deque[float] = deque(maxlen=WINDOW)

    def is_spike(self, norm: float) -> bool:
        """Return whether a finite norm is a spike, and remember the norm."""
        spike = len(self._last) >= FEWEST and norm > self.factor * self.usual
        self._last.append(norm)
        self.spikes += spike
        return spike

    @property
    def usual(self) -> float:
        """Median of the last norms."""
        return statistics.median(self._last)

    def state_dict(self) -> dict[str, Any]:
        """Return the last norms and the number of spikes, for a checkpoint."""
        return {"spikes": self.spikes, "last": list(self._last)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.spikes = state["spikes"]
        self._last.extend(state["last"])
