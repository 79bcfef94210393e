"""docs/reference/performance.md, made from the results of `make bench`.

    python benchmarks/page.py > docs/reference/performance.md

A benchmark that has not been measured on any machine yet is named with its command.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.catalogue import CATALOGUE, Benchmark
from benchmarks.common.machine import sentence
from benchmarks.common.report import markdown_table

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "benchmarks" / "results"
PAGE = REPOSITORY / "docs" / "reference" / "performance.md"

INTRODUCTION = """\
# Performance

Ours beside other programs. This page is made from `benchmarks/results/` by `make bench`; a test
keeps it current.

```bash
make bench                                    # all that this machine can run
make bench quick=1                            # tries each script in seconds; the page stays
make bench only=training_speed,evaluation_speed
make bench realdata=FOLDER nanogpt=FOLDER datatrove=PYTHON
```

Programs take turns within one process or one process tree, so that a change in the machine's speed
meets all alike; figures are medians. CPU seconds are user and system time of all threads and
child processes, which other work on the machine changes less than elapsed time. The load is the
number of busy processes in the minute before a benchmark began: 0 is a quiet machine. The peers are
installed by `make bench` (the extra `bench`), but for nanoGPT, which is on no package index, and
datatrove, whose requirements exclude ours: `nanogpt=` names a clone, `datatrove=` the interpreter
of an environment that has it. Without them, or without a GPU, those benchmarks are skipped and say
so.
"""


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the results of every machine, in the order of the files' names."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]


def page(results: Sequence[dict[str, Any]]) -> str:
    """Return the text of docs/reference/performance.md.

    Args:
        results: the results of each machine, as `run_all.py` writes them.
    """
    lines = [INTRODUCTION, "## Machines\n"]
    for number, result in enumerate(results):
        lines.append(f"- **{_letter(number)}**: {sentence(result['machine'])}")
    lines.append("" if results else "None yet.\n")
    for benchmark in CATALOGUE:
        lines.extend(_section(benchmark, results))
    return "\n".join(lines)


def _section(benchmark: Benchmark, results: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield f"## {benchmark.title}\n"
    measured = [
        (number, result["benchmarks"][benchmark.name])
        for number, result in enumerate(results)
        if benchmark.name in result["benchmarks"]
    ]
    if not measured:
        wanted = "a GPU and " if benchmark.gpu else ""
        yield f"Not measured yet: {wanted}`make bench only={benchmark.name}`.\n"
    for number, record in measured:
        yield (
            f"`{record['command']}`, machine {_letter(number)}, {record['date']}, commit "
            f"{record['commit']}, load {record['load']}.\n"
        )
        if "output" in record:
            yield f"```text\n{record['output']}\n```\n"
        for report in record["reports"]:
            yield f"**{report['question']}**\n"
            yield markdown_table(report["columns"], report["rows"])
            ratios = [f"{name}: **{value:.2f}**" for name, value in report["ratios"].items()]
            if said := [*report["notes"], *([f"{'; '.join(ratios)}."] if ratios else [])]:
                yield " ".join(said) + "\n"


def _letter(number: int) -> str:
    return chr(ord("A") + number)


if __name__ == "__main__":
    sys.stdout.write(page(read_results(RESULTS)))
