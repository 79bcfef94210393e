"""Natural Questions."""

from collections.abc import Callable
from pathlib import Path

from webtext_gpt.evaluation.benchmark import Measurement
from webtext_gpt.evaluation.scoring import Scorer


def test_exact_answers(
    scorer: Scorer,
    measure: Callable[..., Measurement],
    write_rows: Callable[[Path, list[dict]], None],
    scripted: Callable[[dict[str, str]], list[str]],
    tmp_path: Path,
) -> None:
    rows = [
        {"question": "who wrote dracula", "answer": ["Bram Stoker", "Stoker"]},
        {"question": "how many legs has a cat?", "answer": ["four", "4"]},
    ]
    write_rows(tmp_path / "natural_questions_validation.jsonl", rows)
    scorer.block_size = 1000
    seen = scripted({"dracula?\nA:": " Abraham Stoker", "cat?\nA:": " Four."})
    assert measure("natural_questions", tmp_path).metrics == {"exact_match": 50.0}
    assert all(prompt.startswith("Q: who wrote the play hamlet?\nA: William") for prompt in seen)
