"""Files of chorales: JSON with pieces in sixteenths, by split.

The format of `Jsb16thSeparated.json` (Bach's chorales in the splits of Boulanger-Lewandowski et
al. 2012): `{"train": [PIECE, ...], "valid": [...], "test": [...]}`. A piece is a list of
sixteenths, each `[soprano, alto, tenor, bass]` in MIDI numbers; -1 is a rest.
"""

from pathlib import Path

import msgspec

from webtext_gpt.errors import UserError
from webtext_gpt.music.grid import REST, Frame, out_of_range
from webtext_gpt.music.notes import N_PITCHES

SPLITS = ("train", "valid", "test")


def read_chorales(path: str | Path) -> dict[str, list[list[Frame]]]:
    """Return the pieces of each split that a file has.

    Raises:
        UserError: the file is not in this format; the message names the piece and the sixteenth.
    """
    path = Path(path)
    try:
        found = msgspec.json.decode(
            path.read_bytes(), type=dict[str, list[list[tuple[int, int, int, int]]]]
        )
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a file of chorales: {error}; expected is JSON such as "
            '{"train": [[[60, 55, 52, 48], ...], ...]}: splits, their pieces, the sixteenths of a '
            "piece, and the MIDI numbers of four voices"
        ) from error
    unknown = sorted(found.keys() - set(SPLITS))
    if unknown or not found:
        held = f"a split {unknown[0]!r}" if unknown else "no split"
        raise UserError(f"{path} has {held}; its splits have to be of train, valid and test")
    for split, pieces in found.items():
        for number, piece in enumerate(pieces):
            _check_numbers(f"{path}: {split}, piece {number}", piece)
    return {split: [list(piece) for piece in pieces] for split, pieces in found.items()}


def fault_of(piece: list[Frame]) -> str | None:
    """Return why a piece cannot be encoded, or None."""
    if all(pitch == REST for frame in piece for pitch in frame):
        return "has no notes"
    return "has a voice outside its range" if out_of_range(piece) else None


def _check_numbers(place: str, piece: list[tuple[int, int, int, int]]) -> None:
    for time, frame in enumerate(piece):
        for pitch in frame:
            if pitch != REST and not 0 <= pitch < N_PITCHES:
                raise UserError(
                    f"{place}, sixteenth {time} has the pitch {pitch}; MIDI numbers are 0 to 127, "
                    "and -1 is a rest"
                )
