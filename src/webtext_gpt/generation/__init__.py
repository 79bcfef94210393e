"""Text generation: sampling with a key-value cache, beam search, and next-token candidates."""

from webtext_gpt.generation.beams import beam_search
from webtext_gpt.generation.decoding import generate
from webtext_gpt.generation.sampling import GREEDY, Sampling
from webtext_gpt.generation.texts import Candidate, complete, next_tokens

__all__ = [
    "GREEDY",
    "Candidate",
    "Sampling",
    "beam_search",
    "complete",
    "generate",
    "next_tokens",
]
