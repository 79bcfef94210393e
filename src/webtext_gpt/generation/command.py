"""Samples and candidates on the terminal, or in a file."""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from webtext_gpt.errors import UserError
from webtext_gpt.generation.decoding import check_prompts
from webtext_gpt.generation.next_tokens import next_tokens
from webtext_gpt.generation.prompts import read_prompts, write_completions
from webtext_gpt.generation.texts import complete, encode_prompts
from webtext_gpt.model import GPT
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings import whole_number
from webtext_gpt.tokenizer import Tokenizer


def candidates(model: GPT, tokenizer: Tokenizer, prompt: str, *, n: int, steps: int) -> None:
    """Print the n likeliest next tokens with their probabilities, and walk on by the first."""
    text = prompt
    for candidate_tokens in next_tokens(model, tokenizer, prompt, n=n, steps=steps):
        print(f"{text!r} is followed by")
        for candidate in candidate_tokens:
            print(f"{candidate.probability:9.2%}  {candidate.text!r:20}  id {candidate.token}")
        text += candidate_tokens[0].text


def samples(
    model: GPT,
    tokenizer: Tokenizer,
    *,
    prompt: str,
    prompts: str | None,
    out: str | None,
    num_samples: int,
    batch_size: int,
    seed: int | None,
    stream: bool,
    settings: dict[str, Any],
) -> None:
    """Print or write `num_samples` continuations of a prompt, or of each prompt of a file.

    Args:
        model: in evaluation mode.
        tokenizer: the model's.
        prompt: what to continue; empty begins a new document.
        prompts: a file of prompts, in place of `prompt`.
        out: a JSONL file for prompts and completions, in place of the terminal.
        num_samples: continuations of each prompt.
        batch_size: texts made at once.
        seed: of the first text; each later one takes the next. `None`: others each time.
        stream: print a single text while it grows.
        settings: the other arguments of `complete`.

    Raises:
        UserError: a setting is out of range, or the file of prompts cannot be read.
    """
    whole_number("num_samples", num_samples, least=1)
    whole_number("batch_size", batch_size, least=1)
    if seed is not None:
        whole_number("seed", seed, least=0)
    if prompts is not None and prompt:
        raise UserError("give prompt= or prompts=FILE, not both")
    texts = [prompt] if prompts is None else read_prompts(prompts)
    check_prompts(  # all of them, before the first is continued
        encode_prompts(tokenizer, texts),
        settings["max_new_tokens"],
        settings.get("overflow", "slide"),
        model.config.block_size,
    )
    jobs = [text for text in texts for _ in range(num_samples)]
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    make = partial(_completions, model, tokenizer, jobs, batch_size, seed, settings)
    if out is not None:
        with progress_bar("generating", total=len(jobs), unit="text") as bar:
            for _ in write_completions(out, zip(jobs, make(), strict=True)):
                bar.update()
    elif len(jobs) == 1 and stream:
        print(jobs[0], end="", flush=True)
        show = partial(print, end="", flush=True)
        complete(model, tokenizer, jobs, seed=seed, show=show, **settings)
        print()
    else:
        for number, (job, completion) in enumerate(zip(jobs, make(), strict=True), start=1):
            if len(jobs) > 1:
                print(f"=== sample {number}")
            print(job + completion)


def _completions(
    model: GPT,
    tokenizer: Tokenizer,
    jobs: Sequence[str],
    batch_size: int,
    seed: int,
    settings: dict[str, Any],
) -> Iterator[str]:
    for start in range(0, len(jobs), batch_size):
        batch = jobs[start : start + batch_size]
        yield from complete(model, tokenizer, batch, seed=seed + start, **settings)
