"""Shape and options of a GPT model, and its cost in FLOPs."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from webtext_gpt.errors import UserError

GPT2_VOCAB_SIZE = 50_257
"""256 bytes + 50,000 merges + `<|endoftext|>` (Radford et al. 2019, section 2.2)."""

NORMS = ("pre", "post")
ACTIVATIONS = ("gelu_tanh", "gelu", "relu")
POSITIONS = ("learned", "sinusoidal")


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Shape and options that define a model's parameters and its forward pass.

    The defaults are GPT-2 small (Radford et al. 2019, section 2.3 and table 2).

    Attributes:
        n_layer: number of blocks.
        n_head: attention heads per block; must divide `n_embd`.
        n_embd: width of the residual stream.
        block_size: context length in tokens, and the number of learned positions.
        vocab_size: number of token ids; None means GPT-2's 50,257.
        norm: `pre` applies layer normalization to the input of each sub-block and once after the
            last block (GPT-2); `post` applies it after each residual sum only (GPT-1, Vaswani et
            al. 2017).
        activation: `gelu_tanh` (GPT-1 and GPT-2), exact `gelu`, or `relu` (Vaswani et al. 2017).
        positions: `learned` (GPT) or `sinusoidal` (Vaswani et al. 2017, section 3.5).
        scale_embeddings: multiply token embeddings by sqrt(n_embd) (Vaswani et al. 2017, 3.4).
        embd_dropout: dropout on the sum of token and position embeddings.
        attn_dropout: dropout on the attention weights.
        resid_dropout: dropout on the output of each sub-block.
        tied_embeddings: share the token embedding's weights with the output layer.
        init_std: standard deviation of the initial weights, N(0, init_std).
        scaled_residual_init: divide the initial weights of the residual projections by
            sqrt(2 n_layer); 2 n_layer is the number of residual layers (GPT-2).

    Raises:
        UserError: a value is out of range; the message names the field.
    """

    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    block_size: int = 1024
    vocab_size: int = GPT2_VOCAB_SIZE
    norm: str = "pre"
    activation: str = "gelu_tanh"
    positions: str = "learned"
    scale_embeddings: bool = False
    embd_dropout: float = 0.0
    attn_dropout: float = 0.0
    resid_dropout: float = 0.0
    tied_embeddings: bool = True
    init_std: float = 0.02
    scaled_residual_init: bool = True

    def __post_init__(self) -> None:
        if self.vocab_size is None:
            object.__setattr__(self, "vocab_size", GPT2_VOCAB_SIZE)
        for name in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"model.{name} is {value!r}, but must be a whole number above 0")
        if self.n_embd % self.n_head:
            raise UserError(
                f"model.n_embd={self.n_embd} does not divide into model.n_head={self.n_head} heads"
            )
        for name, choices in (
            ("norm", NORMS),
            ("activation", ACTIVATIONS),
            ("positions", POSITIONS),
        ):
            if getattr(self, name) not in choices:
                found = getattr(self, name)
                raise UserError(f"model.{name} is {found!r}, not one of {', '.join(choices)}")
        for name in ("embd_dropout", "attn_dropout", "resid_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"model.{name} is {getattr(self, name)}, but must be in [0, 1)")
        if self.positions == "sinusoidal" and self.n_embd % 2:
            raise UserError(f"sinusoidal positions need an even model.n_embd, not {self.n_embd}")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    @property
    def flops_per_token(self) -> float:
        """Floating-point operations per token of a training step, forward and backward.

        6 N for the matrix multiplications with N weights, plus 12 n_layer n_embd block_size for
        attention scores and weighted sums (Chowdhery et al. 2022, appendix B).
        """
        block = 12 * self.n_embd**2
        weights = self.n_layer * block + self.vocab_size * self.n_embd
        return 6.0 * weights + 12.0 * self.n_layer * self.n_embd * self.block_size

    def to_dict(self) -> dict[str, Any]:
        """Return keyword arguments that recreate this configuration."""
        return dataclasses.asdict(self)
