"""Checks of each step's loss and gradient norm by the guard, at once or a step late.

To read a value back from a GPU, the CPU waits until the GPU has nothing left to do, and the GPU
then waits for work. There, the figures of a step are copied without waiting, and checked when the
gradients of the next step are ready, before its update. By then a step whose figures are not finite
was skipped on the GPU itself: the optimizer is given the flag `found_inf`, as torch's GradScaler
gives it, and leaves the weights and its state as they are where it is 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from webtext_gpt.training.guard import Guard, StepBatch


class _Copied(NamedTuple):
    """Figures of a step on their way to the CPU."""

    batch: StepBatch
    figures: Tensor
    """The loss, the norm, and for each micro-batch of this process whether its loss is finite."""
    arrived: torch.cuda.Event | None


class StepChecks:
    """Give the figures of each step to the guard.

    Args:
        guard: the policy for figures that are not finite, and for spikes.
        batch: describes the batch of the current step.
    """

    def __init__(self, guard: Guard, batch: Callable[[], StepBatch]) -> None:
        self.guard = guard
        self._batch = batch
        self._late = False
        self._on_device = False
        self._loss: Tensor | None = None
        self._finite: Tensor | None = None
        self._copied: _Copied | None = None

    def check_loss(
        self, loss: Tensor, finite: Tensor, *, on_device: bool = False, late: bool = False
    ) -> None:
        """Begin the checks of a step with the mean loss of its global batch.

        Args:
            loss: mean over all micro-batches of all processes.
            finite: for each micro-batch of this process, whether its loss is finite.
            on_device: whether the device skips a bad step itself, see `check_norm`.
            late: whether the guard sees the figures only in `finish`; needs `on_device`.

        Raises:
            UserError: the loss is not finite, and the guard stops training.
        """
        self._loss, self._finite = loss, finite
        self._on_device, self._late = on_device, late
        if not late:
            self.guard.check_loss(float(loss), self._batch(), finite.tolist())

    def check_norm(self, norm: Tensor | float) -> Tensor | None:
        """Check the norm of a global batch's gradient.

        Returns:
            If the device skips bad steps, 1 or 0 there: whether this one has to be skipped.

        Raises:
            UserError: it is not finite, and the guard stops training.
        """
        loss, finite = self._loss, self._finite
        if not self._late:
            self.guard.check_norm(float(norm), self._batch())
        if not self._on_device or loss is None or finite is None:
            return None
        norm = norm.to(loss.dtype) if isinstance(norm, Tensor) else torch.full_like(loss, norm)
        figures = torch.stack((loss, norm))
        if self._late:
            self._copied = self._copy(torch.cat((figures, finite.to(loss.dtype))))
        return (~figures.isfinite()).any().float()

    def _copy(self, figures: Tensor) -> _Copied:
        copy = figures.to("cpu", non_blocking=True)  # into pinned memory
        arrived = None
        if figures.is_cuda:
            arrived = torch.cuda.Event()
            arrived.record()
        return _Copied(self._batch(), copy, arrived)

    def finish(self) -> None:
        """Make the late checks of the last step, if there are any.

        Every process calls this at the same steps, and before anything is saved or validated.

        Raises:
            UserError: as `check_loss` and `check_norm`.
        """
        if self._copied is None:
            return
        (batch, figures, arrived), self._copied = self._copied, None
        if arrived is not None:
            arrived.synchronize()  # the GPU has the next step's passes to go on with
        loss, norm, *finite = figures.tolist()
        self.guard.check_loss(loss, batch, [bool(f) for f in finite])
        self.guard.check_norm(norm, batch)


def supports_found_inf(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer skips its step where a flag on the device says so.

    GradScaler looks for the same attribute.
    """
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def give_found_inf(optimizer: torch.optim.Optimizer, flag: Tensor | None) -> None:
    """Tell an optimizer whether to skip its next step; None: it is not to be skipped."""
    optimizer.found_inf = flag  # type: ignore[attr-defined]
