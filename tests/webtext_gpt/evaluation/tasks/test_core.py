"""CORE: its tasks' prompts and choices, and the mean over them."""

import copy
import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation import report
from webtext_gpt.evaluation.benchmark import Measurement, Options, Result
from webtext_gpt.evaluation.command import evaluate
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.core import CORE, TASKS
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer

Row = dict[str, Any]

ROWS: dict[str, Row] = {
    "multiple_choice": {"query": "the dog", "choices": ["sat", "saw"], "gold": 0},
    "schema": {"context_options": ["the cat", "the dog"], "continuation": "saw it", "gold": 1},
    "language_modeling": {"context": "the dog saw the ", "continuation": "cat"},
}


def _write(folder: Path, name: str, rows: list[Row]) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder with 12 rows for every task, in the layout of the published bundle."""
    for task in TASKS:
        _write(tmp_path, task.source.files[-1], [ROWS[task.kind]] * 12)
    return tmp_path


def test_the_first_of_equal_choices_is_taken_and_counted(
    measure: Callable[..., Measurement], tmp_path: Path
) -> None:
    tied = [{**ROWS["multiple_choice"], "choices": ["sat", "sat"], "gold": n % 2} for n in range(4)]
    measured = measure("core_copa", _write(tmp_path, "copa.jsonl", tied))
    assert measured.metrics["accuracy"] == 50
    assert measured.counts == {"ties": 4, "cut_prompts": 0, "cut_continuations": 0}
    schema = [{**ROWS["schema"], "context_options": ["a cat"] * 3, "gold": 0}]
    measured = measure("core_winogrande", _write(tmp_path, "winogrande.jsonl", schema))
    assert (measured.metrics["accuracy"], measured.counts["ties"]) == (100, 1)


@pytest.mark.parametrize("choices", [["the cat sat", "the cat"], ["the cat", "the cat sat"]])
def test_a_choice_that_another_one_begins_with_has_no_loss(
    measure: Callable[..., Measurement], tmp_path: Path, choices: list[str]
) -> None:
    """The published mean over no tokens is NaN; `min` takes the first of a NaN and a number."""
    rows = [{"query": "so", "choices": choices, "gold": gold} for gold in (0, 0, 1)]
    measured = measure("core_copa", _write(tmp_path, "copa.jsonl", rows))
    assert sorted(measured.per_example["accuracy"]) == [0, 100, 100]
    assert measured.counts["ties"] == 3


def test_language_modeling_needs_every_token_to_be_the_likeliest(
    model: GPT, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (cat,) = tokenizer.encode(" cat")
    model = copy.deepcopy(model)  # with a token whose logit is often the highest
    model.wte.weight.data[cat] *= -20
    words = ["the", "cat", "dog", "saw", "sat", "on", "mat", "and"]
    right: list[Row] = []
    wrong: list[Row] = []
    for context in (f"{first} {second}" for first in words for second in words):
        ids = [tokenizer.end_of_text, *tokenizer.encode(context)]
        with torch.inference_mode():
            likeliest = model(torch.tensor([ids]))[0, -1].argmax()
        row = {"context": f"{context} \n", "continuation": "cat"}
        (right if likeliest == cat else wrong).append(row)
        if likeliest == cat:
            wrong.append({**row, "continuation": "cat?"})
    assert len(right) > 5
    assert len(wrong) > 5
    task, scorer = TASKS[9], Scorer(model, tokenizer)
    for rows, accuracy in ((right, 100), (wrong, 0)):
        folder = _write(tmp_path / str(accuracy), "lambada_openai.jsonl", rows)
        assert task.run(scorer, folder, Options()).metrics["accuracy"] == accuracy


def test_prompts_longer_than_the_context_lose_their_beginning(
    measure: Callable[..., Measurement], tmp_path: Path
) -> None:
    long = "the cat sat on the mat . " * 20
    rows = [
        {"query": "the dog", "choices": ["sat", "saw"], "gold": 0},
        {"query": long, "choices": ["sat", "saw"], "gold": 0},
        {"query": long, "choices": [f"cat {long}", "saw"], "gold": 0},
    ]
    measured = measure("core_openbook_qa", _write(tmp_path, "openbook_qa.jsonl", rows))
    assert measured.counts == {"ties": 0, "cut_prompts": 2, "cut_continuations": 1}
    lines = [{"context": long, "continuation": "cat"}, {"context": "the", "continuation": long}]
    measured = measure("core_coqa", _write(tmp_path, "coqa.jsonl", lines))
    assert measured.counts == {"ties": 0, "cut_prompts": 2, "cut_continuations": 1}


def test_a_limit_takes_the_first_questions_and_their_shots_from_them(
    measure: Callable[..., Measurement], tmp_path: Path
) -> None:
    rows = [{**ROWS["multiple_choice"], "query": f"the cat {n}", "gold": n % 2} for n in range(30)]
    _write(tmp_path, "commonsense_qa.jsonl", rows)
    whole = measure("core_commonsense_qa", tmp_path)
    few = measure("core_commonsense_qa", tmp_path, limit=2)  # fewer than the 10 shots
    assert (whole.examples, few.examples) == (30, 2)
    assert measure("core_commonsense_qa", tmp_path, limit=99).per_example == whole.per_example


def test_accuracies_are_centered_with_both_baselines(
    measure: Callable[..., Measurement], tmp_path: Path
) -> None:
    rows = [{"query": "so", "choices": ["sat", "sat"], "gold": n % 2} for n in range(12)]
    measured = measure("core_commonsense_qa", _write(tmp_path, "commonsense_qa.jsonl", rows))
    assert measured.metrics["centered_v1"] == pytest.approx((50 - 20) / 80)
    assert measured.metrics["centered_v2"] == pytest.approx((50 - 40.3) / 59.7)
    error = 50 * math.sqrt(12 / 11) / math.sqrt(12)
    assert measured.standard_error("accuracy") == pytest.approx(error)
    assert measured.standard_error("centered_v1") == pytest.approx(error / 80)


def test_core_is_the_mean_of_all_tasks(scorer: Scorer, bundle: Path) -> None:
    results = [
        result
        for some in evaluate(scorer, TASKS, [CORE], data_dir=bundle, options=Options(limit=2))
        for result in some
    ]
    centered = [r for r in results if r.metric == "centered_v1"]
    assert len(centered) == 22
    core = {r.metric: r for r in results if r.task == "core"}
    assert core["core_v1"].value == pytest.approx(sum(r.value for r in centered) / 22)
    expected = math.sqrt(sum((r.standard_error or 0) ** 2 for r in centered)) / 22
    assert core["core_v1"].standard_error == pytest.approx(expected)
    assert core["core_v1"].examples == 44
    assert set(core) == {"core_v1", "core_v2"}


def test_without_a_task_there_is_no_core(scorer: Scorer, bundle: Path) -> None:
    (bundle / "eval_data" / "reading_comprehension" / "squad.jsonl").unlink()
    results: list[Result] = []
    figures = evaluate(scorer, TASKS, [CORE], data_dir=bundle, options=Options(limit=1))
    with pytest.raises(UserError) as error:
        results.extend(result for some in figures for result in some)
    assert "core_squad: " in str(error.value)
    assert "has none of squad.jsonl" in str(error.value)
    assert "core: no figure without core_squad" in str(error.value)
    assert len({r.task for r in results}) == 21
    assert "core" not in {r.task for r in results}
    table = report.suite_tables(results, 10**8)["core"]
    assert len(table) == 1 + 21
    assert "CORE" not in {row[0] for row in table}


def test_the_table_compares_with_gpt2() -> None:
    values = {"accuracy": 40.0, "centered_v1": 0.25, "centered_v2": -0.005}
    results = [Result("core_commonsense_qa", m, v, 9, 1.0, v / 100) for m, v in values.items()]
    results += [Result("core", f"core_{v}", 0.12345, 9, 1.0, 0.01) for v in ("v1", "v2")]
    rows = report.suite_tables(results, 1_500_000_000)["core"]
    assert rows[0][4:] == ["GPT-2 xl", "baseline v1", "centered v1", "baseline v2", "centered v2"]
    task = ["commonsense_qa", "10", "40.00", "0.40", "-", "20", "0.2500", "40.3", "-0.0050"]
    assert rows[1] == task
    last = {row[0]: (row[6], row[8]) for row in rows[2:]}
    assert last["CORE"] == ("0.1235", "0.1235")
    assert last["standard error"] == ("0.0100", "0.0100")
    assert last["GPT-2 xl"] == ("0.2565", "-")
    assert "| core | core_v1 | 0.1235 | ±0.01 | 0.2565 |" in report.markdown(
        results, "m", 1_500_000_000
    )


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("core_copa", {"gold": 2}, "copa.jsonl, line 2: gold is 2, but there are 2 options"),
        ("core_copa", {"gold": "0"}, "copa.jsonl, line 2: gold=0 must be a whole number"),
        ("core_copa", {"choices": "sat"}, "copa.jsonl, line 2: 'choices' is str, not a list"),
        ("core_copa", {"query": None}, "copa.jsonl, line 2: 'query' is NoneType, not text"),
        ("core_coqa", {"continuation": ""}, "coqa.jsonl, line 2: 'continuation' is empty"),
        ("core_winogrande", {"context_options": [1]}, "line 2: 'context_options' is int, not text"),
        ("core_squad", {}, "squad.jsonl, line .: the file has 2 examples; .* need 11"),
    ],
)
def test_wrong_rows_are_named(
    measure: Callable[..., Measurement], tmp_path: Path, task: str, change: Row, message: str
) -> None:
    (found,) = (t for t in TASKS if t.name == task)
    row = ROWS[found.kind]
    _write(tmp_path, found.source.files[0], [row, {**row, **change}])
    with pytest.raises(UserError, match=message):
        measure(task, tmp_path)


def test_a_missing_field_is_named(measure: Callable[..., Measurement], tmp_path: Path) -> None:
    _write(tmp_path, "copa.jsonl", [ROWS["multiple_choice"], {"query": "so", "choices": ["a"]}])
    with pytest.raises(UserError, match=r"copa.jsonl, line 2 has no key 'gold'"):
        measure("core_copa", tmp_path)


def test_the_tasks_are_those_published(realdata: Path) -> None:
    folder = realdata / "core"
    with (folder / "tasks.csv").open(newline="") as file:
        tasks = list(csv.DictReader(file))
    published = []
    baselines = {}
    for name in ("eval_meta_data_v1.csv", "eval_meta_data.csv"):
        with (folder / name).open(newline="") as file:
            for row in csv.DictReader(file):
                baselines.setdefault(row["Eval Task"], []).append(float(row["Random baseline"]))
    for row in tasks:
        delimiter = row["continuation_delimiter"]
        published.append((row["label"], row["file"], int(row["shots"]), row["type"], delimiter))
    ours = [
        (t.name.removeprefix("core_"), t.source.files[0], t.shots, t.kind, t.delimiter)
        for t in TASKS
    ]
    assert ours == published
    for task in TASKS:
        assert list(task.baselines) == baselines[task.name.removeprefix("core_")]
