"""A lean `import lightning` defers other packages, and changes nothing else."""

import subprocess
import sys

import pytest

from webtext_gpt import lean_imports

START = (
    "import sys, builtins, webtext_gpt; ask = builtins.__import__; import lightning as L, torch\n"
)


def run(code: str) -> None:
    """Run code in a process in which `lightning` has been imported the lean way."""
    command = [sys.executable, "-W", "ignore", "-c", START + code]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_a_compiled_module_is_recognized_by_lightning() -> None:
    run("""
assert "torch._dynamo" not in sys.modules and "torchmetrics.metric" in sys.modules
from lightning.pytorch.utilities.compile import OptimizedModule, from_compiled
module = L.LightningModule()
assert not isinstance(module, OptimizedModule)
compiled = torch.compile(module)
assert isinstance(compiled, OptimizedModule) and not isinstance(module, OptimizedModule)
assert from_compiled(compiled) is module
import torch._dynamo
assert type(compiled) is torch._dynamo.OptimizedModule
""")


@pytest.mark.slow
def test_a_logged_value_is_kept_out_of_a_compiled_graph() -> None:
    """`torch.compiler.disable`, in its deferred form, still ends the graph."""
    run("""
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection
import torch._dynamo.testing
counter = torch._dynamo.testing.CompileCounter()
results = _ResultCollection(training=True)
def step(x):
    y = x * 2
    results.log("f", "loss", y.sum(), on_step=True, on_epoch=False, batch_size=1)
    return y + 1
out = torch.compile(step, backend=counter)(torch.ones(2))
assert out.tolist() == [3, 3]
assert results.metrics(on_step=True)["log"]["loss"] == 4
assert counter.frame_count == 2, counter.frame_count
""")


@pytest.mark.slow
def test_optimizers_step_as_torchs_own_before_and_after_the_compiler_is_imported() -> None:
    """Adam by hand: its first step moves each weight by the rate, against the gradient's sign."""
    run("""
def moved(kind, **options):
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = kind([weight], lr=0.25, **options)
    def closure():
        optimizer.zero_grad()
        loss = (weight * torch.tensor([3.0, -5.0])).sum()
        assert torch.is_grad_enabled()
        loss.backward()
        return loss
    assert optimizer.step(closure).item() == 13
    again = kind([weight], lr=0.5, **options)
    again.load_state_dict(optimizer.state_dict())
    assert again.param_groups[0]["lr"] == 0.25
    assert weight.requires_grad and weight.grad_fn is None
    return [round(w, 4) for w in weight.tolist()]
assert moved(torch.optim.AdamW, weight_decay=0.0) == [0.75, -1.75]
assert moved(torch.optim.Adam) == moved(torch.optim.AdamW, weight_decay=0.0, fused=True)
assert "torch._dynamo" not in sys.modules
import torch._dynamo
assert moved(torch.optim.AdamW, weight_decay=0.0) == [0.75, -1.75]
""")


def test_imports_are_as_before_afterwards() -> None:
    run("""
assert builtins.__import__ is ask
assert torch.compiler.disable.__module__ == "torch.compiler"
assert not any(type(f).__module__ == "webtext_gpt.lean_imports" for f in sys.meta_path)
""")


@pytest.mark.slow
def test_every_name_of_torchmetrics_is_there_when_it_is_asked() -> None:
    """By attribute, by `from`, by star and as submodule; classes are one and the same."""
    run("""
import torchmetrics
assert "scipy" not in sys.modules and "Accuracy" not in vars(torchmetrics)
from torchmetrics.functional.classification import multiclass_accuracy
assert multiclass_accuracy(torch.tensor([0, 1]), torch.tensor([0, 0]), 2, average="micro") == 0.5
assert "scipy" not in sys.modules
try:
    torchmetrics.__wrapped__
except AttributeError:
    pass
assert "scipy" not in sys.modules
assert issubclass(torchmetrics.Accuracy(task="binary").__class__, torchmetrics.Metric)
assert torchmetrics.functional.bleu_score(["a b"], [["a b"]], n_gram=1) == 1
from torchmetrics import *
assert MeanMetric is torchmetrics.MeanMetric
import torchmetrics.text
assert torchmetrics.metric.Metric is torchmetrics.Metric
try:
    torchmetrics.no_such_name
except AttributeError:
    pass
else:
    raise SystemExit("a name was made up")
""")


@pytest.mark.slow
def test_metrics_still_plot() -> None:
    run("""
assert "matplotlib" not in sys.modules
import matplotlib; matplotlib.use("Agg")
from torchmetrics.aggregation import MeanMetric
mean = MeanMetric()
mean.update(torch.tensor([1.0, 2.0]))
figure, axis = mean.plot()
assert axis.get_lines()[0].get_ydata() == [1.5]
""")


def test_missing_packages_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    modules, finders = dict(sys.modules), list(sys.meta_path)
    lean_imports._defer_init("no_such_package_anywhere", {})
    lean_imports.install()  # lightning may or may not have been imported in this process
    monkeypatch.setattr(sys, "meta_path", finders)
    assert sys.modules.keys() == modules.keys()
