"""Check that pieces survive the way from MIDI to words and back, and that our reader is right.

    python benchmarks/midi_round_trip.py [--limit N] [--midi FOLDER]

The pieces are the 433 scores of Bach in music21's corpus, which music21 writes as MIDI files; or
the files of a folder. Our notes are compared with those that pretty_midi (on mido) reads, in ticks
of 10 ms. Exits with 1 if a file differs.
"""

import argparse
import math
import sys
import tempfile
from collections import Counter
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


def differing(path: Path) -> int:
    """Return how many notes our reader has and pretty_midi does not, or the other way round.

    pretty_midi leaves out notes that the file does not end.
    """
    import pretty_midi

    def tick(seconds: float) -> int:
        return math.floor(round(seconds * 100, 6) + 0.5)

    theirs = Counter(
        Note(tick(n.start), max(tick(n.end), tick(n.start) + 1), n.pitch, n.velocity)
        for instrument in pretty_midi.PrettyMIDI(str(path)).instruments
        if not instrument.is_drum
        for n in instrument.notes
    )
    score = read_midi(path)
    ours = Counter(note for voice in score.voices() for note in voice)
    return (theirs - ours).total() + (ours - theirs).total() - score.endless


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
        "Do pieces survive as words, and does another reader find the same notes?",
        ("", "count"),
        [(what, f"{count:,}") for what, count in counts.items()],
        notes=faults[:20],
    )
    sys.exit(bool(faults))


def check(file: Path, folder: Path, counts: Counter[str], faults: list[str]) -> None:
    """Count the checks that a file passes, and note those that it fails."""
    counts["files"] += 1
    words = PERFORMANCE.from_midi(file)
    counts["words, as a performance"] += len(words)
    counts["notes"] += sum(map(PERFORMANCE.is_note, words))
    if survives(words, PERFORMANCE, folder):
        counts["files whose words, written as MIDI, are read as the same words"] += 1
    else:
        faults.append(f"{file.name}: other words after writing and reading")
    different = differing(file)
    if different:
        faults.append(f"{file.name}: {different:,} notes differ from those of pretty_midi")
    else:
        counts["files with exactly the notes that pretty_midi reads"] += 1
    counts["notes that their file does not end, which pretty_midi leaves out"] += read_midi(
        file
    ).endless
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
