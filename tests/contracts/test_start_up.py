"""Commands that do not train do not import what only training needs."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

COMMANDS_OF_A_MODEL = """
import runpy, sys
checkpoint, texts = sys.argv[1:]
for script, *arguments in (
    ["generate.py", "prompt=the", "max_new_tokens=2"],
    ["eval.py", "tasks=[ptb]", f"data_dir={texts}", f"run_dir={texts}/out"],
):
    sys.argv = [script, f"checkpoint={checkpoint}", "device=cpu", *arguments]
    runpy.run_path(script, run_name="__main__")
import webtext_gpt.weights.convert
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_commands_that_read_a_model_do_not_import_lightning(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    """Run generation and evaluation, and import the conversion of weights."""
    (tmp_path / "ptb_test.txt").write_text(" the cat sees the dog \n")
    command = [sys.executable, "-c", COMMANDS_OF_A_MODEL, str(small_checkpoint), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "evaluation.json").exists()
    imported = set(result.stdout.splitlines()[-1].split())
    assert "torch" in imported
    assert not imported & {"lightning", "deepspeed", "transformers"}
