"""Choice of model and length of training for a size or a time, by the fitted laws."""

from collections.abc import Callable
from dataclasses import dataclass

from webtext_gpt.dial import fitted
from webtext_gpt.dial.laws import Shape, nearest_shape
from webtext_gpt.errors import UserError

STEP = 1.01
"""Ratio of successive budgets, in minutes, in the search for the longest usable one."""


@dataclass(frozen=True)
class Plan:
    """A model and its length of training."""

    shape: Shape
    tokens: float

    @property
    def loss(self) -> float:
        """Validation loss in nats a token that the law predicts, for the ladder's text."""
        return fitted.LOSS.loss(self.shape.size, self.tokens)


def largest_shape() -> Shape:
    """Return the largest shape that the laws may be extrapolated to."""
    limit = fitted.EXTRAPOLATION * fitted.LARGEST.size
    depth = fitted.LARGEST.n_layer
    while Shape(depth + 1).size <= limit:
        depth += 1
    return Shape(depth)


def shape_of(size: int) -> Shape:
    """Return the shape whose size is nearest.

    Raises:
        UserError: the size is outside the range of the laws.
    """
    smallest, largest = fitted.SMALLEST.size, largest_shape().size
    if not smallest <= size <= largest:
        raise UserError(
            f"size={size} is outside the range of its laws: {smallest:,} to {largest:,} weights in "
            f"the blocks, up to {fitted.EXTRAPOLATION} times the largest model that they are "
            "fitted to; give a size in the range, or model.KEY=... and trainer.KEY=..."
        )
    return nearest_shape(size)


def plan_budget(minutes: float, tokens_per_minute: Callable[[Shape], float]) -> Plan:
    """Return the model with the lowest predicted loss after a time of training.

    Args:
        minutes: the time.
        tokens_per_minute: speed of training by shape.

    Raises:
        UserError: even the smallest model would be trained for fewer tokens than any of the
            ladder, or a model larger than the laws allow would be best.
    """
    largest = largest_shape()

    def best(minutes: float) -> Plan | None:
        shapes = map(Shape, range(fitted.SMALLEST.n_layer, largest.n_layer + 2))
        plans = [Plan(shape, minutes * tokens_per_minute(shape)) for shape in shapes]
        long = [plan for plan in plans if plan.tokens >= fitted.FEWEST_TOKENS]
        return min(long, key=lambda plan: plan.loss, default=None)

    def is_too_large(plan: Plan | None) -> bool:
        return plan is not None and plan.shape.n_layer > largest.n_layer

    plan = best(minutes)
    if plan is not None and not is_too_large(plan):
        return plan
    least = most = fitted.FEWEST_TOKENS / tokens_per_minute(fitted.SMALLEST)
    while most < max(minutes, least) and not is_too_large(best(most * STEP)):
        most *= STEP
    # If the budget is too short, the message does not need the longest one.
    bounds = f"{least:.2g} minutes or more" if plan is None else f"{most:.3g} minutes or less"
    raise UserError(
        f"budget={minutes:g} is outside the range of its laws, which at this machine's speed is "
        f"{bounds}: at least {fitted.FEWEST_TOKENS:,} tokens, as the shortest run that they are "
        f"fitted to, and at most {largest.size:,} weights in the blocks, {fitted.EXTRAPOLATION} "
        "times the largest; give a budget in the range, or model.KEY=... and "
        "trainer.max_minutes=..."
    )
