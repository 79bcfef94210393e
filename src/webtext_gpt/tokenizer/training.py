"""Vocabularies made from text: byte-level BPE (Radford et al. 2019, section 2.2), characters."""

import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from webtext_gpt.characters import character_classes
from webtext_gpt.errors import UserError
from webtext_gpt.progress import progress_bar
from webtext_gpt.terminal import say
from webtext_gpt.tokenizer.byte_level import N_BYTES, byte_level
from webtext_gpt.tokenizer.tokenizer import END_OF_TEXT, Tokenizer

LONGEST_TRAINED = 1000
"""Maximum characters of a piece, without its leading space, that a tokenizer is trained on."""


def train_bpe(texts: Iterable[str], vocab_size: int, show_progress: bool = False) -> Tokenizer:
    """Train a byte-level BPE of `vocab_size` ids, including 256 bytes and `<|endoftext|>`.

    The same texts give the same vocabulary. Ids have GPT-2's order: bytes, merges,
    `<|endoftext|>`. The vocabulary is smaller if the texts offer too few merges.

    The time and memory of training grow with the square of the longest piece, so a piece of more
    than `LONGEST_TRAINED` characters is cut, with a warning. English has none; a run of one letter
    or base64 without line breaks may be one.

    Raises:
        UserError: `vocab_size` is too small for the bytes and `<|endoftext|>`.
    """
    if vocab_size < N_BYTES + 1:
        raise UserError(
            f"tokenizer.vocab_size={vocab_size} cannot hold {N_BYTES} bytes and {END_OF_TEXT}; "
            f"give at least {N_BYTES + 1}"
        )
    backend = byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=show_progress,
    )
    cut = 0

    def bounded() -> Iterator[str]:
        nonlocal cut
        with progress_bar("reading text for the tokenizer", unit="B") as bar:
            for text in texts:
                ends = _cuts(text)
                cut += len(ends) > 1
                bar.update(len(text))
                for start, end in pairwise([0, *ends]):
                    yield text[start:end]
        size = f"{bar.n / 1e6:,.1f} MB" if bar.n >= 5e4 else f"{bar.n / 1e3:,.1f} kB"
        say(
            f"learning {vocab_size:,} ids from {size} of text, which takes {_how_long(bar.n)}",
            label="tokenizer",
        )

    backend.train_from_iterator(bounded(), trainer)
    if cut:
        say(
            f"warning: documents with a run of more than {LONGEST_TRAINED:,} letters, digits, "
            f"spaces or other characters: {cut:,}; the tokenizer is trained on parts of "
            f"{LONGEST_TRAINED:,}",
            sys.stderr,
        )
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)


def _how_long(size: float) -> str:
    """Return roughly how long merges take; on two cores, 5 s for 28 MB of novels."""
    return "some seconds" if size < 5e7 else "up to a minute" if size < 3e8 else "some minutes"


def _cuts(text: str) -> list[int]:
    """Return where to cut a text so that no piece is too long, and the text's end."""
    if len(text) <= LONGEST_TRAINED:
        return [len(text)]
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    edges = np.flatnonzero(np.diff(character_classes()[points])) + 1
    starts, ends = np.append(0, edges), np.append(edges, len(text))  # bounds of runs of one class
    long = ends - starts > LONGEST_TRAINED
    cuts = [
        cut
        for start, end in zip(starts[long], ends[long], strict=True)
        for cut in range(start + LONGEST_TRAINED, end, LONGEST_TRAINED)
    ]
    return [*cuts, len(text)]


def build_char_vocabulary(texts: Iterable[str]) -> Tokenizer:
    """Make a vocabulary with one id per distinct character of the texts, in code point order."""
    characters = sorted(set().union(*texts))
    backend = tokenizers.Tokenizer(models.WordLevel({c: i for i, c in enumerate(characters)}, ""))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([END_OF_TEXT])
    return Tokenizer(backend)
