"""Beam search: keep the most probable partial texts at each step and return the best texts."""

import heapq
from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation.decoding import CachedDecoder
from webtext_gpt.generation.sampling import Sampling, penalize
from webtext_gpt.model import GPT
from webtext_gpt.settings import checks, whole_number


class SearchSettings(TypedDict, total=False):
    """Optional arguments of `beam_texts`."""

    length_penalty: float
    repetition_penalty: float
    finished: Callable[[list[int]], bool]


def beam_search(
    model: GPT,
    prompt: Sequence[int],
    *,
    num_beams: int,
    max_new_tokens: int,
    end_of_text: int,
    **settings: Unpack[SearchSettings],
) -> list[int]:
    """Return the new tokens of the best text found; the arguments are those of `beam_texts`."""
    return beam_texts(
        model,
        prompt,
        num_texts=1,
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
        end_of_text=end_of_text,
        **settings,
    )[0]


@torch.inference_mode()
def beam_texts(
    model: GPT,
    prompt: Sequence[int],
    *,
    num_texts: int,
    num_beams: int,
    max_new_tokens: int,
    end_of_text: int,
    length_penalty: float = 1.0,
    repetition_penalty: float = 1.0,
    finished: Callable[[list[int]], bool] = lambda text: False,
) -> list[list[int]]:
    """Return the new tokens of the `num_texts` best texts found, the best first.

    Each step extends `num_beams` texts by every token and keeps the most probable ones. The score
    of a text is its log-probability divided by (number of new tokens)^length_penalty (Wu et al.
    2016, section 7, without the constant 5). As in transformers, the repetition penalty multiplies
    the log-probabilities of tokens that occur in the text, prompt included.

    Args:
        model: in evaluation mode.
        prompt: token ids, at least one.
        num_texts: number of texts returned, at most `num_beams`.
        num_beams: number of texts kept.
        max_new_tokens: maximum length of the continuation.
        end_of_text: the id that ends a text; it is part of the text.
        length_penalty: 0 compares plain log-probabilities; above 0 favors longer texts.
        repetition_penalty: above 1 lowers the score of repeated tokens; 1 does nothing.
        finished: called with the new tokens of a text; True ends it, as `end_of_text` does.

    Raises:
        UserError: a setting is out of range, the prompt is empty, or there are fewer texts.
    """
    whole_number("num_beams", num_beams, least=1)
    whole_number("num_samples", num_texts, least=1)
    checks.beams(num_beams, num_texts)
    Sampling(repetition_penalty=repetition_penalty)  # checks its range
    if not prompt:
        raise UserError("the prompt has no tokens; begin it with end-of-text")
    decoder = CachedDecoder(model, len(prompt) + max_new_tokens)
    beams: list[list[int]] = [[]]
    totals = torch.zeros(1, dtype=torch.float64)  # (beams,) score before the length penalty
    best: list[tuple[float, list[int]]] = [] if max_new_tokens else [(0.0, [])]
    for length in range(1, max_new_tokens + 1):
        texts = [[*prompt, *beam] for beam in beams]
        logits = decoder.next_logits(texts).double().log_softmax(dim=-1)  # (beams, vocab)
        if repetition_penalty != 1:
            logits = penalize(logits, texts, repetition_penalty)
        extended = totals[:, None] + logits.cpu()
        n_candidates = min(2 * num_beams, extended.numel())  # at most half of them can end here
        top = extended.flatten().topk(n_candidates)
        growing: list[tuple[int, list[int], float]] = []
        candidates = zip(top.values.tolist(), top.indices.tolist(), strict=True)
        for rank, (total, index) in enumerate(candidates):
            parent, token = divmod(index, extended.size(1))
            text = [*beams[parent], token]
            if length == max_new_tokens or token == end_of_text or finished(text):
                if rank < num_beams:
                    best.append((total / length**length_penalty, text))
            else:
                growing.append((parent, text, total))
            if len(growing) == num_beams:
                break
        best = heapq.nlargest(num_beams, best, key=lambda found: found[0])
        if not growing:
            break
        parents, beams, growing_totals = map(list, zip(*growing, strict=True))
        totals = torch.tensor(growing_totals, dtype=torch.float64)
        decoder.keep(parents)
        if len(best) == num_beams and totals[0].item() / length**length_penalty <= best[-1][0]:
            break
    if len(best) < num_texts:
        raise UserError(
            f"num_samples={num_texts}: with max_new_tokens={max_new_tokens} there are only "
            f"{len(best)} different texts"
        )
    return [text for _, text in best[:num_texts]]
