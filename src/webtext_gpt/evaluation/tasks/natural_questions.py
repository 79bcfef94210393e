"""Natural Questions without a passage (Kwiatkowski et al. 2019; section 3.8).

Example questions with short answers show the style; an answer counts when it has the words of a
reference.
"""

from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import text_value
from webtext_gpt.evaluation.answers import exact_match
from webtext_gpt.evaluation.benchmark import Measured, Options, Source
from webtext_gpt.evaluation.prompted import answers, cut_beginning, room_for_prompt
from webtext_gpt.evaluation.scoring import Scorer

EXAMPLES = (
    ("who wrote the play hamlet", "William Shakespeare"),
    ("what is the capital of australia", "Canberra"),
    ("when did the first world war end", "1918"),
    ("how many strings does a violin have", "four"),
    ("what gas do plants take in from the air", "carbon dioxide"),
)
LONGEST_ANSWER = 24


SOURCE = Source(
    files=("natural_questions_validation.jsonl", "natural_questions_validation.parquet"),
    columns=("question", "answer"),
    hub="google-research-datasets/nq_open",
    split="validation",
)


@dataclass(frozen=True)
class NaturalQuestions:
    """Share of exact answers."""

    name: str = "natural_questions"
    source: Source = SOURCE

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measured:
        """See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        room = room_for_prompt(scorer, LONGEST_ANSWER)
        examples = "".join(f"Q: {question}?\nA: {answer}\n" for question, answer in EXAMPLES)
        questions = [text_value(row, "question", place).rstrip("?") for place, row in rows]
        written = answers(
            scorer,
            self.name,
            [
                cut_beginning(scorer.tokenizer, f"{examples}Q: {question}?\nA:", room)
                for question in questions
            ],
            max_new_tokens=LONGEST_ANSWER,
            batch_size=options.batch_size,
            stop=["\n"],
        )
        right = sum(
            exact_match(text, [row["answer"]] if isinstance(row["answer"], str) else row["answer"])
            for text, (_, row) in zip(written, rows, strict=True)
        )
        return Measured({"exact_match": 100 * right / len(rows)}, len(rows))
