"""Children's Book Test: choose the missing word among ten (Hill et al. 2015; section 3.2).

Each choice is put into the gap. The score is the log-probability of the choice and of the rest of
the sentence, given the twenty sentences before it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

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
from webtext_gpt.evaluation.detokenizers import CHILDRENS_BOOK, count_marks
from webtext_gpt.evaluation.published import published_text
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.progress import progress_bar

BLANK = "XXXXX"
N_SENTENCES = 20


@dataclass(frozen=True)
class ChildrensBookTest(Benchmark):
    """Accuracy on the questions about one kind of word."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Choose the likeliest of the ten words for each question. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        correct: list[float] = []
        n_words = n_marks = 0
        with progress_bar(self.name, total=len(rows), unit="question") as bar:
            for place, row in rows:
                context, texts = context_and_choices(place, row, options.detokenize)
                with errors_at(place):
                    scores = [float(s.sum()) for s in scorer.choices(context, texts)]
                best = max(range(len(texts)), key=scores.__getitem__)
                correct.append(100 * (row["options"][best] == row["answer"]))
                n_words += sum(len(line.split()) for line in (*row["sentences"], row["question"]))
                if options.detokenize:
                    n_marks += count_marks(context + texts[best])
                bar.update()
        metrics, counts = {"accuracy": fmean(correct)}, {"words": n_words, "marks": n_marks}
        return Measurement(metrics, len(rows), counts, {"accuracy": correct})


def context_and_choices(place: str, row: Row, detokenize: bool) -> tuple[str, list[str]]:
    """Return the text before the gap and, for each choice, the choice and the text after it.

    Raises:
        UserError: the question has no gap, or its answer is not among the choices.
    """
    before, gap, after = text_value(row, "question", place).partition(BLANK)
    options = texts_value(row, "options", place)
    if not gap:
        raise UserError(f"{place} has no {BLANK} in its question")
    if row["answer"] not in options:
        raise UserError(f"{place} has an answer that is not among its choices")
    lines = [*texts_value(row, "sentences", place), ""]
    context = "\n".join(lines)
    filled = [f"{context}{before}{option}{after}" for option in options]
    if detokenize:
        filled = [CHILDRENS_BOOK.detokenize(text) for text in filled]
        context = CHILDRENS_BOOK.detokenize(context)
    return context, [text[len(context) :] for text in filled]


def read_blocks(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    """Read the authors' format.

    It has blocks of numbered lines, separated by blank lines: twenty sentences, then a line with
    the question, the answer and the choices.

    Raises:
        UserError: a block has other lines.
    """
    (file,) = files
    text = published_text(file).strip()
    for number, block in enumerate(re.split(r"\n\s*\n", text) if text else [], start=1):
        place = f"{file}, question {number}"
        lines = [line.strip().partition(" ")[2] for line in block.split("\n")]
        fields = [field.strip() for field in lines[-1].split("\t") if field.strip()]
        if len(lines) != N_SENTENCES + 1 or len(fields) != 3:
            raise UserError(
                f"{place} is not {N_SENTENCES} sentences and a line of question, answer and choices"
            )
        question, answer, options = fields
        yield (
            place,
            {
                "sentences": lines[:-1],
                "question": question,
                "answer": answer,
                "options": options.split("|"),
            },
        )


def _source(kind: str) -> DataSource:
    return DataSource(
        files=(
            f"cbt_{kind.lower()}_test.jsonl",
            f"cbt_{kind.lower()}_test.parquet",
        ),
        columns=("sentences", "question", "answer", "options"),
        hub="cam-cst/cbt",
        config=kind,
        origin="fb.ai/babi, CBTest.tgz",
        originals=(Original((f"cbtest_{kind}_test_2500ex.txt",), read_blocks),),
        folders=("CBTest/data", "data"),
    )


COMMON_NOUNS = ChildrensBookTest(
    name="cbt_cn",
    source=_source("CN"),
    paper={"accuracy": PaperFigures(87.65, 92.35, 93.45, 93.30, "CBT-CN")},
)
NAMED_ENTITIES = ChildrensBookTest(
    name="cbt_ne",
    source=_source("NE"),
    paper={"accuracy": PaperFigures(83.4, 87.1, 88.0, 89.05, "CBT-NE")},
)
