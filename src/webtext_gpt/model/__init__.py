"""GPT, its key-value cache, the classification head, and their configurations."""

from webtext_gpt.model.cache import KeyValueCache
from webtext_gpt.model.classifier import ClassifierConfig, GPTClassifier, language_model
from webtext_gpt.model.config import GPTConfig
from webtext_gpt.model.documents import Documents
from webtext_gpt.model.gpt import GPT, IGNORED, cross_entropy, perplexity

__all__ = [
    "GPT",
    "IGNORED",
    "ClassifierConfig",
    "Documents",
    "GPTClassifier",
    "GPTConfig",
    "KeyValueCache",
    "cross_entropy",
    "language_model",
    "perplexity",
]
