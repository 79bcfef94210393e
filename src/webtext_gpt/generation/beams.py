"""Beam search: the likeliest text among those that a few likeliest beginnings lead to."""

from collections.abc import Sequence

import torch

from webtext_gpt.errors import UserError
from webtext_gpt.generation.reader import Reader
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
    """The new tokens of the best text found, end-of-text included where it ended.

    Each step continues `num_beams` texts by every token and keeps the likeliest. A text's score
    is its log-probability over (its new tokens)^length_penalty (Wu et al. 2016, section 7,
    without the constant 5).

    Args:
        model: in evaluation mode.
        prompt: token ids, at least one.
        num_beams: texts kept.
        max_new_tokens: longest continuation.
        end_of_text: the id that ends a text.
        length_penalty: 0 compares log-probabilities; above 0 favours longer texts.

    Raises:
        UserError: a setting is out of range, or the prompt is empty.
    """
    whole_number("num_beams", num_beams, least=1)
    if not prompt:
        raise UserError("the prompt holds no token; begin it with end-of-text")
    reader = Reader(model, len(prompt) + max_new_tokens)
    beams: list[list[int]] = [[]]
    scores = torch.zeros(1, dtype=torch.float64)
    best: tuple[float, list[int]] = (float("-inf"), [])
    finished: list[float] = []
    for length in range(1, max_new_tokens + 1):
        logits = reader.next_logits([[*prompt, *beam] for beam in beams])
        totals = scores[:, None] + logits.double().log_softmax(dim=-1).cpu()
        n_candidates = min(2 * num_beams, totals.numel())  # so many that all may not end here
        top = totals.flatten().topk(n_candidates)
        going: list[tuple[int, list[int], float]] = []
        candidates = zip(top.values.tolist(), top.indices.tolist(), strict=True)
        for rank, (total, index) in enumerate(candidates):
            source, token = divmod(index, totals.size(1))
            text = [*beams[source], token]
            if token != end_of_text:
                going.append((source, text, total))
            elif rank < num_beams:
                finished.append(total / length**length_penalty)
                best = max(best, (finished[-1], text))
            if len(going) == num_beams:
                break
        sources, beams, totals_kept = map(list, zip(*going, strict=True))
        scores = torch.tensor(totals_kept, dtype=torch.float64)
        reader.keep(sources)
        worst = min(sorted(finished)[-num_beams:], default=float("-inf"))
        if len(finished) >= num_beams and scores[0].item() / length**length_penalty <= worst:
            break
    else:
        for score, text in zip(scores.tolist(), beams, strict=True):
            best = max(best, (score / max(len(text), 1) ** length_penalty, text))
    return best[1]
