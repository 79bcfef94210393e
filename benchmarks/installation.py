"""Installation side by side: time, packages and size of what make targets install.

    python benchmarks/installation.py a3d1839:setup HEAD:.venv/.base-up-to-date

Each argument is REVISION:TARGET. The revision is cloned into a temporary folder, and the target is
made there, which creates `.venv`. Installations run one after another, with pip's own cache of
downloads, so run the script twice and keep the second run's figures. CPU seconds are those of all
processes; on a busy machine they are the ones to compare.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common.timing import timed

REPOSITORY = Path(__file__).parents[1]


def run(*command: str, folder: Path) -> str:
    result = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, check=True)
    return result.stdout


def measure(revision: str, target: str, folder: Path) -> str:
    run("git", "clone", "--quiet", str(REPOSITORY), "clone", folder=folder)
    clone = folder / "clone"
    run("git", "checkout", "--quiet", revision, folder=clone)
    seconds, cpu = timed(lambda: run("make", target, folder=clone))
    python = str(clone / ".venv/bin/python")
    packages = run(python, "-m", "pip", "list", "--format=freeze", folder=clone).splitlines()
    megabytes = int(run("du", "-sm", ".venv", folder=clone).split()[0])
    return f"{seconds:4.0f} s   {cpu:4.0f} CPU s   {len(packages):3} packages   {megabytes:5,} MB"


def main() -> None:
    os.environ.pop("PYTHONPATH", None)  # the clone's own packages are meant
    for argument in sys.argv[1:]:
        revision, _, target = argument.partition(":")
        commit = run("git", "rev-parse", revision, folder=REPOSITORY).strip()
        with tempfile.TemporaryDirectory() as folder:
            print(f"{argument:36} {measure(commit, target, Path(folder))}", flush=True)


if __name__ == "__main__":
    main()
