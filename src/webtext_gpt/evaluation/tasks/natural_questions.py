"""Natural Questions without a passage (Kwiatkowski et al. 2019; section 3.8).

Example questions with short answers show the model the style. An answer is correct if its
normalized words equal those of a reference.
"""

from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import text_value
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.prompted import answers, cut_beginning, room_for_prompt
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


@dataclass(frozen=True)
class NaturalQuestions(Benchmark):
    """Percentage of exactly correct answers."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Answer every question greedily, up to the end of the line. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        room = room_for_prompt(scorer, MAX_ANSWER_TOKENS)
        examples = "".join(f"Q: {question}?\nA: {answer}\n" for question, answer in EXAMPLES)
        questions = [text_value(row, "question", place).rstrip("?") for place, row in rows]
        written = answers(
            scorer,
            self.name,
            [
                cut_beginning(scorer.tokenizer, f"{examples}Q: {question}?\nA:", room)
                for question in questions
            ],
            max_new_tokens=MAX_ANSWER_TOKENS,
            batch_size=options.batch_size,
            stop=["\n"],
        )
        correct = sum(
            exact_match(text, [row["answer"]] if isinstance(row["answer"], str) else row["answer"])
            for text, (_, row) in zip(written, rows, strict=True)
        )
        return Measurement({"exact_match": 100 * correct / len(rows)}, len(rows))


NATURAL_QUESTIONS = NaturalQuestions(
    name="natural_questions",
    source=DataSource(
        files=("natural_questions_validation.jsonl", "natural_questions_validation.parquet"),
        columns=("question", "answer"),
        hub="google-research-datasets/nq_open",
        split="validation",
    ),
    paper={"exact_match": PaperFigures(xl=4.1)},
)
