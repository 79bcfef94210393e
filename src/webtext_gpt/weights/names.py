"""Translation of our weight names to those of another format, with one table per format.

A table maps our name of a weight to theirs, such as `blocks.{}.ln_1.bias` to `h.{}.ln_1.bias`,
where `{}` stands for the number of the block. OpenAI's names for GPT-2, which most formats share,
are in `webtext_gpt.weights.gpt2`.
"""

from collections.abc import Callable, Iterator, Mapping

from torch import nn

BLOCK = "blocks.{}."
"""Our prefix of a block's weights."""
BODY = "body."
"""Our prefix of a classifier's language model."""
PREFIX = "transformer."
"""Their prefix of all weights except the heads', in most files."""

LM_HEAD = "lm_head.weight"
SCORE = "score.weight"
HEADS = (LM_HEAD, SCORE)

LINEAR = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
"""Weights of linear layers, which OpenAI's and Hugging Face's Conv1D store as (in, out)."""


def is_conv1d(name: str) -> bool:
    """Return whether OpenAI and Hugging Face store our weight `name` transposed."""
    return name.endswith(LINEAR)


def renamed(
    model: nn.Module,
    names: Mapping[str, str],
    transposed: Callable[[str], bool],
    prefix: str = "",
) -> Iterator[tuple[str, str, bool]]:
    """Yield our name, their name, and whether they store the transpose, for each weight.

    Args:
        model: our `GPT` or classifier. A tied weight is yielded once.
        names: the format's table.
        transposed: returns whether the format stores our weight of a name transposed.
        prefix: their prefix of all weights except the heads', `transformer.` or nothing.
    """
    for ours, _ in model.named_parameters():
        bare = ours.removeprefix(BODY)
        number = bare.split(".")[1] if bare.startswith("blocks.") else ""
        key = bare.replace(number, "{}", 1) if number else bare
        theirs = names[key].format(number)
        yield ours, theirs if theirs in HEADS else prefix + theirs, transposed(bare)
