"""Does every piece survive the way from MIDI to words and back, and does our reader read it right?

    python benchmarks/midi_round_trip.py [--limit N] [--midi FOLDER]

The pieces are the 433 scores of Bach in music21's corpus, which music21 writes as MIDI files; or
the files of a folder. Our notes are compared with those of two other readers, in ticks of 10 ms:
pretty_midi, which stands on mido, and symusic, in C++. Exits with 1 if a file differs.
"""

import argparse
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.common.report import report
from webtext_gpt.errors import UserError
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.grid import CHORALE
from webtext_gpt.music.midi import read_midi, write_midi
from webtext_gpt.music.notes import Note
from webtext_gpt.music.vocabulary import Encoding
from webtext_gpt.progress import progress_bar


def exported(folder: Path, limit: int | None) -> None:
    """Write the pieces of music21's corpus of Bach as MIDI files."""
    from music21 import converter, corpus, repeat, stream

    for path in progress_bar("exporting", iterable=corpus.getComposer("bach")[:limit]):
        score = converter.parse(path)
        target = folder / f"{Path(path).name}.mid"
        try:
            score.write("midi", target)
        except repeat.ExpanderException:  # its repeats are badly formed: play it once
            for measure in score.recurse().getElementsByClass(stream.Measure):
                measure.removeByClass(repeat.RepeatMark)
            score.write("midi", target)


def of_pretty_midi(path: Path) -> Iterator[tuple[float, float, int, int]]:
    """Yield start and end in seconds, pitch and velocity of each note."""
    import pretty_midi

    for instrument in pretty_midi.PrettyMIDI(str(path)).instruments:
        if not instrument.is_drum:
            yield from ((n.start, n.end, n.pitch, n.velocity) for n in instrument.notes)


def of_symusic(path: Path) -> Iterator[tuple[float, float, int, int]]:
    """Yield start and end in seconds, pitch and velocity of each note."""
    import symusic

    for track in symusic.Score(str(path), ttype="Second").tracks:
        if not track.is_drum:
            yield from ((n.start, n.end, n.pitch, n.velocity) for n in track.notes)


def differing(path: Path, read: Callable[[Path], Iterator[tuple[float, float, int, int]]]) -> int:
    """Return how many notes our reader has and another does not, or the other way round."""

    def tick(seconds: float) -> int:
        return math.floor(round(seconds * 100, 3) + 0.5)

    theirs = Counter(
        Note(tick(start), max(tick(end), tick(start) + 1), pitch, velocity)
        for start, end, pitch, velocity in read(path)
    )
    ours = Counter(note for voice in read_midi(path).voices() for note in voice)
    return (ours - theirs).total() + (theirs - ours).total()


def survives(words: list[str], encoding: Encoding, folder: Path) -> bool:
    """Return whether words, written as MIDI and read again, are the same."""
    write_midi(folder / "again.mid", encoding.to_notes(words))
    return encoding.from_midi(folder / "again.mid") == words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, help="of the pieces")
    parser.add_argument("--midi", type=Path, help="a folder of MIDI files, in place of the corpus")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.midi or Path(name)
        if arguments.midi is None:
            exported(folder, arguments.limit)
        files = sorted(folder.rglob("*.mid"))[: arguments.limit]
        with tempfile.TemporaryDirectory() as again:
            for file in progress_bar("checking", iterable=files):
                check(file, Path(again), counts, faults)
    report(
        "Do pieces survive from MIDI to words and back, and do other readers find the same notes?",
        ("", "count"),
        [(what, f"{count:,}") for what, count in counts.items()],
        notes=faults[:20],
    )
    sys.exit(bool(faults))


def check(file: Path, folder: Path, counts: Counter[str], faults: list[str]) -> None:
    """Count what holds for a file, and note what does not."""
    counts["files"] += 1
    words = PERFORMANCE.from_midi(file)
    counts["words, as a performance"] += len(words)
    counts["notes"] += sum(map(PERFORMANCE.is_note, words))
    if survives(words, PERFORMANCE, folder):
        counts["files whose words, written as MIDI, are read as the same words"] += 1
    else:
        faults.append(f"{file.name}: other words after writing and reading")
    for reader, read in {"pretty_midi": of_pretty_midi, "symusic": of_symusic}.items():
        different = differing(file, read)
        if different:
            faults.append(f"{file.name}: {different:,} notes differ from those of {reader}")
        else:
            counts[f"files with exactly the notes that {reader} reads"] += 1
    try:
        words = CHORALE.from_midi(file)
    except UserError:
        return
    counts["files that are also four voices in sixteenths"] += 1
    if survives(words, CHORALE, folder):
        counts["of these, files whose words are read as the same words"] += 1
    else:
        faults.append(f"{file.name}: other words of a chorale after writing and reading")


if __name__ == "__main__":
    main()
