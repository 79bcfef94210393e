"""The laws by which `size=` and `budget=` choose a model's shape, batch, rates and length.

A model of depth k has k blocks of width 32 k with k heads of width 32, so that one number gives the
shape: 12 k (32 k)^2 weights in the blocks. `model=tiny` is k = 4.
"""

import math
from dataclasses import dataclass

HEAD_WIDTH = 32
"""Width of one head, and width of the model divided by its depth, as in `model=tiny`."""
REFERENCE_WIDTH = 128
"""Width for which `recipe=modern` gives its learning rates, that of `model=tiny`."""
BATCH_FACTOR = 4.0
"""Global batch = BATCH_FACTOR sqrt(training tokens), in tokens.

The critical batch grows with the square root of the training tokens and not with the size of the
model (Zhang et al. 2024, How Does Critical Batch Size Scale in Pre-training?). The factor gives
4,400 tokens for 1.2 million, about quickstart's, and 0.5 million for 16 billion, as is usual for
models of GPT-2's sizes.
"""
WARMUP_RATIO = 0.1
"""Warm-up as a fraction of all steps."""
MOST_WARMUP_STEPS = 100
"""Longest warm-up, which is the schedules' default."""


@dataclass(frozen=True)
class Shape:
    """Shape of the model of one depth."""

    n_layer: int

    @property
    def n_head(self) -> int:
        """Number of heads."""
        return self.n_layer

    @property
    def n_embd(self) -> int:
        """Width of the residual stream."""
        return HEAD_WIDTH * self.n_layer

    @property
    def size(self) -> int:
        """Weights of the blocks, without embeddings: N of Kaplan et al. 2020, section 2.1."""
        return 12 * self.n_layer * self.n_embd**2


def nearest_shape(size: float) -> Shape:
    """Return the shape whose size is nearest, by depth: k = (N / 12,288)^(1/3), rounded."""
    return Shape(max(1, round((size / Shape(1).size) ** (1 / 3))))


@dataclass(frozen=True)
class Cost:
    """Operations of a training step per token, as `GPTConfig.flops_per_token`.

    Attributes:
        vocab_size: number of token ids, for the output layer.
        block_size: context in tokens, for attention.
    """

    vocab_size: int
    block_size: int

    def flops(self, shape: Shape) -> float:
        """Return floating-point operations per token, forward and backward."""
        return sum(self._terms(shape))

    def growth(self, shape: Shape) -> float:
        """Return the exponent p of their growth with depth at this shape: d log F / d log k."""
        blocks, head, attention = self._terms(shape)
        return (3 * blocks + head + 2 * attention) / (blocks + head + attention)

    def _terms(self, shape: Shape) -> tuple[float, float, float]:
        """Return the operations of the blocks' weights, the output layer's, and of attention."""
        attention = 12.0 * shape.n_layer * shape.n_embd * self.block_size
        return 6.0 * shape.size, 6.0 * self.vocab_size * shape.n_embd, attention


@dataclass(frozen=True)
class LossLaw:
    """Validation loss L(N, D) = E + A / N^a + B / D^b in nats a token (Hoffmann et al. 2022, 3.3).

    N are the weights of the blocks, D the training tokens.
    """

    irreducible: float
    size_factor: float
    size_exponent: float
    tokens_factor: float
    tokens_exponent: float

    def loss(self, size: float, tokens: float) -> float:
        """Return the loss."""
        of_size = self.size_factor * size**-self.size_exponent
        return self.irreducible + of_size + self.tokens_factor * tokens**-self.tokens_exponent

    def optimal_tokens(self, shape: Shape, cost: Cost) -> float:
        """Return the training tokens for which this shape is compute-optimal.

        Among depths k that spend C = F(k) D operations, the loss is lowest where the derivatives
        of its two terms by log k cancel: 3 a A / N^a = p b B / D^b, with N ~ k^3 and F ~ k^p.
        """
        of_size = 3 * self.size_exponent * self.size_factor * shape.size**-self.size_exponent
        of_tokens = cost.growth(shape) * self.tokens_exponent * self.tokens_factor
        return float((of_tokens / of_size) ** (1 / self.tokens_exponent))


def batch_tokens(tokens: float, block_size: int, group: int = 1) -> int:
    """Return the global batch for a length of training, both in tokens.

    The number of sequences is rounded to three binary digits (8, 10, 12, 14, 16, 20, ...), which
    divide among devices and micro-batches, and then to a multiple of `group`.
    """
    sequences = BATCH_FACTOR * math.sqrt(tokens) / block_size
    unit = 2 ** max(0, math.floor(math.log2(max(1.0, sequences))) - 2)
    rounded = max(1, round(sequences / unit)) * unit
    return max(1, round(rounded / group)) * group * block_size


def tokens_of_steps(steps: int) -> float:
    """Return the training tokens D of n steps, whose batch is c sqrt(D) tokens: D = (n c)^2."""
    return (BATCH_FACTOR * steps) ** 2


def warmup_steps(steps: float) -> int:
    """Return the length of warm-up for a number of optimizer steps."""
    return min(MOST_WARMUP_STEPS, math.ceil(WARMUP_RATIO * steps))


def embedding_lr(reference_lr: float, n_embd: int) -> float:
    """Return AdamW's learning rate for embeddings and head, given the one at `REFERENCE_WIDTH`.

    It is inverse to the square root of the width, as in nanochat; Muon's is the same at all widths.
    """
    return reference_lr * math.sqrt(REFERENCE_WIDTH / n_embd)
