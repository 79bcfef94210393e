"""Sources of music for token shards: MIDI files, and scores of four voices.

Each piece is a document. Pieces are split before they are augmented, so that no copy of a
validation piece is trained on; validation pieces are not augmented.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webtext_gpt.data.left_out import LeftOut
from webtext_gpt.data.prepare import content_number
from webtext_gpt.data.rows import plural
from webtext_gpt.data.shards import Split
from webtext_gpt.data.sources import checked_fraction, content_hashes
from webtext_gpt.errors import UserError
from webtext_gpt.music.chorales import fault_of, read_chorales
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.grid import CHORALE, Frame, moved, out_of_range
from webtext_gpt.music.midi import read_midi
from webtext_gpt.music.notes import Note, merged, stretched, transposed
from webtext_gpt.paths import search_files

VERSION = 1
"""Version of the encodings; when it changes, cached shards are built again."""
ENDINGS = (".mid", ".midi")
KEYS = range(-5, 7)
"""Transpositions to all twelve keys, in semitones."""

SPLITS: dict[Split, str] = {"train": "train", "validation": "valid"}
"""Names of our splits in files of chorales."""


class Midi:
    """MIDI files, as events; see `webtext_gpt.music.events`.

    Files that cannot be read are left out, and counted.

    Args:
        path: a file, a folder, a glob pattern, or a list of these, see `search_files`.
        val_fraction: fraction of the pieces held out for validation, at least one.
        transpose: semitones by which the training pieces are transposed, up and down.
        tempo: speeds of the training pieces; 1 is their own.
        key: prefix of the settings' keys, for messages.

    Raises:
        UserError: a path matches no MIDI file.
    """

    def __init__(
        self,
        path: str | list[str],
        val_fraction: float,
        transpose: int = 0,
        tempo: list[float] | None = None,
        key: str = "data",
    ) -> None:
        self.tokenizer = PERFORMANCE.tokenizer
        self.val_fraction = checked_fraction(val_fraction)
        self.semitones = range(-transpose, transpose + 1)
        self.tempo = sorted(set(tempo or [1.0]))
        self.key = key
        found = search_files(
            path, _is_midi, key=f"{key}.path", kinds="MIDI files (.mid, .midi)", refusal=_refusal
        )
        self.files = found.files
        self.left_out: LeftOut = {}
        self.summary: list[str] = []
        self._others = [file.name for file in found.others]

    def split_documents(self) -> Iterator[tuple[Split, str]]:
        """Yield the pieces in order of file name; training pieces in all their variants.

        Raises:
            UserError: fewer than two different pieces can be read.
        """
        bound = self._bound()
        faults: list[str] = []
        training = validation = endless = beyond = 0
        for notes, n_endless in self._pieces(faults):
            endless += n_endless
            text = _text(notes)
            if content_number(text) < bound:
                validation += 1
                yield "validation", text
                continue
            training += 1
            for semitones in self.semitones:
                variant = transposed(notes, semitones)
                if variant is None:
                    beyond += len(self.tempo)
                    continue
                for tempo in self.tempo:
                    yield "train", _text(stretched(variant, tempo))
        if faults:
            self.left_out = {"pieces": len(self.files), "faults": faults}
        if self._others:
            self.left_out["other_files"] = self._others
        self.summary = _summary(
            plural(training + validation, "piece"),
            training,
            [(len(self.semitones), "transposition"), (len(self.tempo), "tempo")],
            validation,
        )
        if endless:
            self.summary.append(f"{plural(endless, 'note')} without an end last to the file's end")
        if beyond:
            self.summary.append(f"{plural(beyond, 'variant')} beyond MIDI's pitches left out")

    def fingerprint(self) -> dict[str, Any]:
        """Return the name and content hash of every file, the split and the variants."""
        return {
            "kind": "midi",
            "version": VERSION,
            "files": content_hashes(self.files),
            "val_fraction": self.val_fraction,
            "transpose": self.semitones.stop - 1,
            "tempo": self.tempo,
        }

    def total_bytes(self) -> int | None:
        """Return None: the size is unknown until the files are read."""
        return None

    def _pieces(self, faults: list[str]) -> Iterator[tuple[list[Note], int]]:
        """Yield the notes of each file and how many it does not end; record unreadable files."""
        for file in self.files:
            try:
                score = read_midi(file)
                notes = merged(score.voices())
            except UserError as error:
                faults.append(str(error))
                continue
            yield notes, score.endless

    def _bound(self) -> int:
        """Return the number below which a piece's `content_number` puts it into validation.

        It follows from the fraction, unless one of the splits would have no piece: then it puts
        one piece there. Stops reading at the first piece of each split.
        """
        bound = int(self.val_fraction * 2**64)
        faults: list[str] = []
        seen: set[int] = set()
        for notes, _ in self._pieces(faults):
            seen.add(content_number(_text(notes)))
            if min(seen) < bound <= max(seen):
                return bound
        if len(seen) < 2:
            if faults and not seen:
                raise UserError(f"no piece of {self.key}.path can be read; the first: {faults[0]}")
            raise UserError(
                f"{self.key}.path has only one piece that can be read, and training needs another "
                "for validation; add files"
            )
        lowest, *_, highest = sorted(seen)
        return highest if bound > highest else lowest + 1


class Chorales:
    """Scores of four voices; see `webtext_gpt.music.grid` and `webtext_gpt.music.chorales`.

    The splits `train` and `valid` are for training and validation; `test` is read by neither.
    Pieces with a voice outside its range are left out, and counted.

    Args:
        path: JSON files, or patterns or folders of them.
        all_keys: whether training pieces are transposed to all twelve keys.
        key: prefix of the settings' keys, for messages.

    Raises:
        UserError: a path matches no JSON file.
    """

    def __init__(self, path: str | list[str], all_keys: bool = True, key: str = "data") -> None:
        self.tokenizer = CHORALE.tokenizer
        self.semitones = KEYS if all_keys else range(1)
        self.key = key
        found = search_files(path, _is_json, key=f"{key}.path", kinds="JSON files")
        self.files = found.files
        self.left_out: LeftOut = {}
        self.summary: list[str] = []

    def split_documents(self) -> Iterator[tuple[Split, str]]:
        """Yield the pieces in the order of the files; training pieces in all their keys.

        Raises:
            UserError: a file cannot be read, or a split has no pieces.
        """
        faults: list[str] = []
        pieces = beyond = 0
        counts: dict[Split, int] = {"train": 0, "validation": 0}
        for file in self.files:
            splits = read_chorales(file)
            for split, name in SPLITS.items():
                for number, piece in enumerate(splits.get(name, [])):
                    pieces += 1
                    fault = fault_of(piece)
                    if fault is not None:
                        faults.append(f"{file}: {name}, piece {number} {fault}")
                        continue
                    counts[split] += 1
                    for semitones in self.semitones if split == "train" else range(1):
                        if out_of_range(piece, semitones):
                            beyond += 1
                        else:
                            yield split, _score_text(moved(piece, semitones))
        for split, name in SPLITS.items():
            if not counts[split]:
                raise UserError(
                    f"{self.key}.path={self.files[0]} has no pieces of the split {name!r} that can "
                    "be read, and training needs both train and valid"
                )
        self.left_out = {"pieces": pieces, "faults": faults} if faults else {}
        self.summary = _summary(
            plural(sum(counts.values()), "piece"),
            counts["train"],
            [(len(self.semitones), "key")],
            counts["validation"],
        )
        if beyond:
            self.summary.append(f"{plural(beyond, 'variant')} beyond a voice's range left out")

    def fingerprint(self) -> dict[str, Any]:
        """Return the name and content hash of every file, and the keys."""
        return {
            "kind": "chorales",
            "version": VERSION,
            "files": content_hashes(self.files),
            "semitones": [*self.semitones],
        }

    def total_bytes(self) -> int | None:
        """Return None: the size is unknown until the files are read."""
        return None


def _summary(
    pieces: str, training: int, variants: list[tuple[int, str]], validation: int
) -> list[str]:
    """Return a line on the pieces of a source: `12 pieces: 10 for training x 12 keys, ...`."""
    times = "".join(f" x {plural(count, name)}" for count, name in variants if count > 1)
    return [f"{pieces}: {training:,} for training{times}, {validation:,} for validation"]


def _text(notes: list[Note]) -> str:
    return " ".join(PERFORMANCE.from_notes([notes]))


def _score_text(piece: list[Frame]) -> str:
    return " ".join(CHORALE.from_frames(piece))


def _is_midi(file: Path) -> bool:
    return file.suffix.lower() in ENDINGS


def _is_json(file: Path) -> bool:
    return file.suffix.lower() == ".json"


def _refusal(file: Path) -> str | None:
    """Return None: a file that a setting names is read whatever its ending."""
    return None
