"""Several benchmarks at once: what is written, what is printed, what is missing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation import registry, report
from webtext_gpt.evaluation.benchmark import MissingDataError, Options, Result
from webtext_gpt.evaluation.run import evaluate, refuse_other_evaluation, write
from webtext_gpt.evaluation.scoring import Scorer

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "lambada_test.jsonl").write_text('{"text": "the cat saw the dog"}\n' * 3)
    (folder / "ptb_test.txt").write_text(" the cat sat \n")
    return folder


def test_what_is_missing_is_named_after_the_rest(scorer: Scorer, data_dir: Path) -> None:
    benchmarks = registry.chosen(["cbt_cn", "lambada", "text8", "ptb"])
    found = []
    with pytest.raises(MissingDataError) as raised:
        found.extend(
            r for results in evaluate(scorer, benchmarks, data_dir=data_dir) for r in results
        )
    message = str(raised.value)
    assert "2 of 4 tasks have no data" in message
    assert "- cbt_cn:" in message
    assert "- text8:" in message
    assert "mattmahoney.net" in message


def test_figures_are_written_whole(scorer: Scorer, data_dir: Path, tmp_path: Path) -> None:
    benchmarks = registry.chosen(["lambada", "ptb"])
    options = Options(limit=2)
    results = [
        result
        for some in evaluate(scorer, benchmarks, data_dir=data_dir, options=options)
        for result in some
    ]
    write(results, tmp_path / "out", "mine", 1_000)
    rows = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert {tuple(row) for row in rows} == {("task", "metric", "value", "examples", "seconds")}
    assert [r["examples"] for r in rows if r["task"] == "lambada"] == [2] * 6
    assert {r["metric"] for r in rows if r["task"] == "ptb"} >= {"perplexity", "words", "tokens"}
    text = (tmp_path / "out" / "evaluation.md").read_text()
    assert "| mine |" in text
    assert "| GPT-2 small (paper) | 35.13 | 45.99 | 87.65 |" in text
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"evaluation.json", "evaluation.md"}
    with pytest.raises(UserError, match="already holds an evaluation"):
        refuse_other_evaluation(tmp_path / "out")


def test_the_papers_row_is_that_of_the_nearest_size() -> None:
    sizes = {1e6: "small", 2e8: "small", 2.2e8: "medium", 8e8: "large", 1.4e9: "xl", 1e11: "xl"}
    for n_parameters, size in sizes.items():
        assert registry.nearest_size(int(n_parameters)) == size
    result = Result("wikitext2", "perplexity", 20.0, 1, 1.0)
    head, mine, theirs = report.papers_table([result], "mine", 1_500_000_000)
    column = head.index("WikiText2")
    assert (mine[column], theirs[column]) == ("20", "18.34")
    assert mine[head.index("PTB")] == "-"


def test_tasks_are_chosen_by_name() -> None:
    assert [b.name for b in registry.chosen("all")] == list(registry.BENCHMARKS)
    assert [b.name for b in registry.chosen(["ptb", "lambada", "ptb"])] == ["ptb", "lambada"]
    for names in (["lambda"], []):
        with pytest.raises(UserError, match="tasks: all, lambada, cbt_cn"):
            registry.chosen(names)


def test_every_column_of_the_papers_table_is_a_figure() -> None:
    assert set(report.COLUMNS.values()) <= set(registry.PAPER)
    assert {task for task, _ in registry.PAPER} <= set(registry.BENCHMARKS)
    assert set((REPOSITORY / "conf" / "eval.yaml").read_text().split()) >= set(registry.BENCHMARKS)


def test_a_folder_that_is_none_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        next(evaluate(scorer, registry.chosen("ptb"), data_dir=tmp_path / "none"))


def test_the_command(small_checkpoint: Path, data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [
        f"checkpoint={small_checkpoint}",
        "tasks=[ptb,lambada,text8]",
        f"data_dir={data_dir}",
        f"run_dir={out}",
        "device=cpu",
    ]
    ran = subprocess.run(
        [sys.executable, "eval.py", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 1  # one task had no data
    assert "1 of 3 tasks have no data:\n- text8" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "GPT-2 small (paper)" in ran.stdout
    rows = json.loads((out / "evaluation.json").read_text())
    assert {row["task"] for row in rows} == {"ptb", "lambada"}
