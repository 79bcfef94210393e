"""Greedy or sampled answers to the prompts of a benchmark."""

from collections.abc import Sequence

from webtext_gpt.evaluation.benchmark import counted
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.generation import GREEDY, Sampling, complete
from webtext_gpt.tokenizer import Tokenizer


def answers(
    scorer: Scorer,
    name: str,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    batch_size: int,
    sampling: Sampling = GREEDY,
    stop: Sequence[str] = (),
) -> list[str]:
    """What the model writes after each prompt, in the prompts' order.

    Prompts are taken by length, so that little of a batch is padding.
    """
    order = sorted(range(len(prompts)), key=lambda n: -len(prompts[n]))
    texts = [""] * len(prompts)
    with counted(name, len(prompts), "prompt") as bar:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            batch = complete(
                scorer.model,
                scorer.tokenizer,
                [prompts[place] for place in places],
                max_new_tokens=max_new_tokens,
                sampling=sampling,
                stop=stop,
                seed=start,
            )
            for place, text in zip(places, batch, strict=True):
                texts[place] = text
            bar.update(len(places))
    return texts


def cut_end(tokenizer: Tokenizer, text: str, n_tokens: int) -> str:
    """The beginning of a text, of at most so many tokens."""
    ids = tokenizer.encode(text)
    return text if len(ids) <= n_tokens else tokenizer.decode(ids[: max(0, n_tokens)])


def cut_beginning(tokenizer: Tokenizer, text: str, n_tokens: int) -> str:
    """The end of a text, of at most so many tokens."""
    ids = tokenizer.encode(text)
    return text if len(ids) <= n_tokens else tokenizer.decode(ids[-max(1, n_tokens) :])
