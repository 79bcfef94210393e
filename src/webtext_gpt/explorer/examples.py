"""The texts that the explorer shows first."""

import json
from collections.abc import Sequence
from pathlib import Path

from webtext_gpt.files import read_text
from webtext_gpt.music.events import PERFORMANCE
from webtext_gpt.music.grid import CHORALE, SIXTEENTHS_PER_BEAT
from webtext_gpt.music.vocabulary import Encoding
from webtext_gpt.tokenizer import EncodingError, Tokenizer

EXAMPLES = ("Return the list of all the files in the", "To be, or not to be", "the", "")

SENTENCES = ("A man is riding a bicycle.", "the", "")
"""For translation models, whose languages are not known."""

SPECIAL_TOKENS, LONGEST_MISTAKE = 2, 60
"""Tokens that a classifier adds to a text, and those of a text that is easy to look at."""

CADENCE = (
    *((72, 67, 64, 48), (72, 67, 64, 48)),
    *((72, 69, 65, 53), (74, 69, 65, 53)),
    *((74, 67, 65, 55), (71, 67, 62, 55)),
    *((72, 67, 64, 48), (72, 67, 64, 48)),
)
"""Pitches of four voices in each eighth, from soprano to bass: a cadence in C major."""


def phrases(encoding: Encoding) -> list[str]:
    """Return the words of `CADENCE`, of its first beat, and none."""
    sixteenths = [chord for chord in CADENCE for _ in range(SIXTEENTHS_PER_BEAT // 2)]
    texts = []
    for length in (len(sixteenths), SIXTEENTHS_PER_BEAT, 0):
        words = CHORALE.from_frames(sixteenths[:length])
        if encoding is PERFORMANCE:
            words = PERFORMANCE.from_notes(CHORALE.to_notes(words))
        texts.append(" ".join(words))
    return texts


def mistakes(run_dir: Path) -> list[str]:
    """Return the single texts that a classifier got wrong in validation, the worst first."""
    file = run_dir / "validation" / "mistakes.jsonl"
    text = read_text(file) if file.is_file() else ""
    rows = [json.loads(line) for line in text.split("\n") if line]
    return [row["text"] for row in rows if "text_pair" not in row]


def example(tokenizer: Tokenizer, texts: Sequence[str] = EXAMPLES, most: int | None = None) -> str:
    """Return the first text that a tokenizer can encode, in at most `most` tokens."""
    for text in texts:
        try:
            n_tokens = len(tokenizer.encode(text))
        except EncodingError:
            continue
        if most is None or n_tokens <= most:
            return text
    return ""
