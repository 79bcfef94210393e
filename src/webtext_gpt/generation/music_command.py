"""The command `generate` with a model of music: compose or continue pieces, and write them.

Each piece is a MIDI file with a piano roll beside it, and its sound if this machine has a
synthesizer.
"""

import random
import sys
from pathlib import Path

from webtext_gpt.data.rows import plural
from webtext_gpt.errors import UserError
from webtext_gpt.generation.layout import store_by_input
from webtext_gpt.generation.music import Sample, compose
from webtext_gpt.generation.sampling import Sampling
from webtext_gpt.model import GPT
from webtext_gpt.music.midi import write_midi
from webtext_gpt.music.notes import TICKS_PER_SECOND
from webtext_gpt.music.roll import draw_roll
from webtext_gpt.music.sources import ENDINGS
from webtext_gpt.music.synthesis import ADVICE, Synthesizer, find_synthesizer, render
from webtext_gpt.music.vocabulary import Encoding
from webtext_gpt.paths import absence, check_output_file, local_path, shown
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings.generate import Generate
from webtext_gpt.terminal import quoted, say
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
"""Default maximum length of a piece: 72 s of a chorale, most of which end before."""


def refuse_midi(settings: Generate) -> None:
    """Refuse MIDI files as the prompt or output of a model of text.

    Raises:
        UserError: `out` has the ending of a MIDI file, or `prompt` names one.
    """
    problem = None
    if settings.out is not None and _is_midi_name(settings.out):
        problem = f"out={shown(settings.out)} names a MIDI file"
    elif _is_midi_name(settings.prompt) and Path(settings.prompt).is_file():
        problem = f"prompt={shown(settings.prompt)} is a MIDI file"
    if problem is not None:
        raise UserError(
            f"{problem}, and {settings.checkpoint} holds no model of music; give a checkpoint that "
            "was trained with data=midi or data=chorales"
        )


def write_music(settings: Generate, model: GPT, encoding: Encoding, device: str) -> None:
    """Compose `num_samples` pieces after the prompt, and write each as soon as it is complete.

    Raises:
        UserError: a setting is given that is for models of text; the prompt is not a MIDI file
            that the encoding can express; or a file that would be written exists.
    """
    out = _checked_out(settings)
    files = [out]
    if settings.num_samples > 1:
        numbers = range(1, settings.num_samples + 1)
        files = [out.with_name(f"{out.stem}-{number}{out.suffix}") for number in numbers]
    synthesizer = find_synthesizer()
    for file in files:
        _refuse_existing(file, synthesizer)
    given = encoding.from_midi(_prompt_file(settings)) if settings.prompt else []
    place_for_inference(model, device, settings.precision, settings.weights)
    if device == "cpu":
        store_by_input(model)
    is_given = "max_new_tokens" in settings.model_fields_set
    seed = random.SystemRandom().getrandbits(32) if settings.seed is None else settings.seed
    sampling = settings.model_dump(include={"temperature", "top_k", "top_p", "repetition_penalty"})
    with progress_bar("composing", total=len(files), unit="piece") as bar:
        for start in range(0, len(files), settings.batch_size):
            batch = files[start : start + settings.batch_size]
            samples = compose(
                model,
                encoding,
                given,
                seeds=range(seed + start, seed + start + len(batch)),
                max_new_tokens=settings.max_new_tokens if is_given else MAX_NEW_TOKENS,
                sampling=Sampling(**sampling),
                overflow=settings.overflow or "slide",
            )
            for file, sample in zip(batch, samples, strict=True):
                say(write_piece(file, encoding, given, sample, synthesizer))
                bar.update()
    if synthesizer is None:
        say(ADVICE, sys.stderr)


def write_piece(
    file: Path,
    encoding: Encoding,
    given: list[str],
    sample: Sample,
    synthesizer: Synthesizer | None,
) -> str:
    """Write a piece and its pictures, and return one line with the files, length and notes.

    A synthesizer that fails is reported on standard error; the other files are written.

    Args:
        file: MIDI file to write; the others have its name and another ending.
        encoding: of the words.
        given: words of the piece before the sample.
        sample: the words that the model wrote.
        synthesizer: writes the sound; None writes none.
    """
    voices = encoding.to_notes([*given, *sample.words])
    prompt_end = max((note.end for notes in encoding.to_notes(given) for note in notes), default=0)
    write_midi(file, voices)
    picture, sound = file.with_suffix(".png"), file.with_suffix(".wav")
    draw_roll(picture, file.stem, voices, names=encoding.voice_names, prompt_end=prompt_end)
    written = [quoted(file), quoted(picture)]
    if synthesizer is not None:
        try:
            render(synthesizer, file, sound)
            written.append(quoted(sound))
        except UserError as error:
            say(str(error), sys.stderr)
    seconds = max((note.end for notes in voices for note in notes), default=0) / TICKS_PER_SECOND
    notes = plural(sum(map(len, voices)), "note")
    end = "ended by the model" if sample.is_ended else "cut at its maximum length"
    return f"{', '.join(written)}: {seconds:.1f} s, {notes}, {end}"


def _checked_out(settings: Generate) -> Path:
    """Return the MIDI file to write, after refusing settings that do not apply."""
    holds = f"{settings.checkpoint} holds a model of music"
    if names := sorted(settings.model_fields_set - APPLY):
        is_one = len(names) == 1
        raise UserError(
            f"{holds}, and {', '.join(names)} {'is' if is_one else 'are'} for models of text; "
            f"leave {'it' if is_one else 'them'} out"
        )
    if settings.out is None:
        raise UserError(f"{holds}, which writes files; give out=FILE.mid")
    if not _is_midi_name(settings.out):
        raise UserError(
            f"{holds}, and out={shown(settings.out)} does not end in .mid; give out=FILE.mid"
        )
    return local_path(settings.out, "out")


def _prompt_file(settings: Generate) -> Path:
    if not _is_midi_name(settings.prompt):
        raise UserError(
            f"{settings.checkpoint} holds a model of music, and prompt={settings.prompt!r} is "
            "text; give prompt=FILE.mid, or leave it out"
        )
    file = local_path(settings.prompt, "prompt")
    if not file.is_file():
        problem = "is a folder, not a file" if file.exists() else absence(file)
        raise UserError(f"prompt={shown(settings.prompt)} {problem}")
    return file


def _refuse_existing(file: Path, synthesizer: Synthesizer | None) -> None:
    """Refuse to overwrite a piece, its pictures or its sound, or to write where that fails."""
    check_output_file(file, "out")
    endings = [file.suffix, ".png", *([] if synthesizer is None else [".wav"])]
    for path in map(file.with_suffix, endings):
        if path.exists():
            raise UserError(f"{path} exists; remove it or give another out=")


def _is_midi_name(name: str) -> bool:
    return name.lower().endswith(ENDINGS)
