"""Sound of a MIDI file, by a synthesizer of this machine: FluidSynth or TiMidity++.

They are programs, not packages, so a machine may have neither. FluidSynth needs a SoundFont, a file
of recorded instruments, and TiMidity++ a configuration that names one.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from webtext_gpt.errors import UserError
from webtext_gpt.files import replaced

SOUND_FONT = "SOUNDFONT"
"""Environment variable that names the SoundFont for FluidSynth."""
FOLDERS = (
    *("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts"),
    *("/usr/local/share/soundfonts", "/opt/homebrew/share/soundfonts"),
)
"""Folders into which systems install SoundFonts."""
TIMEOUT_S = 600
SAMPLE_RATE = "44100"
GAIN = "0.8"
"""FluidSynth's own, 0.2, leaves four voices at a tenth of full scale."""
ADVICE = (
    "to hear music as .wav, install fluidsynth with a SoundFont (on Debian and Ubuntu: apt install "
    f"fluidsynth fluid-soundfont-gm; {SOUND_FONT}=FILE.sf2 names another), or timidity"
)


class Synthesizer(NamedTuple):
    """A program that turns a MIDI file into a WAV file."""

    name: str
    arguments: Callable[[Path, Path], list[str]]
    """Command line for a MIDI file and the WAV file to write, both absolute paths."""


def find_synthesizer(folders: Sequence[str] = FOLDERS) -> Synthesizer | None:
    """Return a synthesizer that is ready for use, or None; `ADVICE` says what to install.

    Args:
        folders: where to look for a SoundFont, unless the environment variable names one.

    Raises:
        UserError: the environment variable `SOUNDFONT` names no file.
    """
    fluidsynth, timidity = shutil.which("fluidsynth"), shutil.which("timidity")
    if fluidsynth is not None and (font := _sound_font(folders)) is not None:
        # -n: no MIDI input; -i: no shell; -T: the type, which the temporary name does not tell
        head = [fluidsynth, "-n", "-i", "-q", "-g", GAIN, "-T", "wav", "-r", SAMPLE_RATE]
        return Synthesizer(
            "fluidsynth", lambda midi, wav: [*head, "-F", str(wav), str(font), str(midi)]
        )
    if timidity is not None:
        head = [timidity, "-Ow", "-s", SAMPLE_RATE]
        return Synthesizer("timidity", lambda midi, wav: [*head, "-o", str(wav), str(midi)])
    return None


def _sound_font(folders: Sequence[str]) -> Path | None:
    if given := os.environ.get(SOUND_FONT):
        if not Path(given).is_file():
            raise UserError(f"{SOUND_FONT}={given} in the environment is not a file")
        return Path(given).absolute()
    fonts = [file for folder in folders for file in sorted(Path(folder).glob("*.sf[23]"))]
    return fonts[0] if fonts else None


def render(synthesizer: Synthesizer, midi: Path, wav: Path) -> None:
    """Write the sound of a MIDI file as a WAV file.

    Raises:
        UserError: the synthesizer fails, writes no WAV file, or takes more than `TIMEOUT_S`;
            nothing is left behind.
    """
    with replaced(wav) as partial:
        command = synthesizer.arguments(midi.absolute(), partial.absolute())
        try:
            done = subprocess.run(  # noqa: S603 - a list of arguments, and no shell
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"{synthesizer.name} has not finished {midi} in {TIMEOUT_S} s, and was stopped"
            ) from error
        if done.returncode != 0 or not _is_wav(partial):
            said = (done.stderr.strip() or done.stdout.strip() or "without a message").splitlines()
            raise UserError(
                f"{synthesizer.name} wrote no sound of {midi} (exit code {done.returncode}): "
                f"{said[-1]}"
            )


def _is_wav(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(12)
    return head[:4] == b"RIFF" and head[8:] == b"WAVE"
