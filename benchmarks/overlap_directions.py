"""Time of `overlap.py direction=both` on the novels, of two checkouts in turn.

    python benchmarks/overlap_directions.py REALDATA OLD NEW [rounds]

OLD and NEW are checkouts of this project. Each round measures first one, then the other, with the
same arguments and new processes, so that both meet the same load; the first round fills the
compiler's caches and is not counted. CPU time is user and system time of all processes. The
reports must be equal. Also with `workers=1` and with `workers=2`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common.timing import Cost, median, timed

REPORTS = ("overlap.json", "overlap.md", "samples.parquet", "train_documents.parquet")


def measure(checkout: Path, realdata: Path, out: Path, *more: str) -> Cost:
    """Run the stage."""
    paths = os.pathsep.join((str(checkout / "src"), str(checkout)))
    command = [
        sys.executable, str(checkout / "data_prep/overlap.py"),
        f"train=[{realdata}/text/novels]", f"evalsets={realdata}/evalsets",
        "tests.wikitext2=wikitext2_test", "tests.lambada=lambada_test", f"out={out}", *more,
    ]  # fmt: skip
    return timed(
        lambda: subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths}, cwd=checkout,
        )
    )  # fmt: skip


def main() -> None:
    realdata, old, new = (Path(argument).resolve() for argument in sys.argv[1:4])
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    for more in ((), ("workers=2",), ("workers=1",)):
        times: dict[str, list[Cost]] = {"old": [], "new": []}
        for number in range(rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                reports = []
                for name, checkout in (("old", old), ("new", new)):
                    out = Path(folder) / name
                    found = measure(checkout, realdata, out, *more)
                    if number:
                        times[name].append(found)
                    results = json.loads((out / "manifest.json").read_text())["results"]
                    reports.append([results, *((out / name).read_bytes() for name in REPORTS)])
                if reports[0] != reports[1]:
                    raise SystemExit("the two reports differ")
        for name, found in times.items():
            wall, cpu = median(found)
            print(f"{' '.join(more) or 'defaults':10} {name}: {wall:6.2f} s, CPU {cpu:6.2f} s")
        ratios = [
            statistics.median(n[at] / o[at] for o, n in zip(*times.values(), strict=True))
            for at in (0, 1)
        ]
        print(f"{' '.join(more) or 'defaults':10} new / old: {ratios[0]:.2f} of the time, "
              f"{ratios[1]:.2f} of the CPU time", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
