"""The command `generate`: read prompts, and print or write completions and candidates."""

import json
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from webtext_gpt.checkpoint.load import load, only_language_model
from webtext_gpt.cli import Call
from webtext_gpt.data.rows import holds_rows, read_rows, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.published import GZIP, published_text
from webtext_gpt.files import read_text, replaced
from webtext_gpt.generation.decoding import check_prompts
from webtext_gpt.generation.layout import store_by_input
from webtext_gpt.generation.music_command import refuse_midi, write_music
from webtext_gpt.generation.prompts import (
    FittedPrompts,
    encode_prompts,
    ended,
    fit_prompts,
    remarks,
)
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.generation.texts import (
    CompletionSettings,
    Continuation,
    continuations,
    next_tokens,
)
from webtext_gpt.generation.translation_command import print_translations
from webtext_gpt.model import GPT
from webtext_gpt.model.transformer import Transformer
from webtext_gpt.music.vocabulary import encoding_of
from webtext_gpt.paths import absence, check_output_file, local_path, readable_path, shown
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings import checks, whole_number
from webtext_gpt.settings.generate import Generate
from webtext_gpt.settings.lists import unescaped
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.precision import place_for_inference, usable_device


def generate(settings: Generate, call: Call) -> None:
    """Load a model, and print or write its continuations, candidates, translations or music.

    Everything that can be checked without the model is checked before it is loaded.

    Raises:
        UserError: the file of prompts cannot be read, `out` exists, there is no such device, or
            the model cannot be loaded.
    """
    drawing = settings.model_dump(include={"temperature", "top_k", "top_p"})
    completion: CompletionSettings = {
        "max_new_tokens": settings.max_new_tokens,
        "sampling": Sampling(
            repetition_penalty=settings.repetition_penalty,
            **({} if settings.num_beams > 1 else drawing),
        ),
        "stop": stop_strings(settings.stop),
        "num_beams": settings.num_beams,
        "draft": settings.draft,
    }
    texts = [settings.prompt] if settings.prompts is None else read_prompts(settings.prompts)
    if settings.out is not None:
        refuse_existing(settings.out)
    device = usable_device(settings.device)
    loaded = load(settings.checkpoint)
    if (encoding := encoding_of(loaded.tokenizer)) is not None:
        composer = only_language_model(loaded, settings.checkpoint)
        write_music(settings, composer, encoding, device)
        return
    refuse_midi(settings)
    if isinstance(loaded.model, Transformer):
        print_translations(settings, loaded.model, loaded.tokenizer, texts, device)
        return
    if settings.length_penalty is not None:
        raise UserError("length_penalty= is for translation models; leave it out")
    model, tokenizer = only_language_model(loaded, settings.checkpoint), loaded.tokenizer
    place_for_inference(model, device, settings.precision, settings.weights)
    if device == "cpu":
        store_by_input(model)
    completion["overflow"] = settings.overflow or ("slide" if loaded.between is None else "shorten")
    between = loaded.between or ""
    if settings.between is not None:
        between = unescaped(settings.between)
    if settings.next is not None:
        print_candidates(
            model,
            tokenizer,
            texts[0],
            n=settings.next,
            steps=settings.steps,
            between=between,
            overflow=completion["overflow"],
        )
        return
    print_samples(
        model,
        tokenizer,
        texts,
        out=settings.out,
        num_samples=settings.num_samples,
        batch_size=settings.batch_size,
        seed=settings.seed,
        stream=settings.stream,
        between=between,
        settings=completion,
    )


def print_candidates(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    n: int,
    steps: int,
    between: str = "",
    overflow: str = "slide",
) -> None:
    """Print the n most probable next tokens at each step, then append the first of them."""
    encoded, _ = _encoded(model, tokenizer, [prompt], between, overflow, steps)
    text = ended(prompt, between)
    for candidates in next_tokens(model, tokenizer, encoded[0], n=n, steps=steps):
        print(f"{text!r} is followed by")
        for candidate in candidates:
            print(f"{candidate.probability:9.2%}  {candidate.text!r:20}  id {candidate.token}")
        text += candidates[0].text


def print_samples(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    out: str | None,
    num_samples: int,
    batch_size: int,
    seed: int | None,
    stream: bool,
    between: str = "",
    settings: CompletionSettings,
) -> None:
    """Print or write `num_samples` continuations of each prompt.

    With `overflow=shorten`, prompts and texts that were cut are counted on standard error.

    Args:
        model: in evaluation mode.
        tokenizer: the model's tokenizer.
        prompts: texts to continue; an empty one begins a new document.
        out: JSONL file for prompts and completions; None prints them.
        num_samples: continuations per prompt; with `num_beams`, the best ones.
        batch_size: texts generated at once.
        seed: random seed of the first text; each later text uses the next one. None draws new
            random numbers in every call.
        stream: print a single text while it is generated.
        between: text that every prompt has to end with; added where it is missing.
        settings: further arguments of `continuations`.

    Raises:
        UserError: a setting is out of range, or a prompt cannot be continued.
    """
    whole_number("num_samples", num_samples, least=1)
    whole_number("batch_size", batch_size, least=1)
    searches = settings.get("num_beams", 1) > 1
    if searches:
        checks.beams(settings["num_beams"], num_samples)
    if seed is not None:
        whole_number("seed", seed, least=0)
    overflow = settings.get("overflow", "slide")
    most, block_size = settings["max_new_tokens"], model.config.block_size
    encoded, cut = _encoded(model, tokenizer, prompts, between, overflow, most)
    check_prompts(encoded, most, overflow, block_size)  # check all prompts before continuing any
    given = [prompt for prompt in prompts for _ in range(num_samples)]
    if searches:  # one search gives all texts of a prompt
        jobs, settings = encoded, {**settings, "num_samples": num_samples}
    else:
        jobs = [tokens for tokens in encoded for _ in range(num_samples)]
        seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    is_ended: list[bool] = []

    def pairs() -> Iterator[tuple[str, str]]:
        every = _continuations(model, tokenizer, jobs, batch_size, seed, settings)
        for prompt, continuation in zip(given, every, strict=True):
            is_ended.append(continuation.is_ended)
            yield prompt, continuation.text

    if out is not None:
        with progress_bar("generating", total=len(given), unit="text") as bar:
            for _ in write_completions(out, pairs()):
                bar.update()
    elif len(given) == 1 and stream:
        print(ended(given[0], between), end="", flush=True)
        show = partial(print, end="", flush=True)
        (only,) = continuations(model, tokenizer, jobs, seed=seed, show=show, **settings)
        is_ended.append(only.is_ended)
        print()
    else:
        for number, (prompt, text) in enumerate(pairs(), start=1):
            if len(given) > 1:
                print(f"=== sample {number}")
            print(ended(prompt, between) + text)
    if overflow == "shorten":
        counts = len(given), cut * num_samples, is_ended.count(False)
        for remark in remarks("", *counts, max_new_tokens=most, block_size=block_size):
            print(remark, file=sys.stderr)


def _encoded(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    between: str,
    overflow: str,
    max_new_tokens: int,
) -> FittedPrompts:
    """Return the token ids of prompts that end with `between`, shortened if `overflow` says so."""
    encoded = encode_prompts(tokenizer, prompts, between)
    if overflow != "shorten":
        return FittedPrompts(encoded, 0)
    return fit_prompts(
        tokenizer,
        encoded,
        between=between,
        max_new_tokens=max_new_tokens,
        block_size=model.config.block_size,
    )


def _continuations(
    model: GPT,
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    batch_size: int,
    seed: int | None,
    settings: CompletionSettings,
) -> Iterator[Continuation]:
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        first = None if seed is None else seed + start
        yield from continuations(model, tokenizer, batch, seed=first, **settings)


def read_prompts(path: str | Path) -> list[str]:
    """Return the prompts of a file: the column `prompt` of JSONL or Parquet, else its lines.

    A file of lines may be gzipped.

    An empty line is an empty prompt, except at the end of the file.

    Raises:
        UserError: the file does not have the format of its suffix, or holds no prompt.
    """
    path = readable_path(path, "prompts")
    if not path.exists() or path.is_dir():
        problem = "is a folder, not a file of prompts" if path.is_dir() else absence(path)
        raise UserError(f"prompts={shown(path)} {problem}")
    if holds_rows(path):
        prompts = [text_value(row, "prompt", place) for place, row in read_rows(path, ["prompt"])]
    else:
        read = published_text if path.suffix == GZIP else read_text
        text = read(path).replace("\r\n", "\n").rstrip("\n")
        prompts = text.split("\n") if text else []
    if not prompts:
        raise UserError(f"{path} holds no prompt; write one per line")
    return prompts


def stop_strings(setting: str | Iterable[object] | None) -> list[str]:
    r"""Return the strings of the setting `stop`, with the escapes `\n`, `\t` and `\\` replaced.

    Args:
        setting: None, one string, or several.

    Raises:
        UserError: an item is not a string.
    """
    items = [] if setting is None else [setting] if isinstance(setting, str) else list(setting)
    strings = []
    for item in items:
        if not isinstance(item, str):
            raise UserError(f'stop={item!r} is not text; put it in quotes, as stop=["5"]')
        strings.append(unescaped(item))
    return strings


def refuse_existing(path: str | Path) -> None:
    """Refuse to overwrite a file of completions, or to write where none can be made.

    Raises:
        UserError: the file exists, or its folder cannot be written to.
    """
    file = local_path(path, "out")
    check_output_file(file, "out")
    if file.exists():
        raise UserError(f"{file} exists; remove it or give another out=")


def write_completions(path: str | Path, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Write prompts and completions as JSONL rows; yield each completion once it is written.

    The file appears only when it is complete.

    Raises:
        UserError: the file exists.
    """
    path = local_path(path, "out")
    refuse_existing(path)
    with replaced(path) as partial_file, partial_file.open("w", encoding="utf-8") as stream:
        for prompt, completion in pairs:
            row = {"prompt": prompt, "completion": completion}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            yield completion
