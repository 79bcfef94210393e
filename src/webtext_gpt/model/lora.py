"""Low-rank adaptation (Hu et al. 2021): frozen matrices, each with a trained product beside it.

W x becomes W x + (alpha / rank) B A x, with A `(rank, in)` and B `(out, rank)`. The layers are
peft's, put into the model in the place of its linear ones; afterwards the products are added to
the matrices, and the model is again what it was made of.
"""

from webtext_gpt.model.classifier import GPTClassifier, language_model
from webtext_gpt.model.gpt import GPT

LAYERS = ("c_attn", "c_proj", "c_fc")
"""Linear layers of a block that are adapted: all of them."""


def add_lora(model: GPT | GPTClassifier, *, rank: int, alpha: float, dropout: float) -> None:
    """Adapt every linear layer of the blocks; all of the language model else is frozen.

    The model's outputs do not change by this: B is 0.

    Args:
        model: changed in place.
        rank: of the products.
        alpha: the products are scaled by alpha / rank.
        dropout: on their inputs.
    """
    from peft import LoraConfig, inject_adapter_in_model

    body = language_model(model)
    body.requires_grad_(False)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(LAYERS),
    )
    inject_adapter_in_model(config, body.blocks)


def merge_lora(model: GPT | GPTClassifier) -> None:
    """Add the products to the matrices, and put the model's own layers back."""
    from peft.tuners.lora import LoraLayer

    adapted = [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLayer)]
    for name, layer in adapted:
        layer.merge()
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer.get_base_layer())
