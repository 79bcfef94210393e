"""The frame of `benchmarks/`: alternation, reports, the list of benchmarks and the page."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ablations import OPTIONS, Row, at_time, table
from benchmarks.catalogue import CATALOGUE, NOT_HERE, Benchmark
from benchmarks.common.report import RESULT, figure, report_costs
from benchmarks.common.timing import Cost, alternate, timed
from benchmarks.curve import Point, corpus_settings, run_curve
from benchmarks.memory_by_model import SETTINGS, cell, estimated_gib
from benchmarks.page import PAGE, RESULTS, page, read_results
from benchmarks.run_all import cannot_run, measure, save
from webtext_gpt.cli import parse, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.training.loggers import read_metrics

REPOSITORY = Path(__file__).parents[1]
SUPPORT = {"catalogue", "curve", "page", "run_all"}
"""Modules of the folder that measure nothing themselves."""


def test_the_page_is_made_from_the_results() -> None:
    made = page(read_results(RESULTS))
    assert PAGE.read_text(encoding="utf-8") == made, (
        "run: python benchmarks/page.py > docs/reference/performance.md"
    )


def test_every_script_is_listed() -> None:
    listed = {Path(benchmark.script).stem for benchmark in CATALOGUE} | {*NOT_HERE}
    assert {path.stem for path in (REPOSITORY / "benchmarks").glob("*.py")} <= listed | SUPPORT


def test_sides_alternate_after_the_warm_up() -> None:
    calls: list[str] = []
    sides = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    costs = alternate(sides, rounds=2, warm_up=1)
    assert calls == ["a", "b"] * 3
    assert {name: len(some) for name, some in costs.items()} == {"a": 2, "b": 2}


def test_cpu_seconds_include_those_of_children() -> None:
    import subprocess
    import sys

    busy = "import time\nwhile time.process_time() < 0.2: pass"
    cost = timed(lambda: subprocess.run([sys.executable, "-c", busy], check=True))
    assert cost.cpu >= 0.2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (4.5678, "4.57"),
        (45.678, "45.7"),
        (7890.4, "7,890"),
        (0.0, "0"),
        (math.nan, "-"),
    ],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert figure(value) == text


def test_a_report_has_medians_and_their_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Medians by hand: ours 2 s and 3 CPU s, theirs 5 s and 6 CPU s; 10 tokens."""
    monkeypatch.setenv(RESULT, str(tmp_path / "reports"))
    costs = {
        "ours": [Cost(1, 3), Cost(2, 2), Cost(4, 8)],
        "theirs": [Cost(5, 6), Cost(9, 6), Cost(4, 7)],
    }
    report_costs("How fast?", costs, amount=10, unit="tokens")
    (line,) = (tmp_path / "reports").read_text(encoding="utf-8").splitlines()
    record = json.loads(line)
    assert record["columns"] == ["", "tokens/s", "seconds", "least to most", "CPU seconds"]
    assert record["rows"] == [
        ["ours", "5.00", "2.00", "1.00 to 4.00", "3.00"],
        ["theirs", "2.00", "5.00", "4.00 to 9.00", "6.00"],
    ]
    assert record["ratios"] == {
        "theirs / ours, seconds": 2.5,
        "theirs / ours, CPU seconds": 2.0,
    }


def _script(tmp_path: Path, text: str, minutes: float = 5) -> Benchmark:
    (tmp_path / "script.py").write_text(text, encoding="utf-8")
    source = os.path.relpath(tmp_path / "script", REPOSITORY / "benchmarks")
    return Benchmark("mine", "Mine", source=source, minutes=minutes)


def test_a_benchmark_that_hangs_is_ended(tmp_path: Path) -> None:
    hangs = _script(tmp_path, "import time\ntime.sleep(600)", minutes=0.01)
    assert measure(hangs, {}, quick=False)[1] == "ended after 0.01 minutes"


def test_a_benchmark_that_fails_or_prints_nothing_says_so(tmp_path: Path) -> None:
    fails = _script(tmp_path, "raise SystemExit(3)")
    assert measure(fails, {}, quick=False)[1] == "failed with exit code 3"
    silent = _script(tmp_path, "")
    assert measure(silent, {}, quick=False)[1] == "printed nothing"


def test_the_page_shows_what_a_script_prints_if_it_reports_nothing(tmp_path: Path) -> None:
    record, reason = measure(_script(tmp_path, "print('12 tokens/s')"), {}, quick=False)
    assert reason is None
    save("start_up", record, tmp_path / "results")
    assert "```text\n12 tokens/s\n```\n" in page(read_results(tmp_path / "results"))


def test_a_benchmark_without_what_it_needs_is_skipped_with_the_reason() -> None:
    needy = Benchmark("dedup_speed", "", arguments=("{realdata}",), peers=("no_such_module",))
    assert cannot_run(needy, {"realdata": ""}) == "--realdata names no existing path"
    assert "no_such_module not installed" in str(cannot_run(needy, {"realdata": "/"}))


def test_results_of_single_benchmarks_are_merged_into_the_page(tmp_path: Path) -> None:
    record: dict[str, Any] = {
        "command": "python benchmarks/x.py", "date": "2020-02-02", "load": 0.1, "commit": "abc",
        "reports": [{"question": "How fast?", "columns": ["", "s"], "rows": [["ours", "1"]],
                     "ratios": {"theirs / ours": 2.5}, "notes": ["One core."]}],
    }  # fmt: skip
    save("training_speed", {**record, "date": "1999-01-01"}, tmp_path)
    save("start_up", record, tmp_path)
    save("training_speed", record, tmp_path)
    made = page(read_results(tmp_path))
    assert "1999" not in made
    assert made.count("machine A, 2020-02-02, commit abc, load 0.1") == 2
    assert "**How fast?**\n\n|  | s |\n| --- | --- |\n| ours | 1 |\n" in made
    assert "One core. theirs / ours: **2.50**." in made


CURVE = [Point(2, 200, 1.0, 1.0, 5.0), Point(4, 400, 3.0, 3.0, 4.0), Point(6, 600, 4.0, 4.0, 3.0)]


@pytest.mark.parametrize(
    ("cpu", "loss"), [(0.5, 5.0), (1.0, 5.0), (1.5, 4.75), (3.0, 4.0), (3.5, 3.5), (9.0, 3.0)]
)
def test_the_loss_after_a_time_is_read_between_two_validations(cpu: float, loss: float) -> None:
    assert at_time(CURVE, cpu) == loss


def test_the_differences_of_the_ablations_are_paired() -> None:
    """By hand: differences -1 and -3, mean -2, standard error sqrt(2) / sqrt(2) = 1."""
    losses = {"faithful": (5, 6), "modern": (4, 3), "modern - muon": (4.5, 4.5)}
    rows = [
        Row("text", name, seed, 1, 1, 2.0 if name == "modern" else 1.0, loss, loss)
        for name, some in losses.items()
        for seed, loss in enumerate(some)
    ]
    faithful, modern, without = table(rows)
    assert faithful[1:3] == ["5.500 ± 0.500", ""]
    assert modern[2] == "-2.000 ± 1.000"
    assert without[2] == "+1.000 ± 0.500"  # of 0.5 and 1.5
    assert (modern[-1], without[-1]) == ("2.00", "0.50")


def test_the_ablations_know_what_the_recipe_has() -> None:
    """An option is in the recipe if switching it on in addition changes nothing."""
    command = COMMANDS["train"]

    def composed(*arguments: str) -> dict[str, Any]:
        settings = read_settings(command, parse(["recipe=modern", *arguments], command))
        return settings.model_dump(exclude={"run_dir"})

    modern = composed()
    for name, option in OPTIONS.items():
        assert (composed(*option.on) == modern) == option.in_recipe, name
        assert (composed(*option.off) != modern) == option.in_recipe, name


def test_a_finished_run_is_kept_and_one_of_other_settings_is_refused(tmp_path: Path) -> None:
    finished = {"settings": ["seed=1"], "points": [[2, 200, 1.0, 1.5, 5.0]]}
    (tmp_path / "curve.json").write_text(json.dumps(finished), encoding="utf-8")
    assert run_curve(tmp_path, ["seed=1"]) == [Point(2, 200, 1.0, 1.5, 5.0)]
    with pytest.raises(RuntimeError, match="other settings, seed=1, not seed=2; give another"):
        run_curve(tmp_path, ["seed=2"])


@pytest.mark.slow
def test_a_curve_has_the_losses_of_the_metrics_and_time_that_grows(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The cat sees the dog. A small bird hears the old river. " * 500)
    curve = run_curve(
        tmp_path / "out",
        [
            *corpus_settings(str(text)), f"cache_dir={tmp_path / 'cache'}", "tokenizer=char",
            "model.n_layer=1", "model.n_head=2", "model.n_embd=32", "model.block_size=32",
            "global_batch_tokens=128", "trainer.max_steps=4", "validate_every=2",
            "scheduler.warmup_steps=1",
        ],
    )  # fmt: skip
    metrics = read_metrics(tmp_path / "out" / "run" / "metrics.csv")
    validated = [(int(row["step"]), row["val_loss"]) for row in metrics if "val_loss" in row]
    assert [(point.step, point.loss) for point in curve] == validated
    assert [point.tokens for point in curve] == [256, 512]
    assert 0 < curve[0].cpu < curve[1].cpu
    assert 0 < curve[0].wall < curve[1].wall


def _cells_of_the_memory_page() -> dict[tuple[str, str], list[str]]:
    """Return the three cells of each row of the page's table, by model and settings."""
    page = REPOSITORY / "docs/how-to/gpu-memory.md"
    rows = [
        [part.strip() for part in line.strip("|").split("|")]
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith(("| small |", "| medium |", "| large |", "| xl |"))
    ]
    return {(model, settings): cells for model, settings, *cells in rows}


def test_the_memory_page_is_what_the_estimate_says() -> None:
    rows = _cells_of_the_memory_page()
    assert len(rows) == 24
    for model, settings, column, micro_batch in (
        ("small", "one GPU", 0, 16),
        ("xl", "one GPU, activation checkpointing", 1, 8),
        ("xl", "8 GPUs, ZeRO-2", 2, 16),
    ):
        gib = estimated_gib(model, micro_batch, SETTINGS[settings])
        assert rows[model, settings][column] == f"{micro_batch} ({gib:.1f})"


def test_states_of_xl_on_one_gpu_by_hand() -> None:
    """18 bytes a parameter (4 weights, 4 gradients, 8 moments, 2 of autocast) and activations.

    Of 1,024 tokens in bf16: 16 values per layer, token and unit of width, 2 more once, and the
    logits at 10 bytes.
    """
    states = 18 * 1_557_611_200
    activations = 1024 * (1600 * 2 * (16 * 48 + 2) + 50_257 * 10)
    expected = (states + activations) / 2**30
    assert estimated_gib("xl", 1, ()) == pytest.approx(expected, abs=0.001)


def test_a_cell_names_the_largest_that_fits() -> None:
    totals = {1: 10.0, 2: 15.0, 4: 25.0}
    assert cell(totals, 20) == "2 (15.0)"
    assert cell(totals, 9) == "-"
