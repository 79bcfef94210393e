"""Commands import what they use, and nothing else before their first line."""

import subprocess
import sys
from pathlib import Path

import pytest

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
print(*sys.modules)
"""

TRAINING_UP_TO_ITS_FIRST_LINE = """
import runpy, sys
del sys.argv[0]
import webtext_gpt
import lightning
lightning.Trainer.fit = lambda *_, **__: sys.exit()
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    print(*sys.modules)
"""

HELP = """
import runpy, sys
del sys.argv[0]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
print(*sys.modules)
"""

NEVER_NEEDED = {"deepspeed", "transformers", "datasets", "pandas", "pyarrow", "scipy", "wandb"}
NEEDED_LATER = {"torch._dynamo", "torch.distributed.fsdp", "matplotlib", "tensorboard"}


def modules_of(code: str, *arguments: str) -> tuple[set[str], list[str]]:
    """Run code in its own process; return the modules it has imported, and its lines."""
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert result.returncode == 0, result.stderr
    *lines, modules = result.stdout.splitlines()
    return set(modules.split()), lines


def test_commands_that_read_a_model_do_not_import_lightning(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    """Run generation and evaluation, and import the conversion of weights."""
    (tmp_path / "ptb_test.txt").write_text(" the cat sees the dog \n")
    imported, _ = modules_of(COMMANDS_OF_A_MODEL, str(small_checkpoint), str(tmp_path))
    assert (tmp_path / "out" / "evaluation.json").exists()
    assert "torch" in imported
    assert not imported & ({"lightning"} | NEVER_NEEDED | NEEDED_LATER)


def test_training_prints_its_plan_before_it_imports_what_only_its_steps_need(
    small_run: list[str],
) -> None:
    imported, lines = modules_of(TRAINING_UP_TO_ITS_FIRST_LINE, "train.py", *small_run)
    assert any(line.startswith("training    6 steps") for line in lines)
    assert "lightning" in imported
    assert not imported & (NEVER_NEEDED | NEEDED_LATER)


@pytest.mark.slow
def test_training_never_imports_the_compiler_that_it_does_not_use(small_run: list[str]) -> None:
    """A whole run: AdamW's steps, Lightning's logs, validation, checkpoint and summary."""
    imported, lines = modules_of(HELP, "train.py", *small_run, "callbacks.loss_curve=null")
    assert any(line.startswith("validation loss") for line in lines)
    assert not imported & {"torch._dynamo", "torch._inductor", "sympy", "matplotlib"}


@pytest.mark.parametrize(
    "script", ["train.py", "finetune.py", "generate.py", "eval.py", "serve.py"]
)
def test_help_imports_no_torch(script: str) -> None:
    imported, lines = modules_of(HELP, script, "--help")
    assert lines
    assert not imported & ({"torch", "lightning", "numpy", "tokenizers"} | NEVER_NEEDED)
