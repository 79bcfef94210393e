"""Winograd schemas: choose the noun that a pronoun refers to (Levesque et al. 2012; section 3.4).

Each candidate replaces the pronoun. Partial scoring compares the log-probabilities of the text
after the candidate; full scoring compares those of the full sentence (Trinh & Le 2018).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

from webtext_gpt.data.rows import Row, text_value, texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import (
    Benchmark,
    Measurement,
    Options,
    PaperFigures,
    errors_at,
)
from webtext_gpt.evaluation.data_source import DataSource, Original
from webtext_gpt.evaluation.published import published_bytes
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.files import BOM
from webtext_gpt.progress import progress_bar
from webtext_gpt.settings import whole_number

POSSESSIVES = frozenset(("my", "his", "her", "our", "their"))
DETERMINERS = frozenset(("the", "a", "an", "my", "his", "her", "our", "their"))
N_SCHEMAS = 273
"""Schemas that are commonly evaluated (WSC273): the first of the collection.

The last twelve of its 285 were added later.
"""


@dataclass(frozen=True)
class WinogradSchemas(Benchmark):
    """Accuracy with partial scoring, which the paper uses, and with full scoring."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Choose the likeliest candidate of every schema. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        schemas = [substitute(place, row) for place, row in rows]
        parts, sentences = [], []
        for (place, row), pairs in zip(rows, schemas, strict=True):
            if type(row["label"]) is not int or not 0 <= row["label"] < len(pairs):
                raise UserError(f"{place}: label {row['label']!r} is not the index of an option")
            with errors_at(place):
                parts += [scorer.continuation(*pair) for pair in pairs]
                sentences += [scorer.continuation("", a + b) for a, b in pairs]
        with progress_bar(self.name, total=len(parts) + len(sentences), unit="sentence") as bar:
            partial, full = (
                [float(s.log_probabilities.sum()) for s in scorer.score(w, progress=bar.update)]
                for w in (parts, sentences)
            )
        correct: dict[str, list[float]] = {"accuracy": [], "accuracy_full": []}
        start = 0
        for pairs, (_, row) in zip(schemas, rows, strict=True):
            candidates = range(start, start + len(pairs))
            for name, scores in (("accuracy", partial), ("accuracy_full", full)):
                best = max(candidates, key=scores.__getitem__)
                correct[name].append(100 * (best - start == row["label"]))
            start += len(pairs)
        metrics = {name: fmean(values) for name, values in correct.items()}
        return Measurement(metrics, len(rows), per_example=correct)


def substitute(place: str, row: Row) -> list[tuple[str, str]]:
    """Return, for each candidate, the text up to and including it, and the text after it.

    Raises:
        UserError: the pronoun is not at the character that the row gives.
    """
    text, pronoun = text_value(row, "text", place), text_value(row, "pronoun", place)
    start = row["pronoun_loc"]
    with errors_at(place):
        whole_number("pronoun_loc", start, least=0)
    end = start + len(pronoun)
    if text[start:end] != pronoun:
        raise UserError(f"{place}: {pronoun!r} is not at character {start} of the text")
    after = re.sub(r"^ (?=[.,;:!?])", "", text[end:])  # the hub's dataset has `rescued them .`
    pairs = []
    begins_sentence = text[:start].rstrip()[-1:] in ("", *'.!?"')
    for option in texts_value(row, "options", place):
        first, space, rest = option.partition(" ")
        if not begins_sentence and first.lower() in DETERMINERS:
            first = first.lower()
        possessive = "'s" if pronoun.lower() in POSSESSIVES and option[-2:] != "'s" else ""
        pairs.append((text[:start] + first + space + rest + possessive, after))
    return pairs


def read_collection(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    """Read the first `N_SCHEMAS` schemas of WSCollection.xml as rows of the dataset on the hub.

    White space around the pronoun is that of the elements, so a full stop after it is not
    separated.

    Raises:
        UserError: the file is not XML, or a schema lacks an element.
    """
    (file,) = files
    data = published_bytes(file)
    encoding = "utf-8" if data.startswith(BOM) else None  # otherwise as the file declares
    try:
        parser = ElementTree.XMLParser(encoding=encoding)  # noqa: S314 - expat limits expansion
        collection = ElementTree.fromstring(data, parser)  # noqa: S314
    except ElementTree.ParseError as error:
        raise UserError(f"{file} is not complete XML: {error}; download it again") from error
    for number, schema in enumerate(islice(collection.iter("schema"), N_SCHEMAS), start=1):
        place = f"{file}, schema {number}"
        before, after = (_element(schema, f"text/{name}", place) for name in ("txt1", "txt2"))
        pronoun = _element(schema, "text/pron", place)
        if not pronoun.strip():
            raise UserError(f"{place} has no pronoun in its element text/pron")
        options = [" ".join((e.text or "").split()) for e in schema.iterfind("answers/answer")]
        answer = _element(schema, "correctAnswer", place).strip().rstrip(".")
        if len(options) != 2 or "" in options or answer not in ("A", "B"):
            raise UserError(
                f"{place} has the answers {options} and the correct one {answer!r}; expected two "
                "answers, and A or B"
            )
        yield (
            place,
            {
                "text": " ".join((before + pronoun + after).split()),
                "pronoun": pronoun.strip(),
                "pronoun_loc": len(" ".join((before + pronoun).split())) - len(pronoun.strip()),
                "options": options,
                "label": "AB".index(answer),
            },
        )


def _element(schema: ElementTree.Element, path: str, place: str) -> str:
    """Return the text of a schema's element.

    Raises:
        UserError: there is no such element.
    """
    text = schema.findtext(path)
    if text is None:
        raise UserError(f"{place} has no element {path}")
    return text


WINOGRAD = WinogradSchemas(
    name="winograd",
    source=DataSource(
        files=("winograd_test.jsonl", "winograd_test.parquet"),
        columns=("text", "pronoun", "pronoun_loc", "options", "label"),
        hub="ErnestSDavis/winograd_wsc",
        data_files="wsc273/test/*.parquet",
        origin="cs.nyu.edu/~davise/papers/WinogradSchemas/WSCollection.xml",
        originals=(Original(("WSCollection.xml",), read_collection),),
    ),
    paper={"accuracy": PaperFigures(xl=70.70)},
)
