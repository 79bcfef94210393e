"""Every benchmark that this machine can run, and the page of their results: `make bench`.

    python -m benchmarks.run_all [--quick] [--only NAME,...] [--realdata FOLDER] [--nanogpt FOLDER]
                                   [--datatrove PYTHON]

Each script of `CATALOGUE` runs by itself, ours and the peers in turn within it, and is ended if it
takes too long. Its report (`common/report.py`), or else its output, goes to `results/MACHINE.json`
with the date, the commit and the load, and docs/reference/performance.md is written again
(`page.py`). A benchmark that cannot run keeps its earlier result. `--quick` only tries
whether the scripts work: small shapes, few rounds, and results in `results/quick/`, which the page
leaves out.
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.catalogue import CATALOGUE, Benchmark
from benchmarks.common.machine import file_name, machine, moment
from benchmarks.common.report import RESULT
from benchmarks.page import PAGE, RESULTS, page, read_results
from webtext_gpt.files import replaced

REPOSITORY = Path(__file__).parents[1]


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--quick", action="store_true")
    options.add_argument("--only", type=lambda text: text.split(","), default=None)
    options.add_argument("--realdata", type=Path, default=REPOSITORY.parent / "shared/realdata")
    options.add_argument("--nanogpt", type=Path)
    options.add_argument("--datatrove", type=Path)
    args = options.parse_args()
    names = [benchmark.name for benchmark in CATALOGUE]
    if unknown := set(args.only or ()).difference(names):
        options.error(f"--only: {', '.join(sorted(unknown))}: not one of {', '.join(names)}")
    given = {
        name: str(path.absolute()) if path is not None and path.exists() else ""
        for name, path in (
            ("realdata", args.realdata), ("nanogpt", args.nanogpt), ("datatrove", args.datatrove)
        )
    }  # fmt: skip
    folder = RESULTS / "quick" if args.quick else RESULTS
    failed = []
    for benchmark in CATALOGUE:
        if benchmark.name not in args.only if args.only else benchmark.on_request:
            continue
        if reason := cannot_run(benchmark, given):
            print(f"\n== {benchmark.name}: skipped, {reason}", flush=True)
            continue
        print(f"\n== {benchmark.name}", flush=True)
        record, reason = measure(benchmark, given, quick=args.quick)
        if reason:
            print(f"== {benchmark.name}: {reason}", flush=True)
            failed.append(benchmark.name)
        else:
            save(benchmark.name, record, folder)
    if not args.quick:
        with replaced(PAGE) as partial:
            partial.write_text(page(read_results(RESULTS)), encoding="utf-8")
    print(f"\n{folder}" + ("" if args.quick else f", {PAGE}"))
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def cannot_run(benchmark: Benchmark, given: dict[str, str]) -> str | None:
    """Return why a benchmark cannot run on this machine, or None.

    Args:
        benchmark: the benchmark.
        given: paths of folders and programs by their name in the arguments, empty if not given.
    """
    for name in benchmark.needs:
        if not given[name]:
            return f"--{name} names no existing path"
    import torch

    if benchmark.gpu and not torch.cuda.is_available():
        return "there is no GPU that torch can use"
    missing = [name for name in benchmark.peers if importlib.util.find_spec(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed; `make bench` installs the extra `bench`"
    return None if (REPOSITORY / benchmark.script).exists() else "the script does not exist"


def measure(
    benchmark: Benchmark, given: dict[str, str], *, quick: bool
) -> tuple[dict[str, Any], str | None]:
    """Run a script; return its record, and its failure or None."""
    arguments = benchmark.quick_arguments if quick else benchmark.arguments
    command = [sys.executable, benchmark.script, *(a.format(**given) for a in arguments)]
    record = {"command": f"python {benchmark.script} {' '.join(arguments)}".strip(), **moment()}
    record["commit"] = _commit()
    with tempfile.TemporaryDirectory() as folder:
        reports, output = Path(folder) / "reports", Path(folder) / "output"
        began = time.monotonic()
        with (
            output.open("wb") as stdout,
            subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdout=stdout,
                env={**os.environ, RESULT: str(reports)},
                start_new_session=True,  # so that its own processes can be ended with it
            ) as process,
        ):
            try:
                process.wait(benchmark.minutes * 60)
            except subprocess.TimeoutExpired:
                return record, f"ended after {benchmark.minutes} minutes"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        record["seconds"] = round(time.monotonic() - began)
        printed = output.read_text(encoding="utf-8", errors="replace")
        print(printed, flush=True)
        if process.returncode:
            return record, f"failed with exit code {process.returncode}"
        lines = reports.read_text(encoding="utf-8").splitlines() if reports.exists() else []
    record["reports"] = [json.loads(line) for line in lines]
    if not lines:
        record["output"] = printed.strip()
    return record, None if lines or printed else "printed nothing"


def save(name: str, record: dict[str, Any], folder: Path) -> None:
    """Put a benchmark's record into this machine's file of results."""
    described = machine()
    path = folder / f"{file_name(described)}.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = {**results.get("benchmarks", {}), name: record}
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        whole = {"machine": described, "benchmarks": found}
        partial.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return found.stdout.strip()


if __name__ == "__main__":
    main()
