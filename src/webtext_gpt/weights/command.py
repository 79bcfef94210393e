"""The command `weights`: convert a model, and print a description of the result."""

from webtext_gpt.cli import Call
from webtext_gpt.settings.weights import Weights
from webtext_gpt.terminal import say
from webtext_gpt.weights.convert import OURS, convert


def weights(settings: Weights, call: Call) -> None:
    """Convert a model and print its class, size and vocabulary.

    Raises:
        UserError: see `convert`.
    """
    written = convert(settings.checkpoint, settings.out, settings.tokenizer, settings.force)
    parameters = sum(value.numel() for value in written.model.parameters())
    say(
        f"{type(written.model).__name__}, {parameters:,} parameters, "
        f"{written.tokenizer.vocab_size:,} token ids"
    )
    if written.between is not None and not settings.out.endswith(OURS):
        say(
            f"note: this format does not say that the model completes prompts that end with "
            f"{written.between!r}; prompts have to end with it"
        )
