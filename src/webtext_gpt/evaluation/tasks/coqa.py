"""CoQA: answer questions in a conversation about a passage (Reddy et al. 2018; section 3.5).

The prompt contains the passage, the earlier questions with their reference answers, the next
question, and `A:`. The answer is decoded greedily up to the end of the line.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from webtext_gpt.data.rows import Row, text_value, texts_value
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
from webtext_gpt.evaluation.published import published_text
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.text_metrics import best_f1

MAX_ANSWER_TOKENS = 32


@dataclass(frozen=True)
class CoQA(Benchmark):
    """F1 of the answers. `limit` counts questions."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Answer every question of every conversation. See `Benchmark.run`."""
        # Each conversation has at least one question, so `limit` conversations are enough.
        rows = self.source.rows(data_dir, options.limit)
        turns = [turn for row in rows for turn in conversation(*row)][: options.limit]
        room = room_for_prompt(scorer, MAX_ANSWER_TOKENS)
        written = answers(
            scorer,
            self.name,
            [fitted(scorer, prompt, room, cut_beginning) for prompt, _ in turns],
            max_new_tokens=MAX_ANSWER_TOKENS,
            batch_size=options.batch_size,
            stop=["\n"],
        )
        scores = [100 * best_f1(text, refs) for text, (_, refs) in zip(written, turns, strict=True)]
        return Measurement({"f1": fmean(scores)}, len(scores), per_example={"f1": scores})


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
        references = reference_texts(place, "answers", answer)
        prompt += f"\nQ: {question.strip()}\nA:"
        turns.append((prompt, references))
        prompt += f" {references[0].strip()}"
    return turns


def read_stories(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    """Read the authors' JSON. The first reference of a question is the main answer.

    Raises:
        UserError: the file is not CoQA's JSON, or a story lacks a field.
    """
    (file,) = files
    try:
        document = json.loads(published_text(file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{file} is not CoQA's JSON, or is cut short: {error}") from error
    stories = document.get("data") if isinstance(document, dict) else None
    if not isinstance(stories, list):
        raise UserError(f"{file} is not CoQA's JSON: it has no list `data` of stories")
    for number, story in enumerate(stories, start=1):
        place = f"{file}, story {number}"
        try:
            answers = [story["answers"], *story.get("additional_answers", {}).values()]
            row = {
                "story": story["story"],
                "questions": [question["input_text"] for question in story["questions"]],
                "answers": [
                    [answer["input_text"] for answer in turn] for turn in zip(*answers, strict=True)
                ],
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            problem = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise UserError(f"{place} is not a story of CoQA: {problem}") from error
        yield place, row


COQA = CoQA(
    name="coqa",
    source=DataSource(
        files=("coqa_validation.jsonl", "coqa_validation.parquet"),
        columns=("story", "questions", "answers"),
        hub="stanfordnlp/coqa",
        split="validation",
        origin="stanfordnlp.github.io/coqa",
        originals=(Original(("coqa-dev-v1.0.json",), read_stories),),
    ),
    paper={"f1": PaperFigures(xl=55.0)},
)
