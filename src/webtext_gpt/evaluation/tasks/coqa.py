"""CoQA: a conversation about a passage (Reddy et al. 2018; section 3.5).

The model sees the passage, the questions and right answers so far, the next question, and `A:`;
what it writes greedily up to the line's end is its answer.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import Row, text_value, texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.answers import best_f1
from webtext_gpt.evaluation.benchmark import Measured, Options, Source
from webtext_gpt.evaluation.prompted import answers, cut_beginning, room_for_prompt
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.tokenizer import read_text

LONGEST_ANSWER = 32


SOURCE = Source(
    files=("coqa_validation.jsonl", "coqa_validation.parquet", "coqa-dev-v1.0.json"),
    columns=("story", "questions", "answers"),
    hub="stanfordnlp/coqa",
    split="validation",
)


@dataclass(frozen=True)
class CoQA:
    """F1 of the answers; `limit` counts questions."""

    name: str = "coqa"
    source: Source = SOURCE

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measured:
        """See `Benchmark.run`."""
        # each conversation has a question at least
        rows = self.source.rows(data_dir, options.limit, parse=_authors_rows)
        asked = [pair for row in rows for pair in conversation(*row)][: options.limit]
        room = room_for_prompt(scorer, LONGEST_ANSWER)
        written = answers(
            scorer,
            self.name,
            [cut_beginning(scorer.tokenizer, prompt, room) for prompt, _ in asked],
            max_new_tokens=LONGEST_ANSWER,
            batch_size=options.batch_size,
            stop=["\n"],
        )
        scores = [best_f1(text, refs) for text, (_, refs) in zip(written, asked, strict=True)]
        return Measured({"f1": 100 * sum(scores) / len(scores)}, len(scores))


def conversation(place: str, row: Row) -> list[tuple[str, list[str]]]:
    """Each question's prompt and the references of its answer."""
    given = row["answers"]
    texts = given.get("input_text") if isinstance(given, dict) else given
    questions = texts_value(row, "questions", place)
    if not isinstance(texts, list) or len(texts) != len(questions):
        raise UserError(f"{place} has {len(questions)} questions, but not as many answers")
    prompt = text_value(row, "story", place).strip() + "\n"
    turns = []
    for question, answer in zip(questions, texts, strict=True):
        references = [answer] if isinstance(answer, str) else list(answer)
        prompt += f"\nQ: {question.strip()}\nA:"
        turns.append((prompt, references))
        prompt += f" {references[0].strip()}"
    return turns


def _authors_rows(file: Path) -> list[tuple[str, Row]]:
    try:
        stories = json.loads(read_text(file))["data"]
        return [
            (
                f"{file}, story {number}",
                {
                    "story": story["story"],
                    "questions": [q["input_text"] for q in story["questions"]],
                    "answers": [
                        [
                            answer["input_text"],
                            *(
                                others[turn]["input_text"]
                                for others in story.get("additional_answers", {}).values()
                            ),
                        ]
                        for turn, answer in enumerate(story["answers"])
                    ],
                },
            )
            for number, story in enumerate(stories)
        ]
    except (json.JSONDecodeError, KeyError, TypeError, IndexError) as error:
        raise UserError(f"{file} is not CoQA's JSON: {type(error).__name__} at {error}") from error
