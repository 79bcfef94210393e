"""Policy for losses and gradient norms that are not finite, and for spikes of the norm."""

import itertools
import math
import re
import statistics
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.store import saved_checkpoints
from webtext_gpt.errors import UserError
from webtext_gpt.terminal import say

WINDOW = 100
"""Number of recent gradient norms whose median is the usual norm."""
FEWEST = 20
"""Number of norms needed before one can count as a spike."""
CHOICES = ("stop", "skip")
MOST_NAMED = 20
"""Maximum number of documents that one message names."""
IN_A_ROW = 10
"""Number of steps skipped in a row that stops training: by then no document is to blame."""
MOST_SPIKES = 10
"""Number of spikes that are printed one by one."""
LESS = "Lower optimizer.lr or lengthen scheduler.warmup_steps"


class Guard:
    """Stop training at a loss or gradient that is not finite, or skip its step.

    Every process calls the checks at the same step with the same values.

    Args:
        not_finite: `stop` or `skip`.
        spike: multiple of the usual gradient norm above which a norm is reported.

    Attributes:
        norms: the recent gradient norms.
        skipping: whether the current step is to be skipped.
        skipped: number of steps skipped so far, by the runs that this one resumes, too.
        in_a_row: number of the last steps that were all skipped.

    Raises:
        UserError: `not_finite` is neither `stop` nor `skip`.
    """

    def __init__(self, not_finite: str, spike: float) -> None:
        if not_finite not in CHOICES:
            raise UserError(f"guard.not_finite={not_finite} is neither {' nor '.join(CHOICES)}")
        self.not_finite = not_finite
        self.norms = GradientNorms(spike)
        self.skipping = False
        self.skipped = 0
        self.in_a_row = 0
        self._reported = 0  # spikes, in this process

    def check_loss(self, loss: float, batch: "StepBatch", finite: Sequence[bool]) -> None:
        """Check the mean loss of a global batch, in nats, before the optimizer's step.

        Args:
            loss: mean over all micro-batches of all processes.
            batch: the batch that gave the loss.
            finite: for each micro-batch of this process, whether its loss is finite.

        Raises:
            UserError: the loss is not finite, and `not_finite` is `stop`, or `IN_A_ROW` steps
                were skipped.
        """
        self.skipping = not math.isfinite(loss)
        if self.skipping:
            self._refuse(f"the loss is {loss}", batch, finite)

    def check_norm(self, norm: float, batch: "StepBatch") -> None:
        """Check the norm of a global batch's gradient.

        Raises:
            UserError: as in `check_loss`.
        """
        if math.isfinite(norm):
            usual = self.norms.usual if self.norms.is_spike(norm) else None
            if usual is not None:
                self._report_spike(norm, usual, batch)
        elif not self.skipping:
            self.skipping = True
            self._refuse(f"the gradient's norm is {norm}", batch, None)
        if not self.skipping:
            self.in_a_row = 0

    def _report_spike(self, norm: float, usual: float, batch: "StepBatch") -> None:
        self._reported += 1
        if self._reported > MOST_SPIKES:
            return
        advice = ""
        if self._reported == 1:
            advice = (
                ". One spike is often a strange batch; if the loss rises or more follow: "
                f"{LESS[0].lower()}{LESS[1:]}"
            )
        elif self._reported == MOST_SPIKES:
            advice = ". Further ones are only counted"
        batch.report(
            f"spike       step {batch.step:,}: the gradient norm, {norm:.3g}, is "
            f"{norm / usual:.0f} times its median, {usual:.3g}{advice}"
        )

    def check_end(self, steps: int) -> None:
        """Check that a run has not skipped all of its steps, however few.

        Raises:
            UserError: it has.
        """
        if 0 < steps <= self.skipped:
            raise UserError(
                f"every step was skipped ({steps:,}), so nothing is learned. {LESS}, in a new run"
            )

    def state_dict(self) -> dict[str, int]:
        """Return the numbers of skipped steps, for a checkpoint."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Restore what `state_dict` returned."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]

    def _refuse(self, finding: str, batch: "StepBatch", finite: Sequence[bool] | None) -> None:
        problem = (
            f"{finding} in step {batch.step}, whose batch has the training {batch.unit} "
            f"{_listed(batch.documents(finite))}"
        )
        if self.not_finite == "stop":
            batch.finish_saving()
            way = "resume" if saved_checkpoints(batch.run_dir) else "start a new run"
            raise UserError(
                f"{problem}. Training has stopped before that step; "
                f"{last_checkpoint(batch.run_dir)}. {LESS}, or {way} with guard.not_finite=skip"
            )
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row >= IN_A_ROW:
            good = batch.step - self.in_a_row
            raise UserError(
                f"{problem}. That is the {self.in_a_row}th step in a row to be skipped, so the "
                f"fault is not in these {batch.unit}: the weights, which are those of step "
                f"{good:,}, have diverged. {LESS}, in a new run"
            )
        batch.report(f"{problem}; the step is skipped")


def last_checkpoint(run_dir: str | Path) -> str:
    """Return a clause for messages that names the newest checkpoint of a run."""
    saved = saved_checkpoints(run_dir)
    return f"the last good checkpoint is {saved[0]}" if saved else "no checkpoint was saved yet"


def _listed(documents: Iterable[int | str]) -> str:
    """Return a list for messages: `3, 12`, or `a.csv, line 3, 12; b.csv, line 5`; not too long."""
    ends = {_split_number(str(document)) for document in documents}
    named = sorted(ends, key=lambda end: (end[0], int(end[1] or 0)))
    groups = itertools.groupby(named[:MOST_NAMED], key=lambda end: end[0])
    text = "; ".join(name + ", ".join(end for _, end in group) for name, group in groups)
    return text + ", ..." * (len(named) > MOST_NAMED)


def _split_number(name: str) -> tuple[str, str]:
    """Split a name before the number that it ends with, if there is one."""
    number = re.search(r"[0-9]*$", name)
    at = number.start() if number else len(name)
    return name[:at], name[at:]


@dataclass(frozen=True)
class StepBatch:
    """The global batch of one optimizer step, as described in messages."""

    step: int
    """Number of the step, from 1."""
    run_dir: str | Path
    documents: Callable[[Sequence[bool] | None], Iterable[int | str]]
    """Returns the numbers or names of the documents in the micro-batches whose loss is not finite;
    for `None`, those of all micro-batches. A collective operation."""
    is_rank_zero: bool
    """Whether this process prints."""
    unit: str = "documents"
    """Unit that is counted: `documents`, or `rows` of a file."""
    finish_saving: Callable[[], None] = lambda: None
    """Waits for a checkpoint that is being written, so that a message can name it."""

    def report(self, message: str) -> None:
        """Print a line above the progress bar, on rank 0."""
        if self.is_rank_zero:
            say(message, sys.stderr)


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
