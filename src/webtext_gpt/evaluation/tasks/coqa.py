"""CoQA: answer questions in a conversation about a passage (Reddy et al. 2018; section 3.5).

The prompt contains the passage, the earlier questions with their reference answers, the next
question, and `A:`. The answer is decoded greedily up to the end of the line.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from webtext_gpt.data.rows import Row, text_value, texts_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.prompted import answers, cut_beginning, room_for_prompt
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.text_metrics import best_f1
from webtext_gpt.files import read_text

MAX_ANSWER_TOKENS = 32


@dataclass(frozen=True)
class CoQA(Benchmark):
    """F1 of the answers. `limit` counts questions."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Answer every question of every conversation. See `Benchmark.run`."""
        # Each conversation has at least one question, so `limit` conversations are enough.
        rows = self.source.rows(data_dir, options.limit, parse=_read_original)
        turns = [turn for row in rows for turn in conversation(*row)][: options.limit]
        room = room_for_prompt(scorer, MAX_ANSWER_TOKENS)
        written = answers(
            scorer,
            self.name,
            [cut_beginning(scorer.tokenizer, prompt, room) for prompt, _ in turns],
            max_new_tokens=MAX_ANSWER_TOKENS,
            batch_size=options.batch_size,
            stop=["\n"],
        )
        scores = [best_f1(text, refs) for text, (_, refs) in zip(written, turns, strict=True)]
        return Measurement({"f1": 100 * sum(scores) / len(scores)}, len(scores))


def conversation(place: str, row: Row) -> list[tuple[str, list[str]]]:
    """Return each question's prompt and reference answers.

    Raises:
        UserError: the numbers of questions and answers differ, or a value is not text.
    """
    given = row["answers"]
    texts = given.get("input_text") if isinstance(given, dict) else given
    questions = texts_value(row, "questions", place)
    if not isinstance(texts, list) or len(texts) != len(questions):
        raise UserError(f"{place} has {len(questions)} questions but not as many answers")
    prompt = text_value(row, "story", place).strip() + "\n"
    turns = []
    for question, answer in zip(questions, texts, strict=True):
        references = [answer] if isinstance(answer, str) else list(answer)
        prompt += f"\nQ: {question.strip()}\nA:"
        turns.append((prompt, references))
        prompt += f" {references[0].strip()}"
    return turns


def _read_original(file: Path) -> list[tuple[str, Row]]:
    """Read the authors' JSON. The first reference of a question is the main answer."""
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


COQA = CoQA(
    name="coqa",
    source=DataSource(
        files=("coqa_validation.jsonl", "coqa_validation.parquet", "coqa-dev-v1.0.json"),
        columns=("story", "questions", "answers"),
        hub="stanfordnlp/coqa",
        split="validation",
    ),
    paper={"f1": PaperFigures(xl=55.0)},
)
