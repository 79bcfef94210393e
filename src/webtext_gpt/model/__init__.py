"""The model: `GPT` and its configuration."""

from webtext_gpt.model.cache import KeyValueCache
from webtext_gpt.model.config import GPTConfig
from webtext_gpt.model.gpt import GPT, IGNORED, cross_entropy

__all__ = ["GPT", "IGNORED", "GPTConfig", "KeyValueCache", "cross_entropy"]
