"""Test sets of a few rows each, in the forms that the documentation of `eval.py` lists."""

from pathlib import Path

from tests.documented.inputs import Inputs, makes
from tests.documented.texts import paragraphs, sentences, write_rows

CHOICES = ["cat", "dog", "bird", "river", "house", "garden", "road", "window", "story", "captain"]
SCHEMA = "Mark told Pete about his trip. He should have gone."


@makes("evalsets", "benchmarks")
def _zero_shot(_: Inputs, path: Path) -> None:
    """Two examples for each of the paper's tasks, for HellaSwag and ARC, and BLiMP's sets."""
    lines = sentences("evalsets", 80)
    cloze = {
        "sentences": lines[:20], "question": "The old XXXXX sees a house", "answer": "cat",
        "options": CHOICES,
    }  # fmt: skip
    winograd = {"text": SCHEMA, "pronoun": "He", "pronoun_loc": SCHEMA.index("He s")}
    choices = {"text": CHOICES[:4], "label": list("ABCD")}
    arc = {"id": "1", "question": lines[0], "choices": choices, "answerKey": "B"}
    hellaswag = {"activity_label": "Walking", "ctx_a": lines[0], "ctx_b": "the cat"}
    rows = {
        "lambada_test": {"text": lines[0]},
        "cbt_cn_test": cloze,
        "cbt_ne_test": cloze,
        "winograd_test": {**winograd, "options": ["Mark", "Pete"], "label": 1},
        "coqa_validation": {"story": lines[0], "questions": ["Who?"],
                            "answers": {"input_text": ["Ann"]}},
        "cnn_dailymail_test": {"article": " ".join(lines), "highlights": lines[0]},
        "wmt14_test": {"translation": {"en": lines[0], "fr": lines[1]}},
        "natural_questions_validation": {"question": "who", "answer": ["Ann"]},
        "arc_easy_test": arc,
        "arc_challenge_test": arc,
        "hellaswag_val": {**hellaswag, "ctx": f"{lines[0]} the cat", "endings": lines[:4],
                          "label": 2},
    }  # fmt: skip
    for name, row in rows.items():
        write_rows(path / f"{name}.jsonl", [row] * 2)
    for name in ("wikitext2_test.raw", "ptb_test.txt", "enwik8_test.txt", "text8_test.txt",
                 "one_billion_words_test.txt"):  # fmt: skip
        (path / name).write_text("".join(f" {line} \n" for line in lines[:20]))
    _blimp(path / "blimp")


def _blimp(path: Path) -> None:
    from webtext_gpt.evaluation.blimp_sets import SETS

    for name in (name for sets in SETS.values() for name in sets):
        good = sentences(name, 2)
        rows = [{"sentence_good": text, "sentence_bad": text[::-1]} for text in good]
        write_rows(path / f"{name}.jsonl", rows)


@makes("eval_bundle")
def _core(_: Inputs, path: Path) -> None:
    """Twelve examples for each task: prompts have up to ten solved ones."""
    from webtext_gpt.evaluation.tasks.core import TASKS

    row = {
        "multiple_choice": {"query": "The dog", "choices": ["sees", "hears"], "gold": 0},
        "schema": {"context_options": ["The cat", "The dog"], "continuation": "sees", "gold": 1},
        "language_modeling": {"context": "The dog sees the ", "continuation": "cat"},
    }
    for task in TASKS:
        write_rows(path / task.source.files[-1], [row[task.kind]] * 12)


@makes("lm_eval_tasks")
def _harness(_: Inputs, path: Path) -> None:
    """A task of the harness's name that reads the passages from this folder."""
    rows = [{"text": text} for text in paragraphs("lambada", 2)]
    write_rows(path / "lambada.jsonl", rows)
    (path / "lambada.yaml").write_text(
        "task: lambada_openai\n"
        "dataset_path: json\n"
        "dataset_kwargs: {data_files: {test: lm_eval_tasks/lambada.jsonl}}\n"
        "output_type: loglikelihood\n"
        "test_split: test\n"
        "doc_to_text: \"{{text.split(' ')[:-1]|join(' ')}}\"\n"
        "doc_to_target: \"{{' ' + text.split(' ')[-1]}}\"\n"
        "metric_list:\n"
        "  - {metric: perplexity, aggregation: perplexity, higher_is_better: false}\n"
        "  - {metric: acc, aggregation: mean, higher_is_better: true}\n"
    )
