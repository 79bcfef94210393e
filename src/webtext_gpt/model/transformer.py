"""The encoder-decoder of Vaswani et al. 2017, "Attention Is All You Need", from the GPT's blocks.

An encoder block is a GPT block whose mask hides padding alone, so that every position attends to
the whole source. A decoder block has a third sub-block between the two, attention to the encoder's
output. Token embeddings are shared by source, target and output layer (section 3.4).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from webtext_gpt.errors import UserError
from webtext_gpt.model.cache import KeyValueCache
from webtext_gpt.model.config import GPTConfig
from webtext_gpt.model.gpt import (
    MLP,
    Block,
    CausalSelfAttention,
    Head,
    attention,
    normalization,
    sinusoidal_positions,
)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Shape and options of an encoder-decoder; the defaults are the base model of table 3.

    Attributes:
        n_encoder_layer: number of encoder blocks.
        n_decoder_layer: number of decoder blocks.
        n_head: attention heads; must divide `n_embd`.
        n_embd: width of both residual streams, d_model; the MLPs' hidden width is four times it.
        block_size: longest source and longest target in tokens.
        vocab_size: number of token ids, of both languages together.
        source_vocab_size: number of token ids of the sources, if each language has its own ids
            and the sources an embedding of their own; `vocab_size` is then that of the targets.
        norm: `post` as in the paper, or `pre`.
        activation: as in `GPTConfig`; the paper's is `relu`.
        positions: `sinusoidal`, or `learned` (table 3, row E), for source and target each.
        dropout: on the output of each sub-block, and on the sums of embeddings and positions.
        attn_dropout: on the attention weights.
        tied_embeddings: share the token embedding's weights with the output layer.

    Raises:
        UserError: a value is out of range; the message names the field.
    """

    n_encoder_layer: int = 6
    n_decoder_layer: int = 6
    n_head: int = 8
    n_embd: int = 512
    block_size: int = 512
    vocab_size: int = 37_000
    source_vocab_size: int | None = None
    norm: str = "post"
    activation: str = "relu"
    positions: str = "sinusoidal"
    dropout: float = 0.1
    attn_dropout: float = 0.0
    tied_embeddings: bool = True

    def __post_init__(self) -> None:
        for name in ("n_encoder_layer", "n_decoder_layer"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"model.{name} is {value!r}, but must be a whole number above 0")
        if self.positions == "rotary":
            raise UserError("model.positions=rotary is for GPT; give sinusoidal or learned")
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout is {self.dropout}, but must be in [0, 1)")
        self.block_config  # noqa: B018 - checks the fields that both have

    @property
    def block_config(self) -> GPTConfig:
        """The configuration of the blocks, which are the GPT's."""
        return GPTConfig(
            n_layer=self.n_decoder_layer,
            n_head=self.n_head,
            n_embd=self.n_embd,
            block_size=self.block_size,
            vocab_size=self.vocab_size,
            norm=self.norm,
            activation=self.activation,
            positions=self.positions,
            attn_dropout=self.attn_dropout,
            resid_dropout=self.dropout,
        )

    @property
    def flops_per_token(self) -> float:
        """Floating-point operations per target token of a training step, forward and backward.

        6 N for the N weights of its matrix multiplications, of which the encoder's count as if a
        source had as many tokens as its target. Attention itself adds little to sentences.
        """
        blocks = (12 * self.n_encoder_layer + 16 * self.n_decoder_layer) * self.n_embd**2
        return 6.0 * (blocks + self.vocab_size * self.n_embd)

    def to_dict(self) -> dict[str, Any]:
        """Return keyword arguments that recreate this configuration.

        The later option `source_vocab_size` is left out at its default, so that older checkpoints
        describe the same model.
        """
        values = dataclasses.asdict(self)
        if self.source_vocab_size is None:
            del values["source_vocab_size"]
        return values


class Memory(NamedTuple):
    """The encoded sources, as every decoder block attends to them."""

    keys: list[Tensor]
    """By decoder block, `(B, n_head, S, head_dim)`."""
    values: list[Tensor]
    """By decoder block, `(B, n_head, S, head_dim)`."""
    mask: Tensor
    """`(B, 1, 1, S)` bools: which positions are tokens, and not padding."""

    def rows(self, index: Tensor) -> "Memory":
        """Return the sources of the given rows; a row may occur more than once."""
        keys, values = ([one[index] for one in both] for both in (self.keys, self.values))
        return Memory(keys, values, self.mask[index])


class CrossAttention(nn.Module):
    """Attention of the target's positions to the encoder's output (section 3.2.3).

    Args:
        config: the blocks' configuration.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.attn_dropout = config.attn_dropout
        C = config.n_embd
        self.c_query = nn.Linear(C, C)
        self.c_memory = nn.Linear(C, 2 * C)  # key and value at once
        self.c_proj = nn.Linear(C, C)

    def keys_and_values(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values, `(B, n_head, S, head_dim)`, of encoded sources `(B, S, C)`."""
        B, S, C = encoded.shape
        kv = self.c_memory(encoded).view(B, S, 2, self.n_head, C // self.n_head)
        k, v = kv.permute(2, 0, 3, 1, 4)
        return k, v

    def forward(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Map `(B, T, C)` to `(B, T, C)`.

        Args:
            x: positions of the targets.
            k: keys of the sources, see `keys_and_values`.
            v: values of the sources.
            mask: see `Memory`.
        """
        B, T, C = x.shape
        q = self.c_query(x).view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        dropout = self.attn_dropout if self.training else 0.0
        y = attention(q, k, v, mask, dropout)
        output: Tensor = self.c_proj(y.transpose(1, 2).reshape(B, T, C))
        return output


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to the source, and the MLP (section 3.1).

    Args:
        config: the blocks' configuration.
        layer: index of the block, which selects its keys and values in a cache.
    """

    def __init__(self, config: GPTConfig, layer: int) -> None:
        super().__init__()
        self.pre_norm = config.norm == "pre"
        self.ln_1 = normalization(config)
        self.attn = CausalSelfAttention(config, layer)
        self.ln_cross = normalization(config)
        self.cross = CrossAttention(config)
        self.ln_2 = normalization(config)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.resid_dropout)

    def forward(
        self, x: Tensor, k: Tensor, v: Tensor, memory_mask: Tensor, cache: KeyValueCache | None
    ) -> Tensor:
        """Map `(B, T, C)` to `(B, T, C)`; for keys, values and mask see `CrossAttention`."""
        mask = cache.mask(x.size(1)) if cache else None
        if self.pre_norm:
            x = x + self.dropout(self.attn(self.ln_1(x), cache, mask))
            x = x + self.dropout(self.cross(self.ln_cross(x), k, v, memory_mask))
            x = x + self.dropout(self.mlp(self.ln_2(x)))
        else:
            x = self.ln_1(x + self.dropout(self.attn(x, cache, mask)))
            x = self.ln_cross(x + self.dropout(self.cross(x, k, v, memory_mask)))
            x = self.ln_2(x + self.dropout(self.mlp(x)))
        return x


class Transformer(nn.Module):
    """An encoder-decoder.

    Args:
        config: the model's shape and options.

    Raises:
        ValueError: from `encode` and `forward`, if a text is longer than `config.block_size`.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        blocks = config.block_config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        if config.source_vocab_size is not None:
            self.source_wte = nn.Embedding(config.source_vocab_size, config.n_embd)
        if config.positions == "learned":
            self.source_wpe = nn.Embedding(config.block_size, config.n_embd)
            self.target_wpe = nn.Embedding(config.block_size, config.n_embd)
        else:
            table = sinusoidal_positions(config.block_size, config.n_embd)
            self.register_buffer("sinusoids", table, persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = nn.ModuleList(Block(blocks, n) for n in range(config.n_encoder_layer))
        self.decoder = nn.ModuleList(DecoderBlock(blocks, n) for n in range(config.n_decoder_layer))
        is_pre = config.norm == "pre"
        self.ln_encoder = normalization(blocks) if is_pre else nn.Identity()
        self.ln_decoder = normalization(blocks) if is_pre else nn.Identity()
        self.lm_head = Head(blocks)
        self.init_weights()
        if config.tied_embeddings:
            self.lm_head.weight = self.wte.weight

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw the initial weights: Xavier's uniform for matrices, zero biases, unit gains.

        Embeddings are N(0, 1 / n_embd), so that those scaled by sqrt(n_embd) have unit variance
        like the positions. The paper does not say; this is the initialization of its authors' code.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.n_embd**-0.5)
        if self.config.tied_embeddings:
            self.lm_head.weight.copy_(self.wte.weight)

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Return the encoded sources.

        Args:
            source: `(B, S)` token ids, padded on the right.
            lengths: `(B,)` lengths without padding, each at least 1.
        """
        S = source.size(1)
        mask = torch.arange(S, device=source.device) < lengths[:, None]  # (B, S)
        wte = self.wte if self.config.source_vocab_size is None else self.source_wte
        x = self._embedded(wte(source), "source_wpe", torch.arange(S, device=source.device))
        mask = mask[:, None, None]  # (B, 1, 1, S): the same keys for every head and query
        for block in self.encoder:
            x = block(x, mask=mask)
        encoded = self.ln_encoder(x)
        pairs = [block.cross.keys_and_values(encoded) for block in self.decoder_blocks]
        return Memory([k for k, _ in pairs], [v for _, v in pairs], mask)

    def hidden_states(
        self, target: Tensor, memory: Memory, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Return the decoder's final states `(B, T, n_embd)`.

        Args:
            target: `(B, T)` token ids; in training those before each token to predict.
            memory: the encoded sources of the rows.
            cache: keys and values of the tokens before these; the new ones are added to it.
        """
        T = target.size(1)
        seen = cache.seen if cache else 0
        positions = torch.arange(seen, seen + T, device=target.device)
        x = self._embedded(self.wte(target), "target_wpe", positions)
        for block, k, v in zip(self.decoder_blocks, memory.keys, memory.values, strict=True):
            x = block(x, k, v, memory.mask, cache)
        if cache:
            cache.advance(T)
        hidden: Tensor = self.ln_decoder(x)
        return hidden

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Return logits `(B, T, vocab_size)` of the token after each position of the target."""
        hidden = self.hidden_states(target, self.encode(source, lengths))
        logits: Tensor = self.lm_head(hidden)
        return logits

    def _embedded(self, x: Tensor, table: str, positions: Tensor) -> Tensor:
        """Return the sum of token embeddings x times sqrt(n_embd) and positions (section 3.4)."""
        longest = self.config.block_size
        last = int(positions[-1]) + 1 if len(positions) else 0
        if last > longest:
            raise ValueError(f"{last} tokens do not fit in the model's {longest} positions")
        x = x * math.sqrt(self.config.n_embd)
        learned = self.config.positions == "learned"
        encodings = getattr(self, table).weight if learned else self.get_buffer("sinusoids")
        embedded: Tensor = self.dropout(x + encodings.to(x.dtype)[positions])
        return embedded

    @property
    def decoder_blocks(self) -> list[DecoderBlock]:
        """The blocks of the decoder, in order."""
        return [block for block in self.decoder if isinstance(block, DecoderBlock)]

    @property
    def num_parameters(self) -> int:
        """Number of trainable values; tied weights count once."""
        return sum(p.numel() for p in self.parameters())
