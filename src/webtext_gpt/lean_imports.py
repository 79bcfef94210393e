"""`import lightning` without the parts of its dependencies that training does not use.

Lightning needs two classes of torchmetrics and one of torch's compiler. The packages' own
`__init__` then import scipy.signal for audio metrics, transformers for text metrics, matplotlib for
plots and all of `torch._dynamo`: 7 of the 10 seconds of CPU time that `import lightning` takes.
`install` makes the first `import lightning` of a process defer them to their first use:

- `torchmetrics` and `torchmetrics.functional` run their `__init__` when a name is looked up that
  Lightning does not need; their submodules are imported as usual;
- `torchmetrics.utilities.plot` imports matplotlib when it plots;
- Lightning gets a stand-in for `torch._dynamo.OptimizedModule`, which it only uses in instance
  checks, and a form of `torch.compiler.disable` that does nothing until `torch._dynamo` is
  imported, before which nothing is compiled;
- the methods of torch's optimizers that import `torch._dynamo`, to be left out of compiled code,
  do that only once it is imported.

If another version of these packages lacks a name used here, its import is merely slow again.
"""

import builtins
import contextlib
import functools
import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any, ParamSpec, TypeVar, cast

NEEDED_NAMES = {
    "Metric": ("torchmetrics.utilities", "torchmetrics.metric"),  # they import each other
    "MetricCollection": ("torchmetrics.utilities", "torchmetrics.collections"),
    "__version__": ("torchmetrics.__about__",),
}
"""Names that Lightning imports from `torchmetrics`, and the modules that are imported for them.

The last module defines the name.
"""

P = ParamSpec("P")
T = TypeVar("T")


def install() -> None:
    """Make the first `import lightning` of this process a lean one."""
    if "lightning" not in sys.modules and not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder:
    """Import finder that finds `lightning` once, and imports it within `_lean`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "lightning":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                with _lean():
                    execute(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def _lean() -> Iterator[None]:
    """Defer the imports that this module's docstring lists while Lightning is imported."""
    import torch

    import_module, disable = builtins.__import__, torch.compiler.disable

    def lean_import(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        importer = str((globals or {}).get("__name__"))
        if name not in sys.modules:
            if name == "torch._dynamo" and importer.startswith("lightning."):
                if tuple(fromlist or ()) == ("OptimizedModule",):
                    return cast(ModuleType, SimpleNamespace(OptimizedModule=OptimizedModule))
            elif name == "torchmetrics.utilities.plot":
                with _deferred_matplotlib():
                    return import_module(name, globals, locals, fromlist, level)
        return import_module(name, globals, locals, fromlist, level)

    _defer_init("torchmetrics", NEEDED_NAMES, _logger=logging.getLogger("torchmetrics"))
    _defer_init("torchmetrics.functional", {})
    builtins.__import__ = lean_import
    if hasattr(torch, "_disable_dynamo"):
        torch.compiler.disable = _disable
    _defer_compiler_in_optimizers()
    try:
        yield
    finally:
        builtins.__import__, torch.compiler.disable = import_module, disable


def _until_compiler(plain: Callable[P, T], compilable: Callable[P, T]) -> Callable[P, T]:
    """Return a function that calls `plain` until `torch._dynamo` is imported, then `compilable`."""

    @functools.wraps(plain)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return (compilable if "torch._dynamo" in sys.modules else plain)(*args, **kwargs)

    return call


def _defer_compiler_in_optimizers() -> None:
    """Stop torch's optimizers from importing the compiler just to be left out of compiled code."""
    import torch

    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = getattr(torch.optim.Optimizer, name)
        if (plain := getattr(method, "__wrapped__", None)) is not None:
            setattr(torch.optim.Optimizer, name, _until_compiler(plain, method))
    step = torch.optim.Adam.step  # AdamW inherits it
    plain_step = inspect.unwrap(step)

    def step_without_graph(self: torch.optim.Adam, closure: object = None) -> object:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return plain_step(self, closure)

    if plain_step is not step:
        torch.optim.Adam.step = _until_compiler(step_without_graph, step)  # type: ignore[method-assign]


def _disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Deferred form of `torch.compiler.disable`, which imports the compiler at once."""
    import torch

    if fn is None:
        return functools.partial(_disable, recursive=recursive, reason=reason)
    return _until_compiler(fn, torch._disable_dynamo(fn, recursive))


class _InstanceOfDynamo(type):
    """Class of `OptimizedModule`, whose instances are those of torch's class of that name."""

    def __instancecheck__(cls, instance: object) -> bool:
        dynamo = sys.modules.get("torch._dynamo")  # if it is absent, nothing has been compiled
        theirs = getattr(dynamo, "OptimizedModule", None)
        return theirs is not None and isinstance(instance, theirs)


class OptimizedModule(metaclass=_InstanceOfDynamo):
    """Stand-in for `torch._dynamo.OptimizedModule` in instance checks."""


def _defer_init(package: str, sources: Mapping[str, Sequence[str]], **values: object) -> None:
    """Enter a package into `sys.modules`; run its `__init__` when an unknown name is looked up.

    Args:
        package: the package's full name. Nothing is done if it has been imported or is missing.
        sources: names that do not need `__init__`, and the modules that are imported for them.
        values: names whose values are known.
    """
    parent, _, name = package.rpartition(".")
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None or spec.loader is None:
        return
    module, execute = importlib.util.module_from_spec(spec), spec.loader.exec_module
    vars(module).update(values)

    def find(name: str) -> object:
        if name in sources:
            with contextlib.suppress(ImportError, AttributeError):  # otherwise, ask `__init__`
                return getattr([*map(importlib.import_module, sources[name])][-1], name)
        elif name.startswith("__") and name != "__all__":  # code that inspects every module
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        del module.__getattr__
        try:
            execute(module)
        except BaseException:
            module.__getattr__ = find  # type: ignore[method-assign]
            raise
        return getattr(module, name)

    module.__getattr__ = find  # type: ignore[method-assign]
    sys.modules[package] = module
    if parent:
        setattr(sys.modules[parent], name, module)


@contextlib.contextmanager
def _deferred_matplotlib() -> Iterator[None]:
    """Import `torchmetrics.utilities.plot` without matplotlib, which it imports on first use."""
    imports = sys.modules.get("torchmetrics.utilities.imports")
    installed = getattr(imports, "_MATPLOTLIB_AVAILABLE", None)
    if not installed:
        yield
        return
    from lightning_utilities.core.imports import lazy_import

    installed.available = False
    try:
        yield
    finally:
        del installed.available  # it is asked again
    plot = sys.modules["torchmetrics.utilities.plot"]
    vars(plot).update(matplotlib=lazy_import("matplotlib"), plt=lazy_import("matplotlib.pyplot"))
