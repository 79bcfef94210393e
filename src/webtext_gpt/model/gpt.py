"""GPT-2 (Radford et al. 2019), and by options GPT-1 and the decoder of Vaswani et al. 2017.

Tokens and positions are embedded and summed, pass through `n_layer` blocks that each add
attention and a two-layer perceptron to the residual stream, and are projected back on the
vocabulary by the token embedding itself.

Module names follow OpenAI's (`wte`, `wpe`, `ln_1`, `c_attn`, ...), so that a weight is found by
the name that the literature gives it.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webtext_gpt.model.attention import CausalSelfAttention
from webtext_gpt.model.cache import KeyValueCache
from webtext_gpt.model.config import GPTConfig

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "gelu": nn.GELU,
    "relu": nn.ReLU,
}


IGNORED = -100
"""Target of a position that does not count."""


class MLP(nn.Module):
    """Position-wise feed-forward layer, four times as wide inside."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.activation = _ACTIVATIONS[config.activation]()
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, T, n_embd)` to `(B, T, n_embd)`."""
        return self.c_proj(self.activation(self.c_fc(x)))


class Block(nn.Module):
    """Attention, then the perceptron, each added to the residual stream."""

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = CausalSelfAttention(config, layer)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.resid_dropout)

    def forward(
        self, x: Tensor, cache: KeyValueCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Map `(B, T, n_embd)` to `(B, T, n_embd)`; cache and mask are attention's."""
        if self.pre_norm:
            x = x + self.dropout(self.attn(self.ln_1(x), cache, mask))
            return x + self.dropout(self.mlp(self.ln_2(x)))
        x = self.ln_1(x + self.dropout(self.attn(x, cache, mask)))
        return self.ln_2(x + self.dropout(self.mlp(x)))


class GPT(nn.Module):
    """A decoder-only language model.

    Args:
        config: the model's shape and options.

    Raises:
        ValueError: from `forward`, when the input is longer than `config.block_size`.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        if config.positions == "learned":
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
        else:
            table = sinusoidal_positions(config.block_size, config.n_embd)
            self.register_buffer("sinusoids", table, persistent=False)
        self.dropout = nn.Dropout(config.embd_dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd) if config.norm == "pre" else nn.Identity()
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.init_weights()
        if config.tied_embeddings:
            self.lm_head.weight = self.wte.weight

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw every weight as GPT-2 does: N(0, init_std), zero biases, unit gains."""
        std = self.config.init_std
        residual_std = std / math.sqrt(2 * self.config.n_layer)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear):
                scaled = self.config.scaled_residual_init and name.endswith("c_proj")
                nn.init.normal_(module.weight, std=residual_std if scaled else std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=std)

    def hidden_states(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Final hidden states `(B, T, n_embd)` of token ids `(B, T)`, after the last norm.

        With a cache, the tokens continue those that are in it, and are added to it.
        """
        T = tokens.size(1)
        start = cache.seen if cache else 0
        block_size = self.config.block_size
        if block_size < start + T:
            raise ValueError(
                f"{start + T} tokens do not fit in the model's context of {block_size}"
            )
        x = self.wte(tokens)
        if self.config.scale_embeddings:
            x = x * math.sqrt(self.config.n_embd)
        if self.config.positions == "learned":
            table = self.wpe.weight
        else:
            table = self.get_buffer("sinusoids").to(x.dtype)
        x = self.dropout(x + (table[cache.positions(T)] if cache else table[:T]))
        mask = cache.mask(T) if cache else None
        for block in self.blocks:
            x = block(x, cache, mask) if cache else block(x)
        if cache:
            cache.advance(T)
        return self.ln_f(x)

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Next-token logits `(B, T, vocab_size)` of ids `(B, T)`; cache as in `hidden_states`."""
        return self.lm_head(self.hidden_states(tokens, cache))

    @property
    def num_parameters(self) -> int:
        """Number of trained values, tied weights counted once."""
        return sum(p.numel() for p in self.parameters())


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Mean over positions of -ln p(target), in nats, computed in fp32.

    Args:
        logits: `(B, T, vocab_size)`.
        targets: `(B, T)` token ids; positions with `IGNORED` do not count.
        reduction: `mean` or `sum`.
    """
    return F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction=reduction
    )


def sinusoidal_positions(n_position: int, n_embd: int) -> Tensor:
    """`(n_position, n_embd)` table of PE(p, 2i) = sin(p / 10000^(2i/d)), PE(p, 2i+1) = cos of it.

    Vaswani et al. 2017, section 3.5.
    """
    position = torch.arange(n_position, dtype=torch.float64)[:, None]
    frequency = 10_000.0 ** (-torch.arange(0, n_embd, 2, dtype=torch.float64) / n_embd)
    angles = position * frequency  # (n_position, n_embd / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1).float()
