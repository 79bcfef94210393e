"""Read the corpora and held-out sets of a comparison, and refuse corpora that hold such a set."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath

from webtext_gpt.data.documents import Layout, texts_of
from webtext_gpt.data.left_out import left_out_lines
from webtext_gpt.data.rows import plural
from webtext_gpt.data.sources import Files
from webtext_gpt.errors import UserError
from webtext_gpt.terminal import say

FEWEST_WORDS = 8
"""Minimum words of a sentence for it to be looked up in another text."""
LARGEST_OVERLAP = 0.5
"""A corpus with this fraction of a held-out document's sentences, or more, is refused."""
LARGEST_OVERLAP_OF_SET = 0.01
"""A corpus with more than this fraction of all sentences of a held-out set is refused."""


@dataclass(frozen=True)
class Scanned:
    """Contents of a corpus.

    Attributes:
        documents: number of its documents.
        bytes: size of their text in UTF-8.
        overlap: fraction of the sentences of the held-out sets that it holds.
    """

    documents: int
    bytes: int
    overlap: float


@dataclass(frozen=True)
class HeldOutSet:
    """Texts that the models are measured on.

    Attributes:
        name: its name.
        texts: its documents.
        places: file, and number of the document in it, of each.
    """

    name: str
    texts: list[str]
    places: list[str]


def open_corpora(paths: Sequence[str], text_key: str, val_fraction: float) -> dict[str, Files]:
    """Return the source of each corpus by name.

    Raises:
        UserError: a path matches no file, or a file is empty or has no text.
    """
    opened = {}
    for name, path in zip(short_names(paths), paths, strict=True):
        with _of("corpora"):
            opened[name] = Files(path, val_fraction, text_key, key="corpora")
            if not any(text.strip() for text in opened[name].documents()):
                raise UserError(f"corpora={path} holds no text")
    return opened


def read_heldout(paths: Sequence[str], text_key: str) -> list[HeldOutSet]:
    """Return the held-out sets.

    Raises:
        UserError: a path matches no file, or a file is empty or has no text.
    """
    sets = []
    for name, path in zip(short_names(paths), paths, strict=True):
        texts: list[str] = []
        places: list[str] = []
        with _of("heldout"):
            for file in Files(path, 0.5, text_key, key="heldout").files:
                before = len(texts)
                for batch, _ in texts_of(file, Layout(text_key=text_key)):
                    texts += (text for text in batch if text.strip())
                places += (f"{file}, document {n}" for n in range(1, len(texts) - before + 1))
        if not texts:
            raise UserError(f"heldout={path} holds no text")
        sets.append(HeldOutSet(name, texts, places))
    return sets


def short_names(paths: Sequence[str]) -> list[str]:
    """Return names for paths: their last parts, as many as needed to differ, without ending."""
    parts = [PurePath(path).parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["-".join((*p[-depth:-1], PurePath(p[-1]).stem)) for p in parts]
        names = [re.sub(r"[^\w.-]+", "_", name).strip("_-.") for name in names]
        if all(names) and len({name.lower() for name in names}) == len(names):
            return names
    return [f"{number}-{name or 'corpus'}" for number, name in enumerate(names, 1)]


def sentences(text: str) -> list[int]:
    """Return hashes of the sentences of eight words or more, without case and punctuation.

    The text itself counts as a sentence if none of its sentences is that long.
    """
    found = []
    for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", text.lower()):
        words = re.findall(r"\w+", sentence)
        if len(words) >= FEWEST_WORDS:
            found.append(hash(" ".join(words)))
    return found or [hash(" ".join(re.findall(r"\w+", text.lower())))]


def scan(corpora: Mapping[str, Files], heldout: Sequence[HeldOutSet]) -> dict[str, Scanned]:
    """Read each corpus once: count it, and look for the held-out documents in it.

    Raises:
        UserError: a corpus holds held-out documents, entirely or mostly; the message names the
            corpus and the first of the documents.
    """
    hashes = {held.name: [sentences(text) for text in held.texts] for held in heldout}
    wanted = {h for documents in hashes.values() for document in documents for h in document}
    scanned = {}
    for name, source in corpora.items():
        found: set[int] = set()
        n_documents = n_bytes = 0
        for text in source.documents():
            n_documents += 1
            n_bytes += len(text.encode())
            found.update(wanted.intersection(sentences(text)))
        for line in left_out_lines(source.left_out):
            say(f"{name}: {line}")
        n_found = n_all = 0
        for held in heldout:
            counts = [(sum(h in found for h in d), len(d)) for d in hashes[held.name]]
            _refuse(name, held, counts)
            n_found += sum(n for n, _ in counts)
            n_all += sum(n for _, n in counts)
        scanned[name] = Scanned(n_documents, n_bytes, n_found / n_all)
    return scanned


def _refuse(corpus: str, held: HeldOutSet, counts: Sequence[tuple[int, int]]) -> None:
    """Raise UserError if too much of a held-out set is in a corpus.

    Args:
        corpus: the corpus's name.
        held: the held-out set.
        counts: for each of its documents, the sentences in the corpus, and all its sentences.
    """
    shared = [n / total for n, total in counts]
    inside = [place for place, part in zip(held.places, shared, strict=True)
              if part >= LARGEST_OVERLAP]  # fmt: skip
    of_set = sum(n for n, _ in counts) / sum(total for _, total in counts)
    if not inside and of_set <= LARGEST_OVERLAP_OF_SET:
        return
    worst = held.places[max(range(len(shared)), key=shared.__getitem__)]
    first = (
        f"{plural(len(inside), 'document')}, the first {inside[0]}"
        if inside
        else f"{of_set:.1%} of its sentences, most of them in {worst}"
    )
    raise UserError(
        f"the corpus {corpus} holds text of the held-out set {held.name}: {first}; a figure on "
        "it would reward memory. Take these documents out of the corpus (data_prep/overlap.py "
        "remove=true does), or out of the held-out set"
    )


@contextmanager
def _of(key: str) -> Iterator[None]:
    """Replace `KEY.path` by this command's key in the errors that `Files` raises in the block."""
    try:
        yield
    except UserError as error:
        text = str(error).replace(f"{key}.path", key).replace(f"{key}.text_key", "text_key")
        hint = "; read it with data=shards"
        text = text.replace(hint, "; give the texts that they were made from")
        raise UserError(text) from error
