"""Compute the page's views of a translation model: a text, its probability and attention."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from webtext_gpt.checkpoint.load import LoadedModel, only_translator
from webtext_gpt.data.pair_layout import decoder_input, decoder_target, source_ids
from webtext_gpt.explorer.tokens import described
from webtext_gpt.generation.alignment import alignment, encoded_pair
from webtext_gpt.generation.translate import LENGTH_PENALTY, NUM_BEAMS, translate
from webtext_gpt.generation.translation_beams import length_penalty_of
from webtext_gpt.pair_tokenizer import source_tokenizer
from webtext_gpt.settings import whole_number

MOST_BEAMS = 20
"""Maximum beams of a search."""


class TranslationInspector:
    """Computes the page's views of a translation model; any number of threads may call it.

    All methods raise a `UserError` if an argument is out of range, or a text cannot be encoded or
    does not fit in the model's context.

    Args:
        loaded: the model, in evaluation mode, with its tokenizer.

    Attributes:
        views: names of the methods.
    """

    views = ("translate", "alignment")

    def __init__(self, loaded: LoadedModel) -> None:
        self.model = only_translator(loaded, "the checkpoint")
        self.tokenizer = loaded.tokenizer
        self._of_sources = source_tokenizer(loaded.tokenizer)
        self._lock = threading.Lock()

    def translate(
        self,
        text: str,
        target: str | None = None,
        num_beams: int = NUM_BEAMS,
        length_penalty: float = LENGTH_PENALTY,
    ) -> dict[str, Any]:
        """Return a translation of a text, token by token.

        Args:
            text: a sentence; white space around it is ignored, as with all texts.
            target: its translation; None means the result of beam search.
            num_beams: see `generation.translate.translate`.
            length_penalty: see `generation.translate.translate`.

        Returns:
            `translation`, the text; the `source` tokens that the encoder reads; the `target`
            tokens with their `probability` given the source and the tokens before them; both end
            with end-of-text. `log_probability` of all target tokens in nats, and `score`, the same
            divided by GNMT's length penalty, by which beam search compares texts.
        """
        whole_number("num_beams", num_beams, 1, MOST_BEAMS)
        encoded_pair(self.model, self.tokenizer, text, target or "")  # refuses what does not fit
        with self._lock, torch.inference_mode():
            if target is None:
                [target] = translate(
                    self.model,
                    self.tokenizer,
                    [text],
                    num_beams=num_beams,
                    length_penalty=length_penalty,
                )
            source, ids = encoded_pair(self.model, self.tokenizer, text, target)
            log_probabilities = self._log_probabilities(source, ids)
        total = sum(log_probabilities)
        return {
            "translation": target.strip(),
            "source": described(self._of_sources, source_ids(source, self._of_sources.end_of_text)),
            "target": described(
                self.tokenizer,
                decoder_target(ids, self.tokenizer.end_of_text),
                probability=np.exp(log_probabilities).tolist(),
            ),
            "log_probability": total,
            "score": total / length_penalty_of(len(ids) + 1, length_penalty),
        }

    def alignment(
        self, text: str, target: str, layer: int, head: int | None = None
    ) -> NDArray[np.float32]:
        """Return `(T, S)`, a head's weights of each target token on each source token.

        Rows and columns are the tokens of `translate`; a row is the attention of the position that
        predicts the token.

        Args:
            text: a sentence.
            target: its translation.
            layer: decoder block.
            head: None for the mean over its heads.
        """
        whole_number("layer", layer, 0, self.model.config.n_decoder_layer - 1)
        if head is not None:
            whole_number("head", head, 0, self.model.config.n_head - 1)
        with self._lock:
            weights = alignment(self.model, self.tokenizer, text, target)[layer]
        chosen = weights.mean(dim=0) if head is None else weights[head]
        array: NDArray[np.float32] = chosen.numpy()
        return array

    def _log_probabilities(self, source: Sequence[int], target: Sequence[int]) -> list[float]:
        """Return ln p of each target token and of the end, given the source and those before."""
        end, device = self.tokenizer.end_of_text, self.model.wte.weight.device
        inputs, outputs, expected = (
            torch.tensor([ids], device=device)
            for ids in (
                source_ids(source, self._of_sources.end_of_text),
                decoder_input(target, end),
                decoder_target(target, end),
            )
        )
        logits = self.model(inputs, torch.tensor([inputs.size(1)], device=device), outputs)
        found: list[float] = (
            logits.double().log_softmax(dim=-1)[0].gather(1, expected.T)[:, 0].tolist()
        )
        return found
