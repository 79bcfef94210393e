"""The task `music`: how well a model of music predicts held-out pieces, in nats a note.

Encodings differ in what they count as a note, and figures per note can be compared only if it is
the same, so the report states it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options
from webtext_gpt.evaluation.confidence import ratio_values
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.music.chorales import fault_of, read_chorales
from webtext_gpt.music.grid import CHORALE
from webtext_gpt.music.sources import ENDINGS
from webtext_gpt.music.vocabulary import Encoding, encoding_of
from webtext_gpt.paths import search_files
from webtext_gpt.progress import progress_bar

SOURCE = DataSource(files=("Jsb16thSeparated.json",), columns=())
JSON = ".json"
SPLIT = "test"
"""Split of a file of chorales that is held out of training and of its validation."""


@dataclass(frozen=True)
class Music(Benchmark):
    """Nats a note and nats a token of whole pieces."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Score every token of each piece, its end too, with a sliding window.

        A piece follows the end-of-text token, which predicts its first note. The nats of all
        tokens, including those that are not notes, are divided by the number of notes.

        Raises:
            UserError: the model is one of text; no pieces are named; or none can be read.
        """
        encoding = encoding_of(scorer.tokenizer)
        if encoding is None:
            raise UserError("this task needs a model of music, not of text")
        paths = options.pieces
        if paths is None and data_dir is not None:
            paths = [str(self.source.file(data_dir))]
        if paths is None:
            raise UserError(
                "there are no pieces; give pieces=FILES with MIDI files, a folder of them, or a "
                "JSON file of chorales"
            )
        left_out: list[str] = []
        pieces = list(islice(_pieces(encoding, paths, left_out), options.limit))
        if not pieces:
            raise UserError(f"no piece can be read; the first: {left_out[0]}")
        windows = [scorer.sliding_windows(" ".join(words), with_end=True) for words in pieces]
        with progress_bar(self.name, total=sum(map(len, windows)), unit="window") as bar:
            nats = [-total for total in scorer.documents(windows, bar.update)]
        tokens = [sum(window.scored for window in own) for own in windows]
        notes = [sum(map(encoding.is_note, words)) for words in pieces]
        sizes = {"nats_per_note": notes, "nats_per_token": tokens}
        return Measurement(
            {metric: math.fsum(nats) / sum(size) for metric, size in sizes.items()},
            len(pieces),
            counts={"notes": sum(notes), "tokens": sum(tokens), "left_out": len(left_out)},
            per_example={
                metric: ratio_values(nats, size, sum(size)) for metric, size in sizes.items()
            },
            notes={
                "nats_per_note": f"the nats of all tokens, ends included, over the notes; a note "
                f"is a {encoding.note_unit}",
                **({"left_out": f"the first: {left_out[0]}"} if left_out else {}),
            },
        )


def _pieces(encoding: Encoding, paths: Sequence[str], left_out: list[str]) -> Iterator[list[str]]:
    """Yield the words of each piece; append to `left_out` the reasons for pieces left out.

    Raises:
        UserError: a path names no file of music; or a file of chorales is damaged, lacks the split,
            or is given to a model of performances.
    """

    def is_wanted(file: Path) -> bool:
        return file.suffix.lower() in ENDINGS or (encoding is CHORALE and _is_json(file))

    kinds = "MIDI files (.mid, .midi)" + (" or chorales (.json)" if encoding is CHORALE else "")
    found = search_files(paths, is_wanted, key="pieces", kinds=kinds, refusal=lambda _: None)
    for file in found.files:
        if _is_json(file):
            yield from _chorales(encoding, file, left_out)
            continue
        try:
            words = encoding.from_midi(file)
        except UserError as error:
            left_out.append(str(error))
        else:
            yield words


def _is_json(file: Path) -> bool:
    return file.suffix.lower() == JSON


def _chorales(encoding: Encoding, file: Path, left_out: list[str]) -> Iterator[list[str]]:
    """Yield the words of the pieces of a file's test split."""
    if encoding is not CHORALE:
        raise UserError(
            f"{file} is for models of chorales, and this one's encoding is {encoding.name}; give "
            "pieces=FILES with MIDI files"
        )
    pieces = read_chorales(file).get(SPLIT, [])
    if not pieces:
        raise UserError(f"{file} has no pieces of the split {SPLIT!r}")
    for number, piece in enumerate(pieces):
        if (fault := fault_of(piece)) is not None:
            left_out.append(f"{file}: {SPLIT}, piece {number} {fault}")
        else:
            yield CHORALE.from_frames(piece)


MUSIC = Music(name="music", source=SOURCE, paper={})
