"""CPU seconds that commands take to start: `python benchmarks/start_up.py [repeats=5]`.

Prints the lowest of the repeats, in seconds of user and system time of the process and its
children. Imports, `--help` and two whole steps are measured to the end, other commands to their
first line of output. Each line of training contains the ones above it.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
TEXT = "The cat sees the dog. A small bird hears the old river. " * 500
RUN = (
    *("data=files", "tokenizer.vocab_size=280", "global_batch_tokens=256", "validate_every=2"),
    *("model.n_layer=2", "model.n_head=2", "model.n_embd=32", "model.block_size=32"),
    *("trainer.max_steps=2", "trainer.accelerator=cpu", "trainer.precision=32-true"),
    "scheduler.warmup_steps=1",
)
TO_FIRST_STEP = """
import os, runpy, sys
from webtext_gpt.data.sampler import GlobalBatchSampler
GlobalBatchSampler.__iter__ = lambda *_: os._exit(0)  # the first batch is asked for
del sys.argv[0]
runpy.run_path("train.py", run_name="__main__")
"""
GENERATE = ("prompt=The", "max_new_tokens=2", "device=cpu")


def cpu_seconds(*command: str, first_line: bool = False) -> float:
    """Run a Python command; return its CPU seconds to its end or to its first line."""
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # threads that wait would count as busy
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        to_first_line = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
        process.stdout.read()
        errors = process.stderr.read().decode() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or (first_line and not line):
        raise SystemExit(f"{' '.join(command)} failed:\n{errors}")
    return to_first_line if first_line else usage.ru_utime + usage.ru_stime


def main() -> None:
    repeats = int(sys.argv[1].partition("=")[2]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        text, run, cache = Path(folder, "text.txt"), f"{folder}/run", f"cache_dir={folder}/cache"
        text.write_text(TEXT)
        train = ("train.py", *RUN, f"data.path={text}", cache)
        cpu_seconds(*train, f"run_dir={run}")  # builds the shards and a model to generate with
        new_run = itertools.count()
        tries = {
            "import torch": lambda: cpu_seconds("-c", "import torch"),
            "import webtext_gpt.training.pretrain": lambda: cpu_seconds(
                "-c", "import webtext_gpt.training.pretrain"
            ),
            "train.py --help": lambda: cpu_seconds("train.py", "--help"),
            "train.py, first line": lambda: cpu_seconds(
                *train, f"run_dir={folder}/{next(new_run)}", first_line=True
            ),
            "train.py, first step": lambda: cpu_seconds(
                "-c", TO_FIRST_STEP, *train, f"run_dir={folder}/{next(new_run)}"
            ),
            "train.py, two steps and the end": lambda: cpu_seconds(
                *train, f"run_dir={folder}/{next(new_run)}"
            ),
            "generate.py, first line": lambda: cpu_seconds(
                "generate.py", f"checkpoint={run}", *GENERATE, first_line=True
            ),
        }
        for name, measure in tries.items():
            print(f"{min(measure() for _ in range(repeats)):6.2f}  {name}", flush=True)


if __name__ == "__main__":
    main()
