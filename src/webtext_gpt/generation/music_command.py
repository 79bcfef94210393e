"""The command `generate` with a model of music: compose or continue pieces, and write them.

Each piece is a MIDI file, with a piano roll beside it, and its sound if this machine has a
synthesizer.
"""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from webtext_gpt.errors import UserError
from webtext_gpt.generation.decoding import generate
from webtext_gpt.generation.layout import store_by_input
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.model import GPT
from webtext_gpt.music.grammar import grammar_of
from webtext_gpt.music.midi import write_midi
from webtext_gpt.music.notes import TICKS_PER_SECOND, Note
from webtext_gpt.music.roll import draw_roll
from webtext_gpt.music.synthesis import ADVICE, find_synthesizer, render
from webtext_gpt.music.vocabulary import Encoding
from webtext_gpt.paths import absence, check_output_file, local_path, shown
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings.inference import Generate
from webtext_gpt.training.precision import place_for_inference

APPLY = frozenset(
    [
        *("checkpoint", "prompt", "out", "num_samples", "batch_size", "seed"),
        *("max_new_tokens", "overflow", "temperature", "top_k", "top_p", "repetition_penalty"),
        *("device", "precision", "weights"),
    ]
)
"""Settings of `generate` that apply to music."""

MAX_NEW_TOKENS = 2048
"""Default length of a piece, which usually ends by itself: a minute or two of a chorale."""
MIDI_ENDINGS = (".mid", ".midi")


class Sample(NamedTuple):
    """Words that a model wrote after a prompt; `is_ended`: whether by the end of the piece."""

    words: list[str]
    is_ended: bool


def refuse_midi(settings: Generate) -> None:
    """Refuse MIDI files as the prompt or output of a model of text.

    Raises:
        UserError: `out` ends in `.mid`, or `prompt` names a MIDI file.
    """
    problem = ""
    if settings.out is not None and is_midi_name(settings.out):
        problem = f"out={shown(settings.out)} names a MIDI file"
    elif is_midi_name(settings.prompt) and Path(settings.prompt).is_file():
        problem = f"prompt={shown(settings.prompt)} is a MIDI file"
    if problem:
        raise UserError(
            f"{problem}, and {settings.checkpoint} holds a model of text; give the checkpoint of a "
            "model that data=midi or data=chorales trained"
        )


def is_midi_name(name: str) -> bool:
    """Return whether a name ends as those of MIDI files do."""
    return name.lower().endswith(MIDI_ENDINGS)


def write_music(settings: Generate, model: GPT, encoding: Encoding, device: str) -> None:
    """Compose `num_samples` pieces, each a continuation of the prompt, and write them.

    Raises:
        UserError: a setting is given that is for models of text, the prompt is not a MIDI file
            that the encoding can express, or a file to write exists.
    """
    _refuse_text(settings)
    files = _files(settings)
    given = [] if not settings.prompt else encoding.from_midi(local_path(settings.prompt, "prompt"))
    place_for_inference(model, device, settings.precision, settings.weights)
    if device == "cpu":
        store_by_input(model)
    most = settings.max_new_tokens
    if "max_new_tokens" not in settings.model_fields_set:
        most = MAX_NEW_TOKENS
    seed = settings.seed
    with progress_bar("composing", total=len(files), unit="piece") as bar:
        for start in range(0, len(files), settings.batch_size):
            batch = files[start : start + settings.batch_size]
            first = random.SystemRandom().getrandbits(32) if seed is None else seed + start
            samples = compose(
                model,
                encoding,
                given,
                seeds=range(first, first + len(batch)),
                max_new_tokens=most,
                sampling=Sampling(
                    repetition_penalty=settings.repetition_penalty,
                    temperature=settings.temperature,
                    top_k=settings.top_k,
                    top_p=settings.top_p,
                ),
                overflow=settings.overflow or "slide",
            )
