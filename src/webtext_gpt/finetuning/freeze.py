"""Which layers of a model are trained."""

from webtext_gpt.errors import UserError
from webtext_gpt.model import GPT, GPTClassifier, language_model


def freeze(model: GPT | GPTClassifier, layers: int) -> None:
    """Train the last `layers` blocks with the last norm, and a classifier's head; nothing else.

    Args:
        model: changed in place.
        layers: 0 leaves the head alone.

    Raises:
        UserError: the model has fewer blocks, or nothing is left to train.
    """
    body = language_model(model)
    if not 0 <= layers <= body.config.n_layer:
        raise UserError(f"layers={layers}: the model has {body.config.n_layer}; or layers=all")
    if layers == 0 and model is body:
        raise UserError("layers=0 leaves nothing to train without a classification head")
    body.requires_grad_(False)
    for module in (*body.blocks[body.config.n_layer - layers :], body.ln_f):
        module.requires_grad_(layers > 0)
