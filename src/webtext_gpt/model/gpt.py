"""GPT-2 (Radford et al. 2019); options give GPT-1, the decoder of Vaswani et al. 2017, and others.

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
from webtext_gpt.model.padding import padded_head

IGNORED = -100
"""Target id that marks a position to leave out of the loss."""

NORM_EPSILON = 1e-5
"""Epsilon of normalization, added to the variance or the mean square; GPT-2's value."""


class SquaredReLU(nn.Module):
    """max(x, 0)^2 (So et al. 2021, "Primer")."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to each value."""
        return F.relu(x).square()


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "relu_squared": SquaredReLU,
}


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    is_causal: bool = False,
) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim)) V (Vaswani et al. 2017, formula 1).

    Training on a CPU computes it in fp32: in bf16, torch 2.13 needs 1.5 to 20 times as long for the
    backward pass, and most for short texts.

    Args:
        q: queries, `(B, n_head, T, head_dim)`.
        k: keys, `(B, n_head, S, head_dim)`.
        v: values, `(B, n_head, S, head_dim)`.
        mask: which keys each query attends to, as bools; None means all, or see `is_causal`.
        dropout: probability with which each weight is dropped.
        is_causal: whether query t attends to the keys up to t only.
    """
    dtype = q.dtype
    if dtype == torch.bfloat16 and q.device.type == "cpu" and q.requires_grad:
        with torch.autocast("cpu", enabled=False):
            return attention(q.float(), k.float(), v.float(), mask, dropout, is_causal).to(dtype)
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal
    )


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
        self.qk_norm = config.qk_norm
        C, bias = config.n_embd, config.biases
        self.c_attn = nn.Linear(C, 3 * C, bias=bias)  # query, key and value at once
        self.c_proj = nn.Linear(C, C, bias=bias)

    def forward(
        self,
        x: Tensor,
        cache: KeyValueCache | None = None,
        mask: Tensor | None = None,
        rotation: Tensor | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """Map `(B, T, n_embd)` to `(B, T, n_embd)`.

        Args:
            x: the next T positions.
            cache: keys and values of the earlier positions; those of x are added to it.
            mask: which keys x attends to, as bools; None means every key, or for the first
                positions causal masking.
            rotation: rotary encodings of the positions, see `rotate`.
            values: `(B, T, n_embd)` added to the attention values.
        """
        B, T, C = x.shape
        q, k, v = self.heads(self.c_attn(x), rotation, values)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)  # (B, n_head, seen + T, head_dim)
        dropout = self.attn_dropout if self.training else 0.0
        is_causal = mask is None and (cache is None or k.size(2) == T)
        y = attention(q, k, v, mask, dropout, is_causal)  # (B, n_head, T, head_dim)
        output: Tensor = self.c_proj(y.transpose(1, 2).reshape(B, T, C))
        return output

    def heads(
        self, qkv: Tensor, rotation: Tensor | None = None, values: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Split `(B, T, 3 n_embd)` into queries, keys and values `(B, n_head, T, head_dim)`."""
        B, T, C = qkv.size(0), qkv.size(1), qkv.size(2) // 3
        q, k, v = qkv.view(B, T, 3, self.n_head, C // self.n_head).permute(2, 0, 3, 1, 4)
        if values is not None:
            v = v + values.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        if self.qk_norm:
            q, k = (F.rms_norm(x, x.shape[-1:], eps=NORM_EPSILON) for x in (q, k))
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return q, k, v


class MLP(nn.Module):
    """Position-wise feed-forward layer with a hidden width of `4 n_embd`."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        C, bias = config.n_embd, config.biases
        self.c_fc = nn.Linear(C, 4 * C, bias=bias)
        self.activation = _ACTIVATIONS[config.activation]()
        self.c_proj = nn.Linear(4 * C, C, bias=bias)

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
        self.ln_1 = normalization(config)
        self.attn = CausalSelfAttention(config, layer)
        self.ln_2 = normalization(config)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.resid_dropout)

    def forward(
        self,
        x: Tensor,
        cache: KeyValueCache | None = None,
        mask: Tensor | None = None,
        rotation: Tensor | None = None,
        values: Tensor | None = None,
    ) -> Tensor:
        """Map `(B, T, n_embd)` to `(B, T, n_embd)`; the other arguments go to attention."""
        if self.pre_norm:
            x = x + self.dropout(self.attn(self.ln_1(x), cache, mask, rotation, values))
            x = x + self.dropout(self.mlp(self.ln_2(x)))
        else:
            x = self.ln_1(x + self.dropout(self.attn(x, cache, mask, rotation, values)))
            x = self.ln_2(x + self.dropout(self.mlp(x)))
        return x


class Head(nn.Linear):
    """The output layer: logits of the vocabulary, with a soft cap if the model has one.

    Args:
        config: the model's shape and options.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config.n_embd, config.vocab_size, bias=False)
        self.cap = config.logits_soft_cap

    def forward(self, hidden: Tensor, padded: bool = False) -> Tensor:
        """Map `(..., n_embd)` to logits `(..., vocab_size)`.

        Args:
            hidden: final hidden states.
            padded: append logits of minus infinity, as `padded_head` does for GPUs.
        """
        if not padded:
            return self.capped(super().forward(hidden))
        weight, bias = padded_head(self.weight, hidden.device.type)
        if self.cap is None:
            return F.linear(hidden, weight, bias)
        return self.capped(F.linear(hidden, weight)) + bias

    def capped(self, logits: Tensor) -> Tensor:
        """Return c tanh(z / c) of each logit z, or the logits if there is no cap c."""
        return soft_cap(logits, self.cap)


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
        else:  # a rotation for each pair of values of a head, or a sum for each value
            width = config.head_dim if config.positions == "rotary" else config.n_embd
            table = sinusoidal_positions(config.block_size, width)
            self.register_buffer("sinusoids", table, persistent=False)
        self.dropout = nn.Dropout(config.embd_dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.value_embeddings = nn.ModuleDict(
            {
                str(layer): nn.Embedding(config.vocab_size, config.n_embd)
                for layer in range(config.n_layer)
                if config.has_value_embedding(layer)
            }
        )
        if config.residual_scalars:  # for each block, that of the stream and of the embeddings
            self.residual_scalars = nn.Parameter(torch.empty(2 * config.n_layer))
        self.ln_f = normalization(config) if config.norm == "pre" else nn.Identity()
        self.lm_head = Head(config)
        self.init_weights()
        if config.tied_embeddings:
            self.lm_head.weight = self.wte.weight

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw the initial weights: N(0, init_std), zero biases, unit gains.

        Residual projections are divided by sqrt(2 n_layer) if `scaled_residual_init` is set
        (Radford et al. 2019, section 2.3), or zero if `zero_init_projections` is. Value embeddings
        are zero, and residual scalars leave the stream as it is.
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
        for name, parameter in self.named_parameters():
            is_projection = name.endswith("c_proj.weight") and self.config.zero_init_projections
            if is_projection or name.startswith("value_embeddings."):
                nn.init.zeros_(parameter)
        if self.config.residual_scalars:
            self.residual_scalars.copy_(torch.tensor([1.0, 0.0]).repeat(self.config.n_layer))

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
        table = (
            self.wpe.weight
            if self.config.positions == "learned"
            else self.get_buffer("sinusoids").to(x.dtype)
        )  # (block_size, n_embd or head_dim)
        layout = cache or documents
        encodings = table[layout.positions(T)] if layout else table[:T]
        is_rotary = self.config.positions == "rotary"
        x = self.dropout(x if is_rotary else x + encodings)
        mask = layout.mask(T) if layout else None
        rotation = encodings if is_rotary else None
        embedded = x
        for layer, block in enumerate(self.blocks):
            if self.config.residual_scalars:
                stream, embedding = self.residual_scalars[2 * layer : 2 * layer + 2]
                x = stream * x + embedding * embedded
            values = None
            if self.config.has_value_embedding(layer):
                values = self.value_embeddings[str(layer)](tokens)  # (B, T, n_embd)
            x = block(x, cache, mask, rotation, values)
        if cache:
            cache.advance(T)
        hidden: Tensor = self.ln_f(x)
        return hidden

    def forward(
        self,
        tokens: Tensor,
        cache: KeyValueCache | None = None,
        documents: Documents | None = None,
        padded: bool = False,
    ) -> Tensor:
        """Return next-token logits `(B, T, vocab_size)`.

        Args:
            tokens: see `hidden_states`.
            cache: see `hidden_states`.
            documents: see `hidden_states`.
            padded: see `Head.forward`.
        """
        hidden = self.hidden_states(tokens, cache, documents)
        logits: Tensor = self.lm_head(hidden, padded=True) if padded else self.lm_head(hidden)
        return logits

    @property
    def num_parameters(self) -> int:
        """Number of trainable values; tied weights count once."""
        return sum(p.numel() for p in self.parameters())


def soft_cap(logits: Tensor, cap: float | None) -> Tensor:
    """Return c tanh(z / c) of each logit z, or the logits if there is no cap c."""
    return logits if cap is None else cap * torch.tanh(logits / cap)


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


def normalization(config: GPTConfig) -> nn.Module:
    """Return a normalization of the residual stream."""
    width, gains = config.n_embd, config.norm_gains
    if config.norm_type == "rms":
        return nn.RMSNorm(width, eps=NORM_EPSILON, elementwise_affine=gains)
    return nn.LayerNorm(width, NORM_EPSILON, elementwise_affine=gains, bias=config.biases)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate each pair of values by its position's angle (Su et al. 2021, section 3.4.2).

    The scalar product of a query and a key then depends on the distance of their positions only.

    Args:
        x: `(B, n_head, T, head_dim)` queries or keys; value i is paired with i + head_dim / 2.
        rotation: `(T, head_dim)` or `(B, T, head_dim)` rows of `sinusoidal_positions`, which holds
            the sine and the cosine of each pair's angle.
    """
    angles = rotation.view(*rotation.shape[:-1], -1, 2)  # ([B,] T, head_dim / 2, 2)
    if angles.dim() == 4:
        angles = angles[:, None]  # the heads share them
    sin, cos = angles.unbind(-1)
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def sinusoidal_positions(n_position: int, n_embd: int) -> Tensor:
    """Return the `(n_position, n_embd)` table of sinusoidal position encodings.

    PE(p, 2i) = sin(p / 10000^(2i/d)) and PE(p, 2i+1) = cos of the same angle
    (Vaswani et al. 2017, section 3.5).
    """
    position = torch.arange(n_position, dtype=torch.float64)[:, None]
    frequency = 10_000.0 ** (-torch.arange(0, n_embd, 2, dtype=torch.float64) / n_embd)
    angles = position * frequency  # (n_position, n_embd / 2)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1).float()
