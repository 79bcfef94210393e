"""Natural Questions without a passage (Kwiatkowski et al. 2019; section 3.8).

Example questions with short answers show the model the style. An answer is correct if its
normalized words equal those of a reference.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from statistics import fmean

from webtext_gpt.data.rows import Row, read_rows, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.data_source import DataSource, Original
from webtext_gpt.evaluation.prompted import (
    answers,
    cut_beginning,
    fitted,
    reference_texts,
    room_for_prompt,
)
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.text_metrics import exact_match

EXAMPLES = (
    ("who wrote the play hamlet", "William Shakespeare"),
    ("what is the capital of australia", "Canberra"),
    ("when did the first world war end", "1918"),
    ("how many strings does a violin have", "four"),
    ("what gas do plants take in from the air", "carbon dioxide"),
)
MAX_ANSWER_TOKENS = 24
MAX_SHORT_ANSWER = 5
"""Maximum tokens of the short answers that NQ-open keeps (Lee et al. 2019)."""


@dataclass(frozen=True)
class NaturalQuestions(Benchmark):
    """Percentage of exactly correct answers."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Answer every question greedily, up to the end of the line. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        room = room_for_prompt(scorer, MAX_ANSWER_TOKENS)
        examples = "".join(f"Q: {question}?\nA: {answer}\n" for question, answer in EXAMPLES)
        questions = [text_value(row, "question", place).rstrip("?") for place, row in rows]
        references = [reference_texts(place, "answer", row["answer"]) for place, row in rows]
        written = answers(
            scorer,
            self.name,
            [
                fitted(scorer, f"{examples}Q: {question}?\nA:", room, cut_beginning)
                for question in questions
            ],
            max_new_tokens=MAX_ANSWER_TOKENS,
            batch_size=options.batch_size,
            stop=["\n"],
        )
        correct = [100.0 * exact_match(*pair) for pair in zip(written, references, strict=True)]
        metrics = {"exact_match": fmean(correct)}
        return Measurement(metrics, len(rows), per_example={"exact_match": correct})


def read_annotated(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    """Read the original set as NQ-open has it: questions with short answers of up to five tokens.

    Raises:
        UserError: a row is not JSON, or not a question with annotations.
    """
    for place, row in read_rows(files[0], ("question_text", "annotations")):
        try:
            spans = [span for a in row["annotations"] for span in a["short_answers"]]
            short = [s for s in spans if s["end_token"] - s["start_token"] <= MAX_SHORT_ANSWER]
            found = list(dict.fromkeys(filter(None, (_span_text(row, span) for span in short))))
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise UserError(
                f"{place} is not a question of Natural Questions: {type(error).__name__} at {error}"
            ) from error
        if found:
            yield place, {"question": row["question_text"], "answer": found}


def _span_text(row: Row, span: Row) -> str:
    """Return the text of an answer: from the page's HTML, or from its tokens if it is left out."""
    if "document_html" in row:
        html = row["document_html"].encode()[span["start_byte"] : span["end_byte"]].decode()
        return unescape(re.sub(r"<[^>]*>", "", html)).strip()
    if "document_text" in row:
        tokens = row["document_text"].split(" ")[span["start_token"] : span["end_token"]]
    else:
        inside = row["document_tokens"][span["start_token"] : span["end_token"]]
        tokens = [token["token"] for token in inside if not token["html_token"]]
    return " ".join(tokens)


NATURAL_QUESTIONS = NaturalQuestions(
    name="natural_questions",
    source=DataSource(
        files=(
            "natural_questions_validation.jsonl",
            "natural_questions_validation.parquet",
            "NQ-open.dev.jsonl",
        ),
        columns=("question", "answer"),
        hub="google-research-datasets/nq_open",
        split="validation",
        origin="github.com/google-research-datasets/natural-questions, nq_open",
        originals=tuple(
            Original((name,), read_annotated)
            for name in (
                "v1.0-simplified_nq-dev-all.jsonl",
                "v1.0-simplified-nq-dev-all.jsonl",
                "nq-dev-all.jsonl",
            )
        ),
    ),
    paper={"exact_match": PaperFigures(xl=4.1)},
)
