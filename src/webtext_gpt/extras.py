"""Optional dependencies: find the extra of pyproject.toml that has a missing package."""

import re
import shlex
import shutil
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, requires
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from webtext_gpt.errors import causes

OURS = "webtext-gpt"

DISTRIBUTIONS = {"hydra": "hydra-core", "yaml": "pyyaml"}
"""Distributions whose packages are imported under another name."""

PREFERRED = {"data_prep": "corpus", "finetuning": "finetuning"}
"""Extra to suggest, by folder of the code that needs a package, if several extras have it."""

BUNDLES = ("all", "bench", "dev")
"""Extras that are never suggested, because they bring far more than one package."""


def check_installed(package: str) -> None:
    """Find a package without importing it.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def require(extra: str) -> None:
    """Exit with a message and code 1 if a package of an extra is not installed.

    For scripts, before they import packages of the extra. An import that fails later is explained
    by `missing_extra`.
    """
    for name in sorted(_extras().get(extra, ())):
        try:
            distribution(name)
        except PackageNotFoundError:
            print(f"\nerror: {_advice(name, extra)}", file=sys.stderr)
            sys.exit(1)


def missing_extra(error: BaseException | None) -> str | None:
    """Return how to install the package that an import did not find.

    Args:
        error: an exception; its causes are searched too.

    Returns:
        The message, or None if no import failed, or the package is not a dependency of ours.
    """
    failed = (e for e in causes(error, handled=False) if isinstance(e, ModuleNotFoundError))
    error = next(failed, None)
    if error is None or not error.name:
        return None
    package = error.name.partition(".")[0]
    if error.name != package and find_spec(package) is not None:
        return None  # the package is there, but not this module of it
    name = _normalized(DISTRIBUTIONS.get(package, package))
    extras = [extra for extra, names in _extras().items() if name in names]
    if not extras:
        return None
    preferred = [PREFERRED[part] for part in _folders(error.__traceback__) if part in PREFERRED]
    own = [extra for extra in extras if extra not in BUNDLES] or extras
    smallest = min(own, key=lambda extra: len(_extras()[extra]))
    return _advice(name, next((extra for extra in preferred if extra in own), smallest))


@cache
def _extras() -> dict[str, set[str]]:
    """Return the distributions of each extra; those of every installation are under ``""``."""
    extras: dict[str, set[str]] = {}
    try:
        requirements = requires(OURS) or []
    except PackageNotFoundError:  # neither installed nor a checkout in editable mode
        return extras
    for requirement in requirements:
        name, extra = re.match(r"[\w.-]+", requirement), re.search(r"extra == '(.+?)'", requirement)
        if name is not None:
            extras.setdefault(extra[1] if extra else "", set()).add(_normalized(name[0]))
    return extras


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _folders(traceback: TracebackType | None) -> list[str]:
    """Return the names of the folders whose code was running, innermost first."""
    folders: list[str] = []
    while traceback is not None:
        folders[:0] = Path(traceback.tb_frame.f_code.co_filename).parts[-2::-1]
        traceback = traceback.tb_next
    return folders


def _advice(name: str, extra: str) -> str:
    """Return the command that installs a missing distribution, for this installation."""
    checkout = Path(__file__).parents[2]
    what = f"[{extra}]" if extra else ""
    if (checkout / "pyproject.toml").is_file():
        here = checkout == Path.cwd()
        pins = _quoted("constraints.txt" if here else str(checkout / "constraints.txt"))
        target = f"-c {pins} -e {_quoted(('.' if here else str(checkout)) + what)}"
    else:
        target = _quoted(OURS + what)
    return (
        f"this needs the package {name}, which is not installed; install it with: "
        f"{_pip()} install {target}"
    )


def _quoted(text: str) -> str:
    return f"'{text}'" if "[" in text and "'" not in text else shlex.quote(text)


def _pip() -> str:
    """Return the pip of this Python, by its short name if that is what a shell would find."""
    found = shutil.which("pip")
    if found is not None and Path(found).parent == Path(sys.executable).parent:
        return "pip"
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m pip"
