"""Warnings about number formats that the hardware lacks, and the measured peak."""

from collections.abc import Callable
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest
import torch

from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.training import precision
from webtext_gpt.training.callbacks.throughput import Throughput
from webtext_gpt.training.precision import warn_of_emulated_bf16

Call = Callable[..., CompletedProcess[str]]


@pytest.fixture
def no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU and a GPU without bf16, whatever this machine has."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)


@pytest.mark.usefixtures("no_bf16")
@pytest.mark.parametrize(
    ("value", "device", "warned"),
    [
        ("bf16-mixed", "cpu", "this CPU has no bf16"),
        ("bf16-true", "cpu", "this CPU has no bf16"),
        ("bf16-mixed", "cuda", "this GPU has no bf16"),  # older than Ampere
        ("bf16-mixed", "mps", None),  # not known
        ("32-true", "cpu", None),
        ("64-true", "cpu", None),
    ],
)
def test_emulated_bf16_is_warned_of(
    value: str, device: str, warned: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_emulated_bf16(f"trainer.precision={value}", device, "trainer.precision=32-true")
    printed = capsys.readouterr()
    assert printed.out == ""
    if warned is None:
        assert printed.err == ""
    else:
        assert printed.err.startswith(f"warning: trainer.precision={value} will be slow: {warned}")
        assert printed.err.endswith("set trainer.precision=32-true\n")


@pytest.mark.parametrize("capability", ["amx_bf16", "avx512_bf16", "bf16"])  # "bf16" is Arm's
def test_a_cpu_with_bf16_is_not_warned_of(
    capability: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    warn_of_emulated_bf16("precision=bf16", "cpu", "precision=fp32")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("no_bf16")
@pytest.mark.parametrize("value", ["bf16-mixed", "auto"])
def test_training_warns_before_the_first_step(value: str, call: Call, small_run: list[str]) -> None:
    short = ["trainer.max_steps=1", "trainer.limit_val_batches=1", "callbacks.samples=null"]
    trained = call("train.py", *small_run, *short, f"trainer.precision={value}")
    assert trained.returncode == 0, trained.stderr
    warned = "warning: trainer.precision=bf16-mixed will be slow" in trained.stderr
    assert warned == (value == "bf16-mixed")


@pytest.mark.usefixtures("no_bf16")
@pytest.mark.parametrize(("value", "warned"), [("auto", False), ("fp32", False), ("bf16", True)])
def test_inference_warns(value: str, warned: bool, capsys: pytest.CaptureFixture[str]) -> None:
    precision.place_for_inference(torch.nn.Linear(2, 2), "cpu", value)
    assert ("warning: precision=bf16 will be slow" in capsys.readouterr().err) == warned


def test_the_peak_of_an_emulated_format_takes_few_and_small_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    sizes: list[int] = []

    def emulated(a: torch.Tensor, b: torch.Tensor) -> None:
        sizes.append(len(a))
        clock[0] += 2 * len(a) ** 3 / 1.3e9  # a CPU with AVX2

    monkeypatch.setattr(torch, "mm", emulated)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: clock[0])
    peak = precision.peak_flops(torch.device("cpu"), torch.bfloat16)
    assert peak == pytest.approx(1.3e9)
    assert clock[0] < 1  # ten products of 1024 took 17 s
    assert set(sizes) == {256}


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ("bf16-mixed", torch.bfloat16),
        ("bf16-true", torch.bfloat16),
        ("32-true", torch.float32),
        ("64-true", torch.float64),
    ],
)
def test_the_peak_is_of_the_run_s_number_format(
    value: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.dtype] = []
    monkeypatch.setattr(
        "webtext_gpt.training.callbacks.throughput.peak_flops",
        lambda device, dtype: asked.append(dtype),
    )
    trainer = SimpleNamespace(precision=value, global_step=0, log_every_n_steps=1, world_size=1)
    module = SimpleNamespace(
        device=torch.device("cpu"),
        model=GPT(GPTConfig(n_layer=1, n_head=1, n_embd=2, block_size=2, vocab_size=2)),
        tokens_per_step=1,
        log_dict=lambda metrics: None,
    )
    throughput = Throughput()
    throughput.on_train_start(trainer, module)
    for step in (1, 2, 3):  # the first is not timed, and the peak is asked for once
        throughput.on_train_batch_start(trainer)
        trainer.global_step = step
        throughput.on_train_batch_end(trainer, module)
    assert asked == [dtype]


def test_the_peak_of_an_unnamed_gpu_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Unheard-of 9")
    assert precision.peak_flops(torch.device("cuda"), torch.bfloat16) is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 PCIe")
    assert precision.peak_flops(torch.device("cuda"), torch.bfloat16) == 756e12
    assert precision.peak_flops(torch.device("cuda"), torch.float64) is None
    assert precision.peak_flops(torch.device("mps"), torch.bfloat16) is None
