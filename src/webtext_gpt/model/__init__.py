"""The model: `GPT` and its configuration."""

from webtext_gpt.model.config import GPTConfig
from webtext_gpt.model.gpt import GPT, cross_entropy

__all__ = ["GPT", "GPTConfig", "cross_entropy"]
