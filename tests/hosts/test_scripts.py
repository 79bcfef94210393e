"""The job scripts in examples/slurm are those of the documentation."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "examples" / "slurm"


def test_the_training_script_is_the_documented_one(documented: Callable[..., str]) -> None:
    first, about, *rest = (SCRIPTS / "train.sh").read_text().splitlines()
    assert about.startswith("# Train on two machines under SLURM")
    assert [first, *rest] == documented("srun", {}).splitlines()


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_bash_can_read_the_script(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=10)
