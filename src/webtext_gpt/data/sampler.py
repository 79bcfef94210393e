"""Which block of the corpus the k-th training sample is, and who reads it.

Both are counted, not drawn: sample k of seed s is the same block whatever the number of devices
or workers and however often training was interrupted. Continuing needs one number, the step.
"""

from collections.abc import Iterator

from torch.utils.data import Sampler

_MASK = 2**64 - 1
_ROUNDS = 6


def block_start(sample: int, seed: int, n_tokens: int, block_size: int) -> int:
    """First token of the block that training sample `sample` reads.

    An epoch visits each of the `n_tokens // block_size` blocks once, in a pseudo-random order.
    Every epoch has an order of its own and its grid of blocks begins at another token, so that
    a token meets different contexts. The corpus is a ring: a block may run over its end.

    Args:
        sample: samples drawn before this one, over the whole training.
        seed: which of the orders.
        n_tokens: length of the corpus, at least `block_size`.
        block_size: tokens in a block.
    """
    n_blocks = n_tokens // block_size
    epoch, position = divmod(sample, n_blocks)
    key = _mix(_mix(seed & _MASK) ^ epoch)
    offset = _mix(key ^ _MASK) % n_tokens
    return (offset + permute(position, n_blocks, key) * block_size) % n_tokens


def permute(index: int, n: int, key: int) -> int:
    """Where a pseudo-random permutation of `range(n)` puts `index`, in constant memory.

    A balanced Feistel network permutes the smallest range of 2^(2k) that holds n; results of
    n and above are sent through again until one is below (Black and Rogaway 2002, "Ciphers with
    Arbitrary Finite Domains", cycle walking).
    """
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for i in range(_ROUNDS):
            left, right = right, left ^ (_mix(key + (i << 56) ^ right) & mask)
        index = left << half | right
        if index < n:
            return index


def _mix(x: int) -> int:
    """The finaliser of SplitMix64 (Steele et al. 2014): 64 bits to 64 well-mixed bits."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


class GlobalBatchSampler(Sampler[list[int]]):
    """Sample numbers of each micro-batch of one process, without end.

    Step s consumes samples s G to (s + 1) G of the global batch size G. Its micro-batches deal
    them out to the processes in turn.

    Args:
        global_batch_size: samples of one optimizer step over all processes.
        micro_batch_size: samples of one forward pass of one process.
        rank: this process.
        world_size: number of processes; `micro_batch_size * world_size` divides
            `global_batch_size`.
        first_step: optimizer steps taken before.
    """

    def __init__(
        self,
        global_batch_size: int,
        micro_batch_size: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        first_step: int = 0,
    ) -> None:
        if global_batch_size % (micro_batch_size * world_size):
            raise ValueError(
                f"{global_batch_size} samples do not divide into micro-batches of "
                f"{micro_batch_size} on {world_size} processes"
            )
        self.global_batch_size = global_batch_size
        self.micro_batch_size = micro_batch_size
        self.rank = rank
        self.world_size = world_size
        self.first_step = first_step

    def __iter__(self) -> Iterator[list[int]]:
        first = self.first_step * self.global_batch_size + self.rank * self.micro_batch_size
        while True:
            yield list(range(first, first + self.micro_batch_size))
            first += self.micro_batch_size * self.world_size
