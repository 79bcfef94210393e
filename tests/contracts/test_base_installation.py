"""With the base packages alone, models train, write and are evaluated; other commands say what to
install.

The other packages of this environment are hidden from the commands, and its metadata are those of
pyproject.toml.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
STEPS = ("model.n_layer=1", "model.n_embd=32", "model.block_size=32", "tokenizer.vocab_size=300",
         "trainer.max_steps=2", "num_workers=0")  # fmt: skip

HIDE = """
import sys
from importlib.machinery import PathFinder
from importlib.metadata import DistributionFinder

PACKAGES, DISTRIBUTIONS = {packages!r}, {distributions!r}


class BaseFinder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in PACKAGES
        return None if hidden else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, context=DistributionFinder.Context()):
        for found in super().find_distributions(context):
            if found.metadata["Name"].lower().replace("_", "-") not in DISTRIBUTIONS:
                yield found


sys.meta_path[sys.meta_path.index(PathFinder)] = BaseFinder
"""


def _expanded(requirements: Iterable[str]) -> Iterator[Requirement]:
    """Yield the requirements, with the extras of this project replaced by what they hold."""
    for requirement in map(Requirement, requirements):
        if requirement.name == PROJECT["name"]:
            for extra in requirement.extras:
                yield from _expanded(PROJECT["optional-dependencies"][extra])
        else:
            yield requirement


def _installed_with(requirements: Iterable[Requirement], seen: set[str]) -> set[str]:
    """Add to `seen` the names of all distributions that the requirements bring."""
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        key = f"{name}[{','.join(sorted(requirement.extras))}]"
        if key in seen:
            continue
        seen |= {name, key}
        try:
            needed = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        extras = requirement.extras | {""}
        _installed_with(
            [
                r
                for r in needed
                if not r.marker or any(r.marker.evaluate({"extra": e}) for e in extras)
            ],
            seen,
        )
    return seen


@pytest.fixture(scope="module")
def base_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for PYTHONPATH, of a module that Python runs at its start, and our metadata."""
    folder = tmp_path_factory.mktemp("base")
    base = _installed_with(map(Requirement, PROJECT["dependencies"]), {"webtext-gpt"})
    owners = {
        package: {canonicalize_name(name) for name in names}
        for package, names in packages_distributions().items()
    }
    packages = {package for package, names in owners.items() if not names & base}
    distributions = set().union(*owners.values()) - base
    assert {"datasets", "daft", "pyarrow", "deepspeed"} <= packages
    assert not {"torch", "lightning", "webtext_gpt", "data_prep"} & packages
    (folder / "sitecustomize.py").write_text(
        HIDE.format(packages=packages, distributions=distributions)
    )
    metadata = folder / f"webtext_gpt-{PROJECT['version']}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {PROJECT['name']}", f"Version: {PROJECT['version']}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in PROJECT["dependencies"]]
    for extra, requirements in PROJECT["optional-dependencies"].items():
        lines += [f"Requires-Dist: {r}; extra == '{extra}'" for r in _expanded(requirements)]
    metadata.write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def call(base_only: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python with the base alone, from the checkout."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        paths = [str(base_only), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.slow
def test_the_base_trains_generates_and_evaluates(
    call: Callable[..., subprocess.CompletedProcess[str]], prose_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "ptb_test.txt").write_text(" the cat sees the dog \n")
    run, data = f"run_dir={tmp_path / 'run'}", f"data.path={prose_file}"
    checkpoint = f"checkpoint={tmp_path / 'run'}"
    for arguments in (
        ["train.py", "data=files", data, run, *STEPS],
        ["generate.py", checkpoint, "prompt=the", "max_new_tokens=2"],
        ["eval.py", checkpoint, "tasks=[ptb]", f"data_dir={tmp_path}", f"run_dir={tmp_path}/out"],
    ):
        done = call(*arguments)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "loss.png").is_file()
    assert (tmp_path / "out" / "evaluation.json").is_file()


def check_message(done: subprocess.CompletedProcess[str], extra: str) -> None:
    assert done.returncode == 1, done.stderr
    *_, message = done.stderr.strip().splitlines()
    pattern = r"error: this needs the package [\w-]+, which is not installed; install it with: .*"
    assert re.fullmatch(pattern + re.escape(f" -e '.[{extra}]'"), message), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["data_prep/links.py", "dumps=[x]", "out=y"], "corpus"),
        pytest.param(
            ["data_prep/build.py", "dumps=[x]", "out=y"], "corpus", marks=pytest.mark.slow
        ),
        (["-m", "webtext_gpt.lm_eval", "--tasks", "x"], "lm-eval"),
        (["eval.py", "checkpoint=CHECKPOINT", "tasks=[ptb]"], "hub"),
        (["serve.py", "checkpoint=CHECKPOINT"], "explorer"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_command_names_its_extra(
    call: Callable[..., subprocess.CompletedProcess[str]],
    small_checkpoint: Path,
    arguments: list[str],
    extra: str,
) -> None:
    given = [a.replace("CHECKPOINT", str(small_checkpoint)) for a in arguments]
    check_message(call(*given), extra)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["data=hub", "data.name=x"], "hub"),
        (["data=files", "data.path=TMP/x.parquet"], "hub"),
        (["data=files", "data.path=PROSE", "logger=wandb"], "wandb"),
        (["data=files", "data.path=PROSE", "logger=tensorboard"], "tensorboard"),
        (
            ["data=files", "data.path=PROSE", "strategy=deepspeed_zero2", "trainer.devices=2",
             "trainer.accelerator=cpu"],
            "deepspeed",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)  # fmt: skip
def test_a_choice_names_its_extra(
    call: Callable[..., subprocess.CompletedProcess[str]],
    prose_file: Path,
    tmp_path: Path,
    arguments: list[str],
    extra: str,
) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    given = [a.replace("PROSE", str(prose_file)).replace("TMP", str(tmp_path)) for a in arguments]
    check_message(call("train.py", f"run_dir={tmp_path / 'run'}", *STEPS, *given), extra)
    assert not (tmp_path / "run").exists()
