"""Shape and options of a GPT model, and its cost in FLOPs."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from webtext_gpt.errors import UserError

GPT2_VOCAB_SIZE = 50_257
"""256 bytes + 50,000 merges + `<|endoftext|>` (Radford et al. 2019, section 2.2)."""

NORMS = ("pre", "post")
NORM_TYPES = ("layer", "rms")
ACTIVATIONS = ("gelu_tanh", "gelu", "relu", "relu_squared")
POSITIONS = ("learned", "sinusoidal", "rotary")

LATER_OPTIONS = (
    *("biases", "norm_type", "norm_gains", "qk_norm"),
    *("residual_scalars", "value_embeddings", "logits_soft_cap"),
)
"""Options that change the forward pass and are later than the GPT papers."""


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Shape and options that define a model's parameters and its forward pass.

    The defaults are GPT-2 small (Radford et al. 2019, section 2.3 and table 2). The options after
    `scaled_residual_init` are later than the GPT papers; GPT-2's formats cannot hold them.

    Attributes:
        n_layer: number of blocks.
        n_head: attention heads per block; must divide `n_embd`.
        n_embd: width of the residual stream.
        block_size: context length in tokens, and the number of learned positions.
        vocab_size: number of token ids; None means GPT-2's 50,257.
        norm: `pre` applies layer normalization to the input of each sub-block and once after the
            last block (GPT-2); `post` applies it after each residual sum only (GPT-1, Vaswani et
            al. 2017).
        activation: `gelu_tanh` (GPT-1 and GPT-2), exact `gelu`, `relu` (Vaswani et al. 2017), or
            `relu_squared` (So et al. 2021).
        positions: `learned` (GPT), `sinusoidal` (Vaswani et al. 2017, section 3.5), or `rotary`,
            which rotates queries and keys (Su et al. 2021, section 3.4).
        scale_embeddings: multiply token embeddings by sqrt(n_embd) (Vaswani et al. 2017, 3.4).
        embd_dropout: dropout on the sum of token and position embeddings.
        attn_dropout: dropout on the attention weights.
        resid_dropout: dropout on the output of each sub-block.
        tied_embeddings: share the token embedding's weights with the output layer.
        init_std: standard deviation of the initial weights, N(0, init_std).
        scaled_residual_init: divide the initial weights of the residual projections by
            sqrt(2 n_layer); 2 n_layer is the number of residual layers (GPT-2).
        zero_init_projections: start the residual projections at zero, so that every block begins
            as the identity. `scaled_residual_init` then has no effect.
        biases: whether linear layers, and `layer` normalization, have biases.
        norm_type: `layer` (Ba et al. 2016) or `rms` (Zhang and Sennrich 2019).
        norm_gains: whether normalization has trained gains (and `layer`, its biases).
        qk_norm: normalize each head's queries and keys to a root mean square of 1, without gains
            (Henry et al. 2020).
        residual_scalars: before each block, replace the residual stream x by a x + b e, where e is
            the output of the embeddings and a and b are trained, from 1 and 0.
        value_embeddings: every second block, the last one included, adds a second embedding of
            each token to its attention values; it starts at zero.
        logits_soft_cap: replace each logit z by c tanh(z / c), which keeps it within c (Gemma
            Team 2024). None means no cap.

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
    zero_init_projections: bool = False
    biases: bool = True
    norm_type: str = "layer"
    norm_gains: bool = True
    qk_norm: bool = False
    residual_scalars: bool = False
    value_embeddings: bool = False
    logits_soft_cap: float | None = None

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
            ("norm_type", NORM_TYPES),
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
        if self.positions == "rotary" and self.head_dim % 2:
            raise UserError(
                f"rotary positions need an even width of a head, not model.n_embd={self.n_embd} / "
                f"model.n_head={self.n_head} = {self.head_dim}"
            )
        if self.logits_soft_cap is not None and self.logits_soft_cap <= 0:
            raise UserError(
                f"model.logits_soft_cap is {self.logits_soft_cap}, but must be above 0, or null"
            )

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

    @property
    def later_than_gpt2(self) -> dict[str, Any]:
        """Options whose values GPT-2 does not have, so that formats for GPT-2 cannot hold them."""
        plain = GPTConfig()
        options = {name: getattr(self, name) for name in LATER_OPTIONS}
        changed = {name: v for name, v in options.items() if v != getattr(plain, name)}
        if self.positions != "learned":
            changed["positions"] = self.positions
        if self.activation == "relu_squared":
            changed["activation"] = self.activation
        return changed

    def has_value_embedding(self, layer: int) -> bool:
        """Whether block `layer` adds a value embedding."""
        return self.value_embeddings and (self.n_layer - 1 - layer) % 2 == 0

    def to_dict(self) -> dict[str, Any]:
        """Return keyword arguments that recreate this configuration.

        Options later than GPT-2 are left out at their defaults, as in earlier checkpoints, so that
        the same model always has the same description.
        """
        plain = GPTConfig()
        added = (*LATER_OPTIONS, "zero_init_projections")
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in added or value != getattr(plain, name)
        }
