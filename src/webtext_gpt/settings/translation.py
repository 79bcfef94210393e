"""Settings of `train.py` with `data=pairs`: choices that they imply, keys that do not apply."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from webtext_gpt.errors import UserError
from webtext_gpt.settings.data import Pairs
from webtext_gpt.settings.kinds import NULL
from webtext_gpt.settings.model import TransformerModel

if TYPE_CHECKING:
    from webtext_gpt.settings.train import Train

LABEL_SMOOTHING = 0.1
"""Label smoothing of Vaswani et al. 2017, section 5.4."""
MODEL = "transformer_small"
"""The choice of `model=` that `data=pairs` makes."""
OF_A_GPT = ("size", "budget", "recipe")
"""Settings and groups that choose the shape of a language model."""
OF_TEXT = (
    "micro_batch_size",
    "validate_tokens",
    "mask_documents",
    "packing",
    "parallel_rows",
    "activation_checkpointing",
    "estimate",
)
"""Settings that do not apply to pairs."""


def implied_model(given: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the choice of `model=` that `data=pairs` makes, unless the call has one.

    Raises:
        UserError: the call also chooses the shape of a language model.
    """
    if chosen.get("data") == "pairs":
        for key, text in {**given, **chosen}.items():
            if key in OF_A_GPT and text.strip().lower() not in NULL:
                raise UserError(
                    f"{key}={text} is for language models; leave it out of data=pairs, and give "
                    "model=transformer_small, transformer_base or transformer_big"
                )
    starts = given.get("checkpoint", "null").strip().lower() not in NULL
    if chosen.get("data") != "pairs" or starts or {"model", "experiment"} & set(chosen):
        return {}
    return {"model": MODEL}


def check_pairs(settings: "Train") -> None:
    """Refuse a model that does not fit the data, and settings that do not apply to pairs.

    Raises:
        ValueError: names the settings.
    """
    is_translator = isinstance(settings.model, TransformerModel)
    if not isinstance(settings.data, Pairs):
        if is_translator:
            raise ValueError(
                "this model= is an encoder-decoder, which learns from sentences and their "
                "translations; give data=pairs data.source=FILE data.target=FILE, or another model="
            )
        if settings.label_smoothing is not None:
            raise ValueError(
                f"label_smoothing={settings.label_smoothing:g} is a setting of data=pairs; leave "
                "it out"
            )
        return
    if settings.checkpoint is None and not is_translator:
        raise ValueError(
            "data=pairs needs an encoder-decoder; give model=transformer_small, transformer_base "
            "or transformer_big"
        )
    if settings.checkpoint is not None and (keys := settings.model.model_fields_set - {"target"}):
        raise ValueError(
            f"model.{min(keys)}=...: with data=pairs, the model is that of checkpoint="
            f"{settings.checkpoint}; leave model= and model.KEY out"
        )
    size = getattr(settings.model, "source_vocab_size", None)
    if size is not None and settings.data.vocabulary == "joint":
        raise ValueError(
            f"model.source_vocab_size={size} is for data.vocabulary=separate; give that, or leave "
            "it out"
        )
    if settings.checkpoint is not None and "vocabulary" in settings.data.model_fields_set:
        raise ValueError(
            f"data.vocabulary={settings.data.vocabulary}: checkpoint={settings.checkpoint} brings "
            "its tokenizers; leave data.vocabulary out"
        )
    fields = type(settings).model_fields
    for name in OF_TEXT:
        if getattr(settings, name) != fields[name].get_default():
            raise ValueError(
                f"{name}={str(getattr(settings, name)).lower()} does not apply to data=pairs; "
                "leave it out"
            )
    if settings.callbacks.zero_shot is not None:
        raise ValueError("callbacks.zero_shot measures language models; leave it out of data=pairs")
