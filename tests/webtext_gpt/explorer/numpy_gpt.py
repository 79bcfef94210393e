"""A GPT in NumPy and fp64, written from the papers' formulas, with every number on the way."""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import erf, softmax

from webtext_gpt.model import GPT

ACTIVATIONS: dict[str, Any] = {
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: x / 2 * (1 + erf(x / math.sqrt(2))),
    "relu": lambda x: np.maximum(x, 0),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
}


class Layer(NamedTuple):
    """Values computed in one block: heads first, then positions."""

    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    units: np.ndarray
    stream: np.ndarray


class Pass(NamedTuple):
    """Values that a model computes for a text."""

    embedding: np.ndarray
    layers: list[Layer]
    logits: np.ndarray


class NumpyGPT:
    """The weights of a model in fp64, and its forward pass of one text."""

    def __init__(self, model: GPT) -> None:
        self.config = model.config
        self.weights = {name: value.double().numpy() for name, value in model.state_dict().items()}

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights.get(f"{name}.bias", 0)

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        if self.config.norm_type == "layer":
            x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
        return x * self.weights.get(f"{name}.weight", 1) + self.weights.get(f"{name}.bias", 0)

    def to_logits(self, stream: np.ndarray) -> np.ndarray:
        hidden = self.norm("ln_f", stream) if self.config.norm == "pre" else stream
        logits, cap = hidden @ self.weights["lm_head.weight"].T, self.config.logits_soft_cap
        return logits if cap is None else cap * np.tanh(logits / cap)

    def sinusoids(self, width: int, n: int) -> np.ndarray:
        angles = np.arange(n)[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
        return np.stack((np.sin(angles), np.cos(angles)), axis=2).reshape(n, width)

    def forward(self, ids: list[int]) -> Pass:
        config, weights, T = self.config, self.weights, len(ids)
        x = weights["wte.weight"][ids]
        if config.scale_embeddings:
            x = x * math.sqrt(config.n_embd)
        if config.positions == "learned":
            x = x + weights["wpe.weight"][:T]
        elif config.positions == "sinusoidal":
            x = x + self.sinusoids(config.n_embd, T)
        embedding, layers = x, []
        for layer in range(config.n_layer):
            block = f"blocks.{layer}"
            if config.residual_scalars:
                a, b = weights["residual_scalars"][2 * layer : 2 * layer + 2]
                x = a * x + b * embedding
            q, k, v = self.heads(layer, self.norm(f"{block}.ln_1", x) if self.pre else x, ids)
            scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
            scores[:, np.triu(np.ones((T, T), bool), 1)] = -np.inf
            attention = softmax(scores, axis=-1)
            joined = (attention @ v).transpose(1, 0, 2).reshape(T, -1)
            x = x + self.linear(f"{block}.attn.c_proj", joined)
            x = x if self.pre else self.norm(f"{block}.ln_1", x)
            inner = self.norm(f"{block}.ln_2", x) if self.pre else x
            units = ACTIVATIONS[config.activation](self.linear(f"{block}.mlp.c_fc", inner))
            x = x + self.linear(f"{block}.mlp.c_proj", units)
            x = x if self.pre else self.norm(f"{block}.ln_2", x)
            layers.append(Layer(q, k, v, attention, units, x))
        return Pass(embedding, layers, self.to_logits(x))

    @property
    def pre(self) -> bool:
        return self.config.norm == "pre"

    def heads(self, layer: int, x: np.ndarray, ids: list[int]) -> tuple[np.ndarray, ...]:
        config = self.config
        qkv = np.split(self.linear(f"blocks.{layer}.attn.c_attn", x), 3, axis=-1)
        if config.value_embeddings and (config.n_layer - 1 - layer) % 2 == 0:
            qkv[2] = qkv[2] + self.weights[f"value_embeddings.{layer}.weight"][ids]
        q, k, v = (part.reshape(len(ids), config.n_head, -1).transpose(1, 0, 2) for part in qkv)
        if config.qk_norm:
            q, k = (z / np.sqrt((z**2).mean(axis=-1, keepdims=True) + 1e-5) for z in (q, k))
        if config.positions == "rotary":
            q, k = self.rotated(q), self.rotated(k)
        return q, k, v

    def rotated(self, x: np.ndarray) -> np.ndarray:
        """Rotate the pair (x_i, x_{i + d/2}) of position p by p / 10000^(2i/d)."""
        T, d = x.shape[1:]
        angles = np.arange(T)[:, None] / 10_000 ** (np.arange(0, d, 2) / d)
        pairs = x[..., : d // 2] + 1j * x[..., d // 2 :]
        pairs = pairs * np.exp(1j * angles)
        return np.concatenate((pairs.real, pairs.imag), axis=-1)
