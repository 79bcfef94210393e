"""Beam search: keep the most probable partial texts at each step and return the best text."""

from collections.abc import Sequence

import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation.decoding import CachedDecoder
from webtext_gpt.model import GPT
from webtext_gpt.settings import whole_number


@torch.inference_mode()
def beam_search(
    model: GPT,
    prompt: Sequence[int],
    *,
    num_beams: int,
    max_new_tokens: int,
    end_of_text: int,
    length_penalty: float = 1.0,
) -> list[int]:
    """Return the new tokens of the best text found, including end-of-text if the text ended.

    Each step extends `num_beams` texts by every token and keeps the most probable ones. The score
    of a text is its log-probability divided by (number of new tokens)^length_penalty (Wu et al.
    2016, section 7, without the constant 5).

    Args:
        model: in evaluation mode.
        prompt: token ids, at least one.
        num_beams: number of texts kept.
        max_new_tokens: maximum length of the continuation.
        end_of_text: the id that ends a text.
        length_penalty: 0 compares plain log-probabilities; above 0 favors longer texts.

    Raises:
        UserError: a setting is out of range, or the prompt is empty.
    """
    whole_number("num_beams", num_beams, least=1)
    if not prompt:
        raise UserError("the prompt has no tokens; begin it with end-of-text")
    decoder = CachedDecoder(model, len(prompt) + max_new_tokens)
    beams: list[list[int]] = [[]]
    totals = torch.zeros(1, dtype=torch.float64)  # (beams,) log-probability of each
    best: tuple[float, list[int]] = (float("-inf"), [])
    finished: list[float] = []  # scores of the texts that ended
    for length in range(1, max_new_tokens + 1):
        logits = decoder.next_logits([[*prompt, *beam] for beam in beams])
        extended = totals[:, None] + logits.double().log_softmax(dim=-1).cpu()  # (beams, vocab)
        n_candidates = min(2 * num_beams, extended.numel())  # at most half of them can end here
        top = extended.flatten().topk(n_candidates)
        growing: list[tuple[int, list[int], float]] = []
        candidates = zip(top.values.tolist(), top.indices.tolist(), strict=True)
        for rank, (total, index) in enumerate(candidates):
            parent, token = divmod(index, extended.size(1))
            text = [*beams[parent], token]
            if token != end_of_text:
                growing.append((parent, text, total))
            elif rank < num_beams:
                finished.append(total / length**length_penalty)
                best = max(best, (finished[-1], text))
            if len(growing) == num_beams:
                break
        parents, beams, growing_totals = map(list, zip(*growing, strict=True))
        totals = torch.tensor(growing_totals, dtype=torch.float64)
        decoder.keep(parents)
        worst = min(sorted(finished)[-num_beams:], default=float("-inf"))
        if len(finished) >= num_beams and totals[0].item() / length**length_penalty <= worst:
            break
    else:
        for total, text in zip(totals.tolist(), beams, strict=True):
            best = max(best, (total / max(len(text), 1) ** length_penalty, text))
    return best[1]
