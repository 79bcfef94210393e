"""Contract 8: every command of the documents is run, with small inputs, or listed with a reason.

The commands are read from the pages (`tests/documented/pages.py`). `tests/documented/tables.py`
says what is added to a command so that it is short, and which commands are not run;
`tests/documented/outcomes.py` says what a command has to write and print, by the pages.
"""

import email
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data_prep.site import Site
from tests.data_prep.test_end_to_end import article
from tests.documented import corpora, models, sets, texts  # noqa: F401 - they declare inputs
from tests.documented.inputs import Inputs
from tests.documented.outcomes import OUTCOMES, check_outcomes, says_nothing_is_promised
from tests.documented.pages import REPOSITORY, Documented, commands
from tests.documented.running import run
from tests.documented.stores import store_of
from tests.documented.tables import CHANGES, NOT_RUN, changes_of
from webtext_gpt.data import docstrings

RUN = [command for command in commands() if command.text not in NOT_RUN]
SAMPLE = re.compile(r"^python train\.py data=files data\.path=my_texts/$|my_run prompt=.*next=10$")
"""Commands that also run in the quick suite."""
PACKAGE = Path(email.__file__).parent
"""Its docstrings stand for those of all packages, which take a minute to read."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    with Site(article) as site:
        yield Inputs(tmp_path_factory.mktemp("inputs"), site.root)


@pytest.fixture(autouse=True)
def _surroundings(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the commands' own, and the docstrings of one package."""
    monkeypatch.setenv("WEBTEXT_GPT_CACHE", str(inputs.root / "cache"))
    monkeypatch.setattr(docstrings, "_python_files", lambda: sorted(PACKAGE.rglob("*.py")))

    def make(*words: str) -> None:
        done = run(" ".join(words), words, None, inputs.root)
        is_interrupted = done.returncode == 1 and " is saved" in done.stderr
        assert is_interrupted or done.returncode == 0, done.stdout + done.stderr

    monkeypatch.setattr(inputs, "run", make)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=() if SAMPLE.search(command.text) else pytest.mark.slow)
        for command in RUN
    ],
    ids=[command.text[:120] for command in RUN],
)
def test_a_documented_command_runs(
    command: Documented, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, beside = tmp_path / "work", tmp_path / "beside"
    folder.mkdir()
    beside.mkdir()
    added = [word for change in changes_of(command.text) for word in change.arguments]
    words = [*command.words, *added]
    inputs.provide(words, folder)
    checkout = sorted(REPOSITORY.iterdir())
    with store_of(command.text, inputs, beside) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        started = time.time()
        done = run(command.text, words, command.here, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    written = [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if (path.is_file() or path.is_symlink()) and path.lstat().st_mtime >= started
    ]
    check_outcomes(command.text, words, done.stdout, folder, written)
    assert sorted(REPOSITORY.iterdir()) == checkout, "it wrote into the checkout"


def test_the_tables_are_those_of_the_pages() -> None:
    """Every row belongs to a command that is there, and every command that runs is checked."""
    documented = {command.text for command in commands()}
    assert NOT_RUN.keys() <= documented
    ran = [command.text for command in RUN]
    for row in (*CHANGES, *OUTCOMES):
        assert any(re.search(row.pattern, text) for text in ran), row
    assert [text for text in ran if says_nothing_is_promised(text)] == []


def test_most_commands_are_run() -> None:
    """The page reader finds commands of blocks, of sentences, and here-documents."""
    texts_of = [command.text for command in commands()]
    assert len(texts_of) == len(set(texts_of)) >= 200
    assert len(RUN) >= 0.8 * len(texts_of)
    for text in ("webtext-gpt cache empty=true", "python - <<'END'", "make bench quick=1"):
        assert text in texts_of
