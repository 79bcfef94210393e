"""Compute the numbers that the page shows of a model and a text, with arguments checked.

A call that needs a forward pass keeps it (`explorer.trace`), so that the next call about the same
text computes only what it shows. A classifier is shown as the language model inside it, reading
the sequence that its head reads; it predicts no next token.
"""

import functools
import math
import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from webtext_gpt.checkpoint.load import LoadedModel, only_gpt
from webtext_gpt.errors import UserError
from webtext_gpt.explorer import attention, inside, tree
from webtext_gpt.explorer.tokens import described
from webtext_gpt.explorer.trace import Trace, Traces
from webtext_gpt.finetuning.data.sequences import encode_texts
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.model import GPTClassifier, language_model
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import EncodingError

MOST = 1000
"""Maximum rows of a list."""
MOST_LEVELS, MOST_PASSES = 10, 200
"""Maximum levels of a tree, and of nodes above its lowest level; each node is a forward pass."""

VIEWS = ("tokens", "attention", "heads", "head", "lens", "units", "positions", "neighbours")
PREDICTIONS = ("next", "tree")

P = ParamSpec("P")
R = TypeVar("R")


def _alone(
    method: Callable[Concatenate["Inspector", P], R],
) -> Callable[Concatenate["Inspector", P], R]:
    """Let one thread at a time run a method, without gradients."""

    @functools.wraps(method)
    def call(self: "Inspector", *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock, torch.inference_mode():
            return method(self, *args, **kwargs)

    return call


class Inspector:
    """Computes the page's views of one model; any number of threads may call it.

    Texts longer than the context lose their beginning, those of classifiers their end, as in
    prediction. An empty text is the beginning of a new document. All methods raise a `UserError`
    that names the argument if one is out of range or the text cannot be encoded.

    Args:
        loaded: the model, in evaluation mode, with its tokenizer.

    Attributes:
        views: names of the methods that this model has.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self.model = language_model(only_gpt(loaded, "the checkpoint"))
        self.tokenizer = loaded.tokenizer
        self._classifier = loaded.model.config if isinstance(loaded.model, GPTClassifier) else None
        self.views = VIEWS if self._classifier else (*PREDICTIONS, *VIEWS)
        self._traces = Traces(self.model)
        self._lock = threading.Lock()

    @_alone
    def next(
        self,
        text: str,
        n: int = 10,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> dict[str, Any]:
        """Return the n likeliest next tokens, with the settings of `generation.Sampling`.

        Returns:
            `tokens` with their `probability`, 0 if the settings exclude them, and `rank` from 1;
            `n_tokens`, the number of tokens that the model read; and `n_cut`, the number left out.
        """
        self._only_language_model("next")
        whole_number("n", n, 1, MOST)
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
        trace, n_cut = self._trace(text)
        ids = trace.likeliest[:n]
        probabilities = sampling.probabilities(trace.next_logits[None])[0, ids]
        tokens = described(
            self.tokenizer,
            ids.tolist(),
            probability=probabilities.tolist(),
            rank=range(1, len(ids) + 1),
        )
        return {"tokens": tokens, "n_tokens": len(trace.ids), "n_cut": n_cut}

    @_alone
    def tree(self, text: str, width: int = 3, depth: int = 3) -> dict[str, Any]:
        """Return the tree of likely continuations, see `explorer.tree.continuations`.

        Where the context has no room for them, the text's first tokens are left out below the
        first level.
        """
        self._only_language_model("tree")
        whole_number("width", width, 1, MOST)
        block_size = self.model.config.block_size
        whole_number("depth", depth, 1, min(MOST_LEVELS, block_size))
        if (passes := sum(width**level for level in range(1, depth))) > MOST_PASSES:
            raise UserError(
                f"width={width} and depth={depth} need {passes:,} forward passes; give smaller "
                f"ones, for {MOST_PASSES} at most"
            )
        trace, _ = self._trace(text)
        room = block_size - (depth - 1)
        shorter = trace if len(trace.ids) <= room else self._traces.get(trace.ids[-room:])
        return {"children": tree.continuations(self.tokenizer, trace, shorter, width, depth)}

    @_alone
    def tokens(self, text: str) -> dict[str, Any]:
        """Return the tokens of the text, and the surprise of each one.

        Returns:
            `tokens` with their `surprise`, -log2 p(token | those before it) in bits, None for the
            first; the total `bits`, `bytes` and `bits_per_byte` of all tokens but the first; and
            `n_cut`, the number of tokens left out.
        """
        trace, n_cut = self._trace(text)
        tokens = described(self.tokenizer, trace.ids, surprise=[None, *trace.surprise])
        bits = math.fsum(trace.surprise)
        n_bytes = sum(len(token["bytes"]) for token in tokens[1:])
        return {
            "tokens": tokens,
            "bits": bits,
            "bytes": n_bytes,
            "bits_per_byte": bits / n_bytes if n_bytes else None,
            "n_cut": n_cut,
        }

    @_alone
    def attention(self, text: str, layer: int, head: int | None = None) -> NDArray[np.float32]:
        """Return the weights of one head, or the mean of a block's; see `attention.triangle`."""
        self._check_layer(layer)
        if head is not None:
            self._check_head(head)
        return attention.triangle(self._trace(text)[0], layer, head)

    @_alone
    def heads(self, text: str, position: int) -> NDArray[np.float32]:
        """Return `(n_layer, n_head, position + 1)`, the weights of one position in every head."""
        return attention.rows(self._trace_with(text, position), position)

    @_alone
    def head(self, text: str, layer: int, head: int, position: int, n: int = 6) -> dict[str, Any]:
        """Return the numbers behind one head's output at one position, see `attention.numbers`."""
        self._check_layer(layer)
        self._check_head(head)
        whole_number("n", n, 1, MOST)
        return attention.numbers(self._trace_with(text, position), layer, head, position, n)

    @_alone
    def lens(self, text: str, position: int, n: int = 5) -> dict[str, Any]:
        """Return the predictions after each block, see `inside.lens`."""
        whole_number("n", n, 1, MOST)
        return inside.lens(self._trace_with(text, position), self.tokenizer, position, n)

    @_alone
    def units(self, text: str, position: int, n: int = 8) -> dict[str, Any]:
        """Return the most active units of every MLP at one position, see `inside.units`."""
        whole_number("n", n, 1, MOST)
        return inside.units(self._trace_with(text, position), self.tokenizer, position, n)

    @_alone
    def positions(self) -> NDArray[np.float32]:
        """Return the position encodings, see `inside.positions`."""
        return inside.positions(self.model)

    @_alone
    def neighbours(self, id: int, n: int = 12) -> dict[str, Any]:
        """Return the n tokens whose input embeddings are most similar to `id`'s, by cosine."""
        whole_number("id", id, 0, self.model.config.vocab_size - 1)
        whole_number("n", n, 1, MOST)
        return inside.neighbours(self.model, self.tokenizer, id, n)

    def _trace(self, text: str) -> tuple[Trace, int]:
        """Return the forward pass of a text, and the number of tokens left out."""
        ids = self._encoded(text)
        block_size, config = self.model.config.block_size, self._classifier
        if config is None:
            kept = ids[-block_size:] or [self.tokenizer.end_of_text]
            return self._traces.get(kept), max(0, len(ids) - block_size)
        seconds = None if config.delimiter_token_id is None else [""]
        (read,) = encode_texts(self.tokenizer, config, block_size, [text], seconds).tokens
        kept = np.atleast_2d(read)[0].tolist() or [config.pad_token_id]
        special = (config.start_token_id, config.delimiter_token_id, config.extract_token_id)
        n_kept = sum(token not in special for token in kept)
        return self._traces.get(kept), max(0, len(ids) - n_kept)

    def _encoded(self, text: str) -> list[int]:
        """Return all tokens of a text, including those that do not fit the context."""
        if not isinstance(text, str):
            raise UserError(f"text must be text, not {type(text).__name__}")
        try:
            return self.tokenizer.encode(text)
        except EncodingError as error:
            raise UserError(f"text: {error}") from error

    def _trace_with(self, text: str, position: int) -> Trace:
        """Return the forward pass of a text; check that the text has the position."""
        trace, _ = self._trace(text)
        whole_number("position", position, 0, len(trace.ids) - 1)
        return trace

    def _check_layer(self, layer: int) -> None:
        whole_number("layer", layer, 0, self.model.config.n_layer - 1)

    def _check_head(self, head: int) -> None:
        whole_number("head", head, 0, self.model.config.n_head - 1)

    def _only_language_model(self, name: str) -> None:
        if self._classifier is not None:
            raise UserError(f"{name}: this model is a classifier and predicts no next token")
