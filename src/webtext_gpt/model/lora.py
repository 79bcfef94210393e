"""Low-rank adaptation (Hu et al. 2021): train a low-rank update of each frozen weight matrix.

W x becomes W x + (alpha / rank) B A x, with A `(rank, in)` and B `(out, rank)`. The adapted layers
are peft's and replace the model's linear ones. Merging adds B A into W and restores the original
layers.
"""

from webtext_gpt.model.classifier import GPTClassifier, language_model
from webtext_gpt.model.gpt import GPT

LAYERS = ("c_attn", "c_proj", "c_fc")
"""Linear layers of a block to adapt: all of them."""


def add_lora(model: GPT | GPTClassifier, *, rank: int, alpha: float, dropout: float) -> None:
    """Adapt every linear layer of the blocks and freeze the rest of the language model.

    The model's outputs do not change at first, because B starts at 0.

    Args:
        model: changed in place.
        rank: rank of B A.
        alpha: B A is scaled by alpha / rank.
        dropout: dropout on the input of A.
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
    """Add each update to its matrix and restore the model's original layers."""
    from peft.tuners.lora import LoraLayer

    adapted = [(n, m) for n, m in model.named_modules() if isinstance(m, LoraLayer)]
    for name, layer in adapted:
        layer.merge()
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer.get_base_layer())
