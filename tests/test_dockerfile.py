"""The Dockerfile's lines work with wheels of this checkout; no image is built."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def _instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each with its arguments."""
    text = re.sub(r"\\\n\s*", "", (REPOSITORY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of this checkout alone, built without a network."""
    folder = tmp_path_factory.mktemp("context") / "wheels"
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    pip = [sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", str(folder)]
    subprocess.run([*pip, str(REPOSITORY)], check=True, timeout=120)
    return folder


def test_the_instructions_are_known_and_the_program_is_started_by_a_user() -> None:
    words = [word for word, _ in _instructions()]
    assert {*words} <= {"FROM", "ARG", "COPY", "RUN", "USER", "WORKDIR", "ENTRYPOINT"}
    assert {rest.split()[0] for word, rest in _instructions() if word == "FROM"} == {
        "python:3.12-slim"
    }
    assert words.index("USER") < words.index("ENTRYPOINT")
    (user,) = (rest for word, rest in _instructions() if word == "USER")
    made = [rest for word, rest in _instructions() if word == "RUN" and "useradd" in rest]
    assert shlex.split(made[0])[-1] == user != "root"


def test_what_is_copied_exists_and_is_sent_to_the_daemon(wheels: Path) -> None:
    copied = [rest.split() for word, rest in _instructions() if word == "COPY"]
    sources = [words[0] for words in copied if not words[0].startswith("--from")]
    assert sources == [wheels.name]
    (wheel,) = wheels.iterdir()
    assert re.fullmatch(r"webtext_gpt-[\d.]+-py3-none-any\.whl", wheel.name)
    assert (REPOSITORY / ".dockerignore").read_text().split() == ["*", "!wheels"]


@pytest.mark.slow
def test_the_installing_lines_work_in_a_fresh_environment(wheels: Path, tmp_path: Path) -> None:
    """Without the dependencies, whose wheels are not here; this environment's are used instead."""
    installed = tmp_path / "webtext-gpt"
    (default,) = (rest for word, rest in _instructions() if word == "ARG")
    (program,) = (json.loads(rest) for word, rest in _instructions() if word == "ENTRYPOINT")
    ran = 0
    for word, line in _instructions():
        if word == "RUN" and "/opt/webtext-gpt" in line:
            here = line.replace("/opt/webtext-gpt", str(installed)).replace("/wheels", str(wheels))
            environment = {**os.environ, "PIP_NO_DEPS": "1", default.split("=")[0]: "hub"}
            environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
            subprocess.run(["sh", "-ec", here], check=True, timeout=120, env=environment)
            ran += 1
    assert ran == 2
    (lent,) = (path for path in map(Path, sys.path) if path.name == "site-packages")
    found = subprocess.run(
        [program[0].replace("/opt/webtext-gpt", str(installed)), "train", "--cfg"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(lent)},
        timeout=120,
    )
    assert "n_layer: " in found.stdout
