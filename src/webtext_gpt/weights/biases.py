"""Zero biases for models without any, since GPT-2's formats have biases everywhere."""

import dataclasses
from typing import overload

from webtext_gpt.model import GPT, GPTClassifier, language_model
from webtext_gpt.model.empty import SkipRandomInit, empty_gpt


@overload
def with_biases(model: GPT) -> GPT: ...
@overload
def with_biases(model: GPTClassifier) -> GPTClassifier: ...
def with_biases(model: GPT | GPTClassifier) -> GPT | GPTClassifier:
    """Return a model that computes the same and has biases: this one, or a copy with zeros."""
    body = language_model(model)
    if body.config.biases:
        return model
    biased = empty_gpt(dataclasses.replace(body.config, biases=True))  # biases are zero in it
    biased.load_state_dict(body.state_dict(), strict=False)
    if isinstance(model, GPT):
        return biased
    with SkipRandomInit():
        classifier = GPTClassifier(biased, model.config)
    classifier.head.load_state_dict(model.head.state_dict())
    return classifier
