"""Running several benchmarks: results on disk, printed tables, and tasks that fail."""

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Options, Result
from webtext_gpt.evaluation.command import evaluate, refuse_existing_evaluation, write
from webtext_gpt.evaluation.registry import select_benchmarks
from webtext_gpt.evaluation.scoring import Scorer


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "lambada_test.jsonl").write_text('{"text": "the cat saw the dog"}\n' * 3)
    (folder / "ptb_test.txt").write_text(" the cat sat \n")
    return folder


def test_missing_data_is_reported_after_the_other_tasks(scorer: Scorer, data_dir: Path) -> None:
    benchmarks = select_benchmarks(["cbt_cn", "lambada", "text8", "ptb"])
    found = []
    with pytest.raises(UserError) as raised:
        found.extend(
            r for results in evaluate(scorer, benchmarks, data_dir=data_dir) for r in results
        )
    message = str(raised.value)
    assert "2 of 4 tasks could not be run" in message
    assert "- cbt_cn:" in message
    assert "- text8:" in message
    assert "mattmahoney.net" in message


def test_results_are_written(scorer: Scorer, data_dir: Path, tmp_path: Path) -> None:
    benchmarks = select_benchmarks(["lambada", "ptb"])
    options = Options(limit=2)
    results = [
        result
        for some in evaluate(scorer, benchmarks, data_dir=data_dir, options=options)
        for result in some
    ]
    write(results, tmp_path / "out", "mine", 1_000)
    rows = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    columns = ("task", "metric", "value", "examples", "seconds", "standard_error")
    assert {tuple(row) for row in rows} == {columns}
    assert [r["examples"] for r in rows if r["task"] == "lambada"] == [2] * 7
    assert {r["metric"] for r in rows if r["task"] == "ptb"} >= {"perplexity", "words", "tokens"}
    text = (tmp_path / "out" / "evaluation.md").read_text()
    assert "| mine |" in text
    assert "| GPT-2 small (paper) | 35.13 | 45.99 | 87.65 |" in text
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"evaluation.json", "evaluation.md"}
    with pytest.raises(UserError, match="already holds an evaluation"):
        refuse_existing_evaluation(tmp_path / "out")


def test_bad_data_stops_only_its_task(scorer: Scorer, data_dir: Path) -> None:
    (data_dir / "lambada_test.jsonl").write_text('{"text": "one two"}\n{"text": "one"}\n')
    found: list[list[Result]] = []
    with pytest.raises(UserError, match=r"- lambada: .*line 2: the passage has no last word"):
        found.extend(evaluate(scorer, select_benchmarks(["lambada", "ptb"]), data_dir=data_dir))
    assert [results[0].task for results in found] == ["ptb"]


def test_nan_and_infinity_are_written(tmp_path: Path) -> None:
    results = [Result("ptb", "perplexity", v, 1, 1.0) for v in (math.nan, math.inf, 2.5)]
    write(results, tmp_path, "mine", 1_000)
    text = (tmp_path / "evaluation.json").read_text()
    assert [row["value"] for row in json.loads(text)] == [None, None, 2.5]
    assert "| nan |" in (tmp_path / "evaluation.md").read_text()


@pytest.mark.parametrize("settings", [{"limit": 0}, {"limit": "x"}, {"batch_size": 0}])
def test_options_out_of_range_are_refused(settings: dict) -> None:
    with pytest.raises(UserError, match="must be a whole number, 1 or above"):
        Options(**settings)


def test_a_missing_data_dir_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        next(evaluate(scorer, select_benchmarks("ptb"), data_dir=tmp_path / "none"))


def test_the_command(
    call: Callable[..., subprocess.CompletedProcess[str]],
    small_checkpoint: Path,
    data_dir: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    arguments = [
        f"checkpoint={small_checkpoint}",
        "tasks=[ptb,lambada,text8]",
        f"data_dir={data_dir}",
        f"run_dir={out}",
        "device=cpu",
    ]
    ran = call("eval.py", *arguments)
    assert ran.returncode == 1  # one task had no data
    assert "1 of 3 tasks could not be run:\n- text8" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "GPT-2 small (paper)" in ran.stdout
    rows = json.loads((out / "evaluation.json").read_text())
    assert {row["task"] for row in rows} == {"ptb", "lambada"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "checkpoint has no value; give checkpoint=..., compare=[A,B] or report=[RUN,RUN]"),
        (["checkpoint=gone"], "checkpoint=gone "),
        (["checkpoint=damaged.ckpt", "tasks=lamda"], "tasks=lamda: expected a list [a,b] of "),
        (["checkpoint=damaged.ckpt", "tasks=[]"], "tasks=[]: expected a list [a,b] of values"),
        (["checkpoint=damaged.ckpt", "data_dir=gone"], "data_dir=gone is not a folder"),
        (["checkpoint=damaged.ckpt", "device=cuda:99"], "device=cuda:99 cannot be used here: "),
        (["checkpoint=damaged.ckpt", "precision=16"], "precision=16: expected auto, fp32 or bf16"),
        (["checkpoint=damaged.ckpt", "run_dir=damaged.ckpt"], "run_dir=damaged.ckpt is a file"),
        (["checkpoint=damaged.ckpt", "limit=0"], "limit=0: expected a whole number of examples, 1"),
        (["checkpoint=damaged.ckpt"], "damaged.ckpt cannot be read as a checkpoint"),
        (["report=[a,b]"], "report= names a, which does not exist"),
        (["compare=a"], "compare= takes two models, not 1"),
        (["compare=[a,b,c]"], "compare= takes two models, not 3"),
        (["checkpoint=a", "compare=[a,b]"], "give only one of checkpoint=, compare="),
        (["compare=[a,b]", "report=[a,b]"], "give only one of compare=, report="),
        (["compare=[damaged.ckpt,gone]"], "damaged.ckpt cannot be read as a checkpoint"),
        (["report=a"], "report= needs two runs or more, not 1"),
    ],
)
def test_a_wrong_call_is_refused_and_leaves_nothing(
    call: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "damaged.ckpt").write_text("not a checkpoint")
    monkeypatch.chdir(tmp_path)
    result = call("eval.py", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"\nerror: {message}")
    assert len(result.stderr.splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.ckpt"]


def test_similar_names_of_benchmarks_are_suggested(compose: Callable[..., Any]) -> None:
    for given in ("lamda", "[ptb,lamda]"):
        with pytest.raises(UserError, match=r"; did you mean lambada\?$"):
            compose("eval", "checkpoint=x", f"tasks={given}")


@pytest.mark.parametrize(
    "name",
    ["a b", "a,b=c", "[a,b]", "it's", '"q"', "${x} $HOME 100%", "caf\u00e9\nline", "\\ \\"],
)
def test_paths_are_taken_as_they_are(
    call: Callable[..., subprocess.CompletedProcess[str]],
    small_checkpoint: Path,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    data_dir.rename(name)
    ran = call(
        "eval.py",
        f"checkpoint={small_checkpoint}",
        "tasks=ptb",
        f"data_dir={name}",
        f"run_dir={name}/{name}",
        "device=cpu",
    )
    assert ran.returncode == 0, ran.stderr
    assert (here / name / name / "evaluation.json").is_file()
    assert [path.name for path in here.iterdir()] == [name]
