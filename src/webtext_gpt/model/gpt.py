"""GPT-2 (Radford et al. 2019); options give GPT-1 and the decoder of Vaswani et al. 2017.

Token and position embeddings are summed, pass through `n_layer` blocks that each add attention
and a two-layer MLP to the residual stream, and are projected back onto the vocabulary by the
token embedding itself.

Module names are OpenAI's (`wte`, `wpe`, `ln_1`, `c_attn`, ...), so weights carry the names used
in the literature.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from webtext_gpt.model.cache import KeyValueCache
from webtext_gpt.model.config import GPTConfig
from webtext_gpt.model.documents import Documents

IGNORED = -100
"""Target id that marks a position to leave out of the loss."""

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "gelu": nn.GELU,
    "relu": nn.ReLU,
}


class CausalSelfAttention(nn.Module):
    """Multi-head attention of each position to itself and earlier ones (Vaswani et al. 2017, 3.2).

    Args:
        config: the model's shape and options.
        layer: index of the block, which selects its keys and values in a cache.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_head = config.n_head
        self.attn_dropout = config.attn_dropout
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)  # query, key and value at once
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(
        self, x: Tensor, cache: KeyValueCache | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Map `(B, T, n_embd)` to `(B, T, n_embd)`.

        Args:
            x: the next T positions.
            cache: keys and values of the earlier positions; those of x are added to it.
            mask: which keys x attends to, as bools; None means every key, or for the first
                positions causal masking.
        """
        B, T, C = x.shape
        qkv = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # three of (B, n_head, T, head_dim)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)  # (B, n_head, seen + T, head_dim)
        dropout = self.attn_dropout if self.training else 0.0
        is_causal = mask is None and (cache is None or k.size(2) == T)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal
        )  # (B, n_head, T, head_dim)
        output: Tensor = self.c_proj(y.transpose(1, 2).reshape(B, T, C))
        return output


class MLP(nn.Module):
    """Position-wise feed-forward layer with a hidden width of `4 n_embd`."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.activation = _ACTIVATIONS[config.activation]()
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, T, n_embd)` to `(B, T, n_embd)`."""
        hidden: Tensor = self.activation(self.c_fc(x))  # (B, T, 4 n_embd)
        output: Tensor = self.c_proj(hidden)  # (B, T, n_embd)
        return output


class Block(nn.Module):
    """Attention, then the MLP, each added to the residual stream."""

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
        """Map `(B, T, n_embd)` to `(B, T, n_embd)`; `cache` and `mask` go to attention."""
        if self.pre_norm:
            x = x + self.dropout(self.attn(self.ln_1(x), cache, mask))
            x = x + self.dropout(self.mlp(self.ln_2(x)))
        else:
            x = self.ln_1(x + self.dropout(self.attn(x, cache, mask)))
            x = self.ln_2(x + self.dropout(self.mlp(x)))
        return x


class GPT(nn.Module):
    """A decoder-only language model.

    Args:
        config: the model's shape and options.

    Raises:
        ValueError: from `forward`, if the input is longer than `config.block_size`.
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
        """Draw the initial weights: N(0, init_std), zero biases, unit gains.

        Residual projections are divided by sqrt(2 n_layer) if `scaled_residual_init` is set
        (Radford et al. 2019, section 2.3).
        """
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

    def hidden_states(
        self,
        tokens: Tensor,
        cache: KeyValueCache | None = None,
        documents: Documents | None = None,
    ) -> Tensor:
        """Return the final hidden states `(B, T, n_embd)`, after the last normalization.

        Args:
            tokens: `(B, T)` token ids.
            cache: keys and values of the tokens before these; the new ones are added to it.
            documents: the documents of the rows, to keep attention and positions inside each;
                not together with a cache.
        """
        T = tokens.size(1)
        start = cache.seen if cache else 0
        block_size = self.config.block_size
        if block_size < start + T:
            raise ValueError(
                f"{start + T} tokens do not fit in the model's context of {block_size}"
            )
        x = self.wte(tokens)  # (B, T, n_embd)
        if self.config.scale_embeddings:
            x = x * math.sqrt(self.config.n_embd)
        if self.config.positions == "learned":
            table = self.wpe.weight  # (block_size, n_embd)
        else:
            table = self.get_buffer("sinusoids").to(x.dtype)  # (block_size, n_embd)
        layout = cache or documents
        x = self.dropout(x + (table[layout.positions(T)] if layout else table[:T]))
        mask = layout.mask(T) if layout else None
        for block in self.blocks:
            x = block(x, cache, mask) if layout else block(x)
        if cache:
            cache.advance(T)
        hidden: Tensor = self.ln_f(x)
        return hidden

    def forward(
        self,
        tokens: Tensor,
        cache: KeyValueCache | None = None,
        documents: Documents | None = None,
    ) -> Tensor:
        """Return next-token logits `(B, T, vocab_size)`; arguments as in `hidden_states`."""
        logits: Tensor = self.lm_head(self.hidden_states(tokens, cache, documents))
        return logits

    @property
    def num_parameters(self) -> int:
        """Number of trainable values; tied weights count once."""
        return sum(p.numel() for p in self.parameters())


def cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Return the mean over positions of -ln p(target), in nats, computed in fp32.

    Args:
        logits: `(B, T, vocab_size)`.
        targets: `(B, T)` token ids; positions with `IGNORED` are left out.
        reduction: `mean` or `sum`.
    """
    return F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction=reduction
    )


def perplexity(loss: float) -> float:
    """Return the exponential of a loss in nats per token, finite for any loss."""
    return math.exp(min(loss, 700))


def sinusoidal_positions(n_position: int, n_embd: int) -> Tensor:
    """Return the `(n_position, n_embd)` table of sinusoidal position encodings.

    PE(p, 2i) = sin(p / 10000^(2i/d)) and PE(p, 2i+1) = cos of the same angle
    (Vaswani et al. 2017, section 3.5).
    """
    position = torch.arange(n_position, dtype=torch.float64)[:, None]
    frequency = 10_000.0 ** (-torch.arange(0, n_embd, 2, dtype=torch.float64) / n_embd)
    angles = position * frequency  # (n_position, n_embd / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1).float()
