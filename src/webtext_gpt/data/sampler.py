"""Map sample numbers to blocks of the corpus, and divide the samples among the processes.

The sample's number determines both, so sample k of seed s is the same block for any number of
devices, workers or interruptions. Resuming needs only the number of steps taken.
"""

from collections.abc import Iterator

from torch.utils.data import Sampler

_MASK = 2**64 - 1
_ROUNDS = 6


def block_start(sample: int, seed: int, n_tokens: int, block_size: int) -> int:
    """Return the position of the first token of training sample `sample`.

    An epoch visits each of the `n_tokens // block_size` blocks once, in a pseudo-random order.
    Each epoch has a different order, and its grid of blocks starts at another token, so a token is
    seen in different contexts. A block that reaches the end of the corpus wraps to its start.

    Args:
        sample: number of the sample, counted from 0 at the start of training.
        seed: selects the order.
        n_tokens: length of the corpus, at least `block_size`.
        block_size: tokens in a block.
    """
    n_blocks = n_tokens // block_size
    epoch, position = divmod(sample, n_blocks)
    key = epoch_key(seed, epoch)
    offset = _mix(key ^ _MASK) % n_tokens
    return (offset + permute(position, n_blocks, key) * block_size) % n_tokens


def epoch_key(seed: int, epoch: int) -> int:
    """Return the key of an epoch's permutations."""
    return derived_key(_mix(seed & _MASK), epoch)


def derived_key(key: int, number: int) -> int:
    """Return key `number` of the independent keys that are derived from one."""
    return _mix(key ^ number)


def permute(index: int, n: int, key: int) -> int:
    """Return the image of `index` under a pseudo-random permutation of `range(n)`.

    Takes constant memory. A balanced Feistel network permutes the smallest range of size 2^(2k)
    that holds n; results of n and above are sent through again until one is below n (Black and
    Rogaway 2002, "Ciphers with Arbitrary Finite Domains", cycle walking).
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
    """Hash 64 bits to 64 bits: the finalizer of SplitMix64 (Steele et al. 2014)."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


class GlobalBatchSampler(Sampler[list[int]]):
    """Endless sequence of one process's micro-batches of sample numbers.

    With a global batch size of G, step s takes samples s G to (s + 1) G - 1 and deals them to the
    processes in turn, one micro-batch at a time.

    Args:
        global_batch_size: samples per optimizer step, over all processes.
        micro_batch_size: samples per forward pass of one process.
        rank: number of this process.
        world_size: number of processes.
        first_step: number of optimizer steps already taken.

    Raises:
        ValueError: `micro_batch_size * world_size` does not divide `global_batch_size`.
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
