"""WMT-14 translation between English and French from example pairs (section 3.7).

The prompt contains pairs of the form `english sentence = french sentence`, then `sentence =`. The
greedy completion up to the end of the line is the translation.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import unescape

from webtext_gpt.data.rows import Row, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.data_source import DataSource, Original
from webtext_gpt.evaluation.prompted import answers, cut_beginning, fitted, room_for_prompt
from webtext_gpt.evaluation.published import published_text
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.text_metrics import bleu
from webtext_gpt.evaluation.translation_metrics import bootstrap_errors

EXAMPLES = (
    {"en": "The house is very old.", "fr": "La maison est très vieille."},
    {"en": "I do not know where he lives.", "fr": "Je ne sais pas où il habite."},
    {"en": "We will leave tomorrow morning.", "fr": "Nous partirons demain matin."},
    {
        "en": "The government has announced a new law.",
        "fr": "Le gouvernement a annoncé une nouvelle loi.",
    },
    {
        "en": "How many people live in this town?",
        "fr": "Combien de personnes vivent dans cette ville ?",
    },
)
MAX_TRANSLATION_TOKENS = 100


def read_pair(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    """Read an English and a French file as rows of the dataset on the hub.

    Raises as `paired_sentences` does.
    """
    for place, pair in paired_sentences(files, ("en", "fr")):
        yield place, {"translation": pair}


def paired_sentences(
    files: Sequence[Path], names: tuple[str, str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the pairs of sentences of two files, under their names, each with its place.

    A file has a sentence on each line, or, if it is an `.sgm` file, in each `seg` element.

    Raises:
        UserError: a sentence is empty, or the files have different numbers of sentences.
    """
    first, second = files
    pairs = [_sentences(file) for file in files]
    if len(pairs[0]) != len(pairs[1]):
        raise UserError(
            f"{first} has {len(pairs[0]):,} sentences and {second} has {len(pairs[1]):,}; they "
            "are not translations of each other line by line: download both again"
        )
    for number, pair in enumerate(zip(*pairs, strict=True), start=1):
        for file, sentence in zip(files, pair, strict=True):
            if not sentence:
                raise UserError(f"{file}: sentence {number} is empty")
        place = f"{first} and {second.name}, sentence {number}"
        yield place, dict(zip(names, pair, strict=True))


def _sentences(file: Path) -> list[str]:
    """Return the sentences of a file of lines, or of an `.sgm` file, which is not quite XML."""
    text = published_text(file)
    if ".sgm" not in file.suffixes:
        return [line.strip() for line in text.rstrip().split("\n")]
    segments = re.findall(r"<seg\b[^>]*>(.*?)</seg>", text, re.DOTALL | re.IGNORECASE)
    begun = len(re.findall(r"<seg\b", text, re.IGNORECASE))
    if begun != len(segments):
        raise UserError(f"{file}: {begun} segments begin and {len(segments)} end; it is damaged")
    quotes = {"&quot;": '"', "&apos;": "'"}
    return [" ".join(unescape(segment, quotes).split()) for segment in segments]


SOURCE = DataSource(
    files=("wmt14_test.jsonl", "wmt14_test.parquet"),
    columns=("translation",),
    hub="wmt/wmt14",
    config="fr-en",
    origin="statmt.org/wmt14/test-full.tgz",
    originals=tuple(
        Original(files, read_pair)
        for files in (
            ("newstest2014.en", "newstest2014.fr"),
            ("newstest2014-fren-src.en.sgm", "newstest2014-fren-ref.fr.sgm"),
            ("newstest2014-fren-ref.en.sgm", "newstest2014-fren-src.fr.sgm"),
            ("newstest2014-fren-src.en", "newstest2014-fren-ref.fr"),
            ("newstest2014-fren-ref.en", "newstest2014-fren-src.fr"),
        )
    ),
    folders=("test-full", "test"),
)


@dataclass(frozen=True)
class Translation(Benchmark):
    """BLEU of one direction, computed by sacrebleu with its default tokenization.

    Attributes:
        source_language: `en` or `fr`.
        target_language: `en` or `fr`.
    """

    source_language: str
    target_language: str

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Translate every sentence. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        pairs = []
        for place, row in rows:
            pair = row["translation"]
            languages = self.source_language, self.target_language
            if not isinstance(pair, dict) or not set(languages) <= set(pair):
                raise UserError(
                    f"{place}: translation is not an object with the keys {' and '.join(languages)}"
                )
            pairs.append(tuple(text_value(pair, lang, place).strip() for lang in languages))
        room = room_for_prompt(scorer, MAX_TRANSLATION_TOKENS)
        written = answers(
            scorer,
            self.name,
            [fitted(scorer, self.prompt(text), room, cut_beginning) for text, _ in pairs],
            max_new_tokens=MAX_TRANSLATION_TOKENS,
            batch_size=options.batch_size,
            stop=["\n"],
        )
        references = [reference for _, reference in pairs]
        written = [text.strip() for text in written]
        score = bleu(written, references)
        return Measurement(
            {"bleu": score},
            len(pairs),
            standard_errors=bootstrap_errors(written, references, ["bleu"]),
            written=list(zip(written, references, strict=True)),
        )

    def prompt(self, text: str) -> str:
        """Return the example pairs followed by the text to translate."""
        lines = [
            f"{pair[self.source_language]} = {pair[self.target_language]}" for pair in EXAMPLES
        ]
        return "\n".join([*lines, f"{text} ="])


ENGLISH_TO_FRENCH = Translation(
    name="wmt14_en_fr",
    source=SOURCE,
    paper={"bleu": PaperFigures(xl=5.0)},
    source_language="en",
    target_language="fr",
)
FRENCH_TO_ENGLISH = Translation(
    name="wmt14_fr_en",
    source=SOURCE,
    paper={"bleu": PaperFigures(xl=11.5)},
    source_language="fr",
    target_language="en",
)
