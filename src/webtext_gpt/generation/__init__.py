"""Text from a model: sampling with a key-value cache, beams, and the next-token table."""

from webtext_gpt.generation.beams import beam_search
from webtext_gpt.generation.decoding import generate
from webtext_gpt.generation.next_tokens import Candidate, next_tokens
from webtext_gpt.generation.sampling import GREEDY, Sampling
from webtext_gpt.generation.texts import complete

__all__ = [
    "GREEDY",
    "Candidate",
    "Sampling",
    "beam_search",
    "complete",
    "generate",
    "next_tokens",
]
