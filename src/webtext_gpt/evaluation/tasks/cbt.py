"""Children's Book Test: which of ten words is missing (Hill et al. 2015; section 3.2).

Each choice is judged by the probability of itself and the rest of the sentence after it, given
the twenty sentences before.
"""

from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import Row, text_value, texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measured, Options, Source, counted, named
from webtext_gpt.evaluation.detokenizers import ONE_BILLION_WORDS
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.tokenizer import read_text

BLANK = "XXXXX"
N_SENTENCES = 20
_PENN = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "``": '"', "''": '"', "`": "'"}


@dataclass(frozen=True)
class ChildrensBookTest:
    """Accuracy on one kind of word."""

    name: str
    source: Source

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measured:
        """See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit, parse=_authors_rows)
        right = 0
        with counted(self.name, len(rows), "question") as bar:
            for place, row in rows:
                context, texts = question(place, row, options.detokenise)
                with named(place):
                    scores = [float(s.sum()) for s in scorer.choices(context, texts)]
                best = max(range(len(texts)), key=scores.__getitem__)
                right += row["options"][best] == row["answer"]
                bar.update()
        return Measured({"accuracy": 100 * right / len(rows)}, len(rows))


def question(place: str, row: Row, detokenise: bool) -> tuple[str, list[str]]:
    """The text before the gap, and for every choice the rest of the text.

    Raises:
        UserError: there is no gap, or the answer is none of the choices.
    """
    before, gap, after = text_value(row, "question", place).partition(BLANK)
    options = texts_value(row, "options", place)
    if not gap or row["answer"] not in options:
        what = f"no {BLANK} in its question" if not gap else "an answer that is no choice"
        raise UserError(f"{place} has {what}")
    lines = [*texts_value(row, "sentences", place), ""]
    context = "\n".join(lines)
    wholes = [f"{context}{before}{option}{after}" for option in options]
    if detokenise:
        wholes = [ONE_BILLION_WORDS.detokenise(_without_penn_brackets(text)) for text in wholes]
        context = ONE_BILLION_WORDS.detokenise(_without_penn_brackets(context))
    return context, [whole[len(context) :] for whole in wholes]


def _without_penn_brackets(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(" ".join(_PENN.get(t, t) for t in line.split(" ")) for line in lines)


def _authors_rows(file: Path) -> list[tuple[str, Row]]:
    """Blocks of numbered lines: twenty sentences, then question, answer and choices."""
    rows = []
    for number, block in enumerate(read_text(file).strip().split("\n\n"), start=1):
        place = f"{file}, question {number}"
        lines = [line.partition(" ")[2] for line in block.splitlines()]
        fields = [field for line in lines[-1:] for field in line.split("\t") if field]
        if len(lines) != N_SENTENCES + 1 or len(fields) != 3:
            raise UserError(
                f"{place} is not {N_SENTENCES} sentences and a line of question, answer and choices"
            )
        options = fields[2].split("|")
        rows.append(
            (
                place,
                {
                    "sentences": lines[:-1],
                    "question": fields[0],
                    "answer": fields[1],
                    "options": options,
                },
            )
        )
    return rows


def _source(kind: str) -> Source:
    return Source(
        files=(
            f"cbt_{kind.lower()}_test.jsonl",
            f"cbt_{kind.lower()}_test.parquet",
            f"cbtest_{kind}_test_2500ex.txt",
        ),
        columns=("sentences", "question", "answer", "options"),
        hub="cam-cst/cbt",
        config=kind,
    )


COMMON_NOUNS = ChildrensBookTest("cbt_cn", _source("CN"))
NAMED_ENTITIES = ChildrensBookTest("cbt_ne", _source("NE"))
