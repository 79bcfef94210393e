"""Declared dependencies are the imported ones, and each module uses the extra that it may."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
OURS = {"webtext_gpt", "data_prep"}
DEVELOPERS = {"bench", "dev", "docs"}
"""Extras of those who work on the project."""

MODULES = sorted(
    path.relative_to(REPOSITORY)
    for root in ("src", "data_prep")
    for path in (REPOSITORY / root).rglob("*.py")
) + [Path(f"{name}.py") for name in ("train", "finetune", "generate", "eval", "serve")]

ALWAYS = {
    "data_prep/": "corpus",
    "src/webtext_gpt/data/bpe_loops.py": "corpus",
    "src/webtext_gpt/data/parquet.py": "hub",
    "src/webtext_gpt/explorer/application.py": "explorer",
    "src/webtext_gpt/explorer/guards.py": "explorer",
    "src/webtext_gpt/explorer/serving.py": "explorer",
    "src/webtext_gpt/model/int8": "int8",
    "src/webtext_gpt/lm_eval": "lm-eval",
    "src/webtext_gpt/training/distributed/deepspeed_internals.py": "deepspeed",
    "src/webtext_gpt/training/distributed/zero.py": "deepspeed",
}
"""Modules that import an extra as soon as they are imported; all others need the base alone."""

LAZILY = {"data_prep/": ("corpus", "ray")}
"""Extras that functions of a folder import. Other folders may import any."""

NOT_IMPORTED = {"gcsfs", "lxml-html-clean", "onnxscript", "s3fs"}
"""Distributions that another dependency imports by itself: fsspec, a store by its address."""


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distributions(requirements: list[str]) -> set[str]:
    """Return the normalized names in a list of requirements, with our own extras expanded."""
    found: set[str] = set()
    for requirement in requirements:
        name, extras = re.match(r"([\w.-]+)(?:\[(.+?)\])?", requirement).groups()
        if name == PROJECT["name"]:
            for extra in extras.split(","):
                found |= _distributions(PROJECT["optional-dependencies"][extra])
        else:
            found.add(_normalized(name))
    return found


BASE = _distributions(PROJECT["dependencies"])
EXTRAS = {
    extra: _distributions(requirements)
    for extra, requirements in PROJECT["optional-dependencies"].items()
}


def _imports(node: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield each imported module's dotted name, and whether it is imported at the module's level.

    Imports for type checkers alone are left out.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, not inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute here"
            yield from ((f"{child.module}.{alias.name}", not inside) for alias in child.names)
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, inside or function)


def _imported(path: Path) -> Iterator[tuple[str, bool]]:
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    yield from sorted(set(_imports(tree)))


def _distribution(module: str) -> str | None:
    """Return the distribution of a third-party module, or None for our own and Python's."""
    package = module.partition(".")[0]
    if package in OURS or package in sys.stdlib_module_names:
        return None
    others = {
        "hydra": "hydra-core",
        "markdown_it": "markdown-it-py",
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
    }
    return others.get(package, _normalized(package))


def _extra_of(path: str) -> str | None:
    return next((extra for prefix, extra in ALWAYS.items() if path.startswith(prefix)), None)


def _file_of(module: str) -> str | None:
    """Return the file of one of our modules, or of the module that defines an imported name."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        path = Path(*parts[:length])
        for root in (Path("src"), Path()):
            for file in (root / path.with_suffix(".py"), root / path / "__init__.py"):
                if (REPOSITORY / file).is_file():
                    return file.as_posix()
    return None


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_what_its_installation_has(path: Path) -> None:
    extra = _extra_of(path.as_posix())
    always = BASE | (EXTRAS[extra] if extra else set())
    lazily = next((e for prefix, e in LAZILY.items() if path.as_posix().startswith(prefix)), EXTRAS)
    anything = BASE.union(*(EXTRAS[name] for name in lazily if name not in DEVELOPERS))
    for module, at_once in _imported(path):
        distribution = _distribution(module)
        if distribution is not None:
            allowed = always if at_once else anything
            assert distribution in allowed, f"{path} imports {module}, which it may not have"
        elif at_once and module.partition(".")[0] in OURS:
            file = _file_of(module)
            assert file is not None, f"{path} imports {module}, which does not exist"
            needed = _extra_of(file)
            met = needed is None or EXTRAS[needed] <= always
            assert met, f"{path} imports {file}, which needs {needed}"


def test_every_declared_package_is_imported() -> None:
    imported = {_distribution(module) for path in MODULES for module, _ in _imported(path)}
    users = EXTRAS["all"] | BASE
    assert users - imported <= NOT_IMPORTED
    assert not BASE & set().union(*EXTRAS.values()), "an extra repeats a package of the base"


def test_all_holds_every_extra_of_users() -> None:
    assert EXTRAS["all"] == set().union(*(EXTRAS[e] for e in EXTRAS if e not in DEVELOPERS))
    assert EXTRAS["dev"] >= EXTRAS["all"]


def test_tested_versions_name_every_declared_package() -> None:
    pinned = {
        _normalized(line.partition("==")[0])
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert (BASE | EXTRAS["dev"]) - pinned == {"types-tqdm"} - pinned


def test_the_citation_has_the_version() -> None:
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\ntitle: {PROJECT['name']}\n" in citation
