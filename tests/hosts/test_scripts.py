"""The job scripts in examples/ are those of the documentation."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("folder", "launcher"), [("slurm", "srun"), ("torchrun", "torchrun")])
def test_the_training_script_is_the_documented_one(
    folder: str, launcher: str, documented: Callable[..., str]
) -> None:
    first, about, *rest = (EXAMPLES / folder / "train.sh").read_text().splitlines()
    assert about.startswith("# Train on two machines ")
    assert [first, *rest] == documented(launcher, {}).splitlines()


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*/*.sh")), ids=lambda path: path.name)
def test_bash_can_read_the_script(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=10)
