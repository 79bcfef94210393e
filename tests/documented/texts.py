"""Made-up texts, tables and pieces that the documentation's commands read."""

import csv
import json
import random
import zlib
from pathlib import Path

from tests.documented.inputs import Inputs, makes

WORDS = [
    *("the", "a", "an", "old", "small", "cat", "dog", "bird", "river", "house", "garden", "sees"),
    *("hears", "finds", "takes", "and", "or", "by", "near", "with", "under", "long", "green"),
    *("quiet", "every", "morning", "evening", "winter", "summer", "road", "letter", "window"),
]
COLUMNS = ["text", "review", "sentence", "label", "stars", "opinion", "package"]
"""Every name that the pages give to a column of texts or of labels."""


def sentences(name: str, number: int) -> list[str]:
    """Return made-up sentences of twelve words: the same for a name, others for another one."""
    draw = random.Random(zlib.crc32(name.encode()))
    return [f"{' '.join(draw.choices(WORDS, k=12)).capitalize()}." for _ in range(number)]


def paragraphs(name: str, number: int) -> list[str]:
    """Return made-up paragraphs of ten sentences."""
    lines = sentences(name, 10 * number)
    return [" ".join(lines[start : start + 10]) for start in range(0, len(lines), 10)]


def write_rows(path: Path, rows: list[dict]) -> None:
    """Write JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@makes("my_texts", "texts", "novels", "books", "clean", "a", "b")
def _folder_of_texts(_: Inputs, path: Path) -> None:
    path.mkdir()
    for letter in "abc":
        lines = paragraphs(f"{path.name}/{letter}", 20)
        (path / f"{letter}.txt").write_text("\n\n".join(lines) + "\n")


@makes("tinyshakespeare.txt", "input.txt", "wiki.test.raw", "wikitext2_test.raw")
def _text(_: Inputs, path: Path) -> None:
    path.write_text("\n".join(paragraphs(path.name, 60)) + "\n")


@makes("prompts.txt", "train.en", "train.de", "val.en", "val.de", "test.en", "test.de")
def _lines(_: Inputs, path: Path) -> None:
    number = 120 if path.stem == "train" else 6
    path.write_text("".join(f"{line}\n" for line in sentences(path.name, number)))


@makes("pairs.tsv")
def _translations(_: Inputs, path: Path) -> None:
    sides = sentences("en", 120), sentences("de", 120)
    path.write_text("".join(f"{en}\t{de}\n" for en, de in zip(*sides, strict=True)))


@makes("my_texts.jsonl", "novels.jsonl", "docstrings.jsonl", "raw.jsonl", "news.jsonl",
       "wanted.jsonl", "unwanted.jsonl", "lambada_test.jsonl", "part1", "part2")  # fmt: skip
def _documents(_: Inputs, path: Path) -> None:
    rows = [{"id": str(n), "text": text} for n, text in enumerate(paragraphs(path.name, 60))]
    write_rows(path if path.suffix else path / "a.jsonl", rows)


@makes("pairs.jsonl")
def _prompts_and_completions(_: Inputs, path: Path) -> None:
    write_rows(path, [
        {"prompt": text, "completion": text[:20], "article": text, "summary": text[:20]}
        for text in sentences("pairs", 40)
    ])  # fmt: skip


@makes("reviews.csv", "docstrings.csv", "rows.csv", "test.csv", "train.tsv", "dev.tsv", "test.tsv")
def _labelled(_: Inputs, path: Path) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerow(COLUMNS)
        for number, text in enumerate(sentences(path.name, 60)):
            kind = ("numpy", "sympy")[number % 2]
            writer.writerow([text, text, text, *[number % 2] * 3, kind])


@makes("sst2", "ag_news")
def _folder_of_tables(inputs: Inputs, path: Path) -> None:
    path.mkdir()
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        inputs.copy(name, path)


@makes("new.csv")
def _unlabelled(_: Inputs, path: Path) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["text", "review"], *([t, t] for t in sentences("new", 4))])


@makes("feedback.csv", "new_feedback.csv")
def _rows_with_gaps(_: Inputs, path: Path) -> None:
    """Write a file as the tutorial shows: an index, names with spaces, gaps."""
    rows = [[n, text, ("good", "bad")[n % 2], "2024-03-01"]
            for n, text in enumerate(sentences(path.name, 60))]  # fmt: skip
    for number in range(1, 60, 9):
        rows[number][1 + number % 2] = ""
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([["", "Review Text", "Rating", "Reviewed At"], *rows])


@makes("Jsb16thSeparated.json")
def _chorales(_: Inputs, path: Path) -> None:
    piece = [[60 + time % 5, 57, 52, 45 + time % 2] for time in range(64)]
    path.write_text(json.dumps({"train": [piece, piece[::-1]], "valid": [piece], "test": [piece]}))


@makes("given.mid", "my_pieces")
def _midi(_: Inputs, path: Path) -> None:
    from webtext_gpt.music.midi import write_midi
    from webtext_gpt.music.notes import Note

    if path.suffix:
        chord = (67, 60, 55, 48)  # soprano, alto, tenor and bass, a quarter each
        voices = [[Note(60 * t, 60 * (t + 1), p, 80) for t in range(8)] for p in chord]
        write_midi(path, voices)
        return
    path.mkdir()
    for number in range(20):
        notes = [Note(20 * t, 20 * t + 20, 48 + (t * (number + 3)) % 24, 80) for t in range(60)]
        write_midi(path / f"{number}.mid", [notes])
