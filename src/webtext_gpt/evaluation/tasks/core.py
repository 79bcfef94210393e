"""CORE: the mean of 22 tasks' accuracies above guessing (Li et al. 2024, "DataComp-LM").

Files, shots and delimiters are those of DCLM's `eval/heavy.yaml`, the baselines those of its
`eval_meta_data_v1.csv` and `eval_meta_data.csv`.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from webtext_gpt.evaluation.benchmark import Measurement, PaperFigures, Result, Suite
from webtext_gpt.evaluation.data_source import DataSource
from webtext_gpt.evaluation.tasks.in_context import COLUMNS, VERSIONS, InContextTask, Kind

PREFIX = "core_"

ANSWER = "\nAnswer: "


def _task(
    label: str,
    category: str,
    shots: int,
    kind: Kind,
    v1: float,
    v2: float | None = None,
    *,
    file: str = "",
    delimiter: str = " ",
    paper: PaperFigures | None = None,
) -> InContextTask:
    """Return a task; `v2` is given if the correction changed the baseline."""
    name = f"{file or label}.jsonl"
    return InContextTask(
        name=f"{PREFIX}{label}",
        source=DataSource(
            files=(name, f"{category}/{name}", f"eval_data/{category}/{name}"),
            columns=COLUMNS[kind],
            origin="https://github.com/mosaicml/llm-foundry in scripts/eval/local_data",
        ),
        paper={} if paper is None else {"accuracy": paper},
        kind=kind,
        shots=shots,
        delimiter=delimiter,
        baselines=(v1, v1 if v2 is None else v2),
    )


_KNOWLEDGE, _LANGUAGE = "world_knowledge", "language_understanding"
_COMMON_SENSE, _SYMBOLS = "commonsense_reasoning", "symbolic_problem_solving"
_READING = "reading_comprehension"

TASKS = (
    _task("hellaswag_zeroshot", _LANGUAGE, 0, "multiple_choice", 25, file="hellaswag",
          paper=PaperFigures(30.9, 39.0, 44.0, 50.2)),
    _task("jeopardy", _KNOWLEDGE, 10, "language_modeling", 0, file="jeopardy_all",
          delimiter=ANSWER),
    _task("bigbench_qa_wikidata", _KNOWLEDGE, 10, "language_modeling", 0),
    _task("arc_easy", _KNOWLEDGE, 10, "multiple_choice", 25, delimiter=ANSWER,
          paper=PaperFigures(41.2, 48.0, 53.5, 59.5)),
    _task("arc_challenge", _KNOWLEDGE, 10, "multiple_choice", 25, delimiter=ANSWER,
          paper=PaperFigures(22.2, 26.2, 26.4, 29.9)),
    _task("copa", _COMMON_SENSE, 0, "multiple_choice", 50),
    _task("commonsense_qa", _COMMON_SENSE, 10, "multiple_choice", 20, 40.3),
    _task("piqa", _COMMON_SENSE, 10, "multiple_choice", 50, delimiter=ANSWER,
          paper=PaperFigures(62.3, 67.0, 69.8, 72.5)),
    _task("openbook_qa", _COMMON_SENSE, 0, "multiple_choice", 25),
    _task("lambada_openai", _LANGUAGE, 0, "language_modeling", 0,
          paper=PaperFigures(32.3, 42.6, 48.8, 52.3)),
    _task("hellaswag", _LANGUAGE, 10, "multiple_choice", 25,
          paper=PaperFigures(30.8, 39.5, 44.4, 51.2)),
    _task("winograd", _LANGUAGE, 0, "schema", 50, file="winograd_wsc"),
    _task("winogrande", _LANGUAGE, 0, "schema", 50),
    _task("bigbench_dyck_languages", _SYMBOLS, 10, "language_modeling", 0),
    _task("agi_eval_lsat_ar", _SYMBOLS, 3, "multiple_choice", 20, 25),
    _task("bigbench_cs_algorithms", _SYMBOLS, 10, "language_modeling", 0),
    _task("bigbench_operators", _SYMBOLS, 10, "language_modeling", 0),
    _task("bigbench_repeat_copy_logic", _SYMBOLS, 10, "language_modeling", 0),
    _task("squad", _READING, 10, "language_modeling", 0),
    _task("coqa", _READING, 0, "language_modeling", 0),
    _task("boolq", _READING, 10, "multiple_choice", 62, delimiter=ANSWER),
    _task("bigbench_language_identification", _LANGUAGE, 10, "multiple_choice", 9.1, 25),
)  # fmt: skip
"""The tasks. GPT-2's accuracies are from nanochat's `dev/estimate_gpt3_core.ipynb`."""


class CoreSuite(Suite):
    """The mean of the centered accuracies, once with each version of the baselines."""

    def combine(self, measured: Sequence[Measurement]) -> Measurement:
        """Return `core_v1` and `core_v2`. See `Suite.combine`."""
        metrics = {
            f"core_{version}": fmean(task.metrics[f"centered_{version}"] for task in measured)
            for version in VERSIONS
        }
        return Measurement(metrics, sum(m.examples for m in measured))

    def table(self, results: Mapping[tuple[str, str], Result], size: str) -> list[list[str]]:
        """Return accuracies and centered accuracies by task, and CORE. See `Suite.table`."""
        header = ["task", "shots", "accuracy", "standard error", f"GPT-2 {size}"]
        rows = [[*header, *(f"{w} {v}" for v in VERSIONS for w in ("baseline", "centered"))]]
        for task in TASKS:
            accuracy = results.get((task.name, "accuracy"))
            if accuracy is None:
                continue
            paper = getattr(task.paper.get("accuracy"), size, None)
            row = [task.name.removeprefix(PREFIX), str(task.shots), f"{accuracy.value:.2f}"]
            row += [_number(accuracy.standard_error, 2), _number(paper, 1)]
            for version, baseline in zip(VERSIONS, task.baselines, strict=True):
                row += [f"{baseline:g}", f"{results[task.name, f'centered_{version}'].value:.4f}"]
            rows.append(row)
        if len(rows) == 1:
            return []
        core = [results.get((self.name, f"core_{version}")) for version in VERSIONS]
        if None not in core:
            ours = [(r.value, r.standard_error) for r in core if r is not None]
            rows.append(_last_row("CORE", [_number(value, 4) for value, _ in ours]))
            rows.append(_last_row("standard error", [_number(error, 4) for _, error in ours]))
            for model in ("small", "medium", "large", "xl"):
                published = [getattr(self.paper.get(f"core_{v}"), model, None) for v in VERSIONS]
                rows.append(_last_row(f"GPT-2 {model}", [_number(p, 4) for p in published]))
        return rows


def _last_row(name: str, centered: Sequence[str]) -> list[str]:
    return [name, "", "", "", "", *(cell for value in centered for cell in ("", value))]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


CORE = CoreSuite(
    name="core",
    benchmarks=TASKS,
    paper={"core_v1": PaperFigures(0.1139, 0.1849, 0.2146, 0.2565)},
)
"""GPT-2's CORE is from the same notebook; nanochat keeps the baselines of version 1."""
