"""The memory estimate, compared with figures worked out by hand."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.model import GPTConfig
from webtext_gpt.training.estimate import estimate
from webtext_gpt.training.memory import (
    activation_bytes,
    count_parameters,
    estimate_memory,
)

SMALL = 124_439_808


def test_parameters_are_counted_without_allocating() -> None:
    assert count_parameters(GPTConfig()) == SMALL
    xl = GPTConfig(n_layer=48, n_head=25, n_embd=1600)
    assert count_parameters(xl) == 1_557_611_200


@pytest.mark.parametrize(
    ("stage", "half", "parameters", "gradients", "optimizer"),
    [  # bytes per parameter on each of 8 devices; Rajbhandari et al. 2020, figure 1
        (0, False, 4, 4, 8),
        (0, True, 4, 4, 8),  # autocast keeps fp32 weights
        (1, True, 2, 2, 12 / 8),
        (2, True, 2, 2 / 8, 12 / 8),
        (3, True, 2 / 8, 2 / 8, 12 / 8),
        (2, False, 4, 4 / 8, 12 / 8),
    ],
)
def test_bytes_per_parameter_of_each_stage(
    stage: int, half: bool, parameters: float, gradients: float, optimizer: float
) -> None:
    memory = estimate_memory(SMALL, stage, 8, half=half, activations=0)
    assert memory.parameters == parameters * SMALL
    assert memory.gradients == gradients * SMALL
    assert memory.optimizer == optimizer * SMALL


@pytest.mark.parametrize(
    ("stage", "on_gpu", "values"),
    [  # 1,000 parameters, buckets of 400 values
        (1, True, 2 * 400),  # one is filled while the other is sent
        (1, False, 400),
        (2, False, 400),
        # the bucket and its copy by partitions; gathered parameters, and what is being gathered
        (3, True, 2 * 400 + 1000 + 1000),
        (3, False, 3 * 400 + 1000 + 2 * 1000),  # gloo communicates copies
    ],
)
def test_buffers_of_each_stage(stage: int, on_gpu: bool, values: int) -> None:
    options: dict[str, Any] = {"half": False, "activations": 0, "on_gpu": on_gpu}
    assert estimate_memory(1000, stage, 2, bucket=400, **options).buffers == 4 * values
    # A larger bucket is filled by the 1,000 gradients only; a GPU allocates all of it.
    larger = {
        (1, True): 2 * 5000,
        (3, True): 5000 + 1000 + 1000 + 1000,
        (3, False): 3 * 1000 + 1000 + 2 * 1000,
    }.get((stage, on_gpu), 1000)
    assert estimate_memory(1000, stage, 2, bucket=5000, **options).buffers == 4 * larger


@pytest.mark.parametrize(
    ("n_layer", "width", "block_size", "vocab_size", "micro_batch_size", "measured"),
    [
        (12, 512, 256, 74, 2, 1.175),  # GiB
        (12, 256, 256, 74, 2, 0.410),
        (12, 512, 256, 4096, 4, 1.456),
        (16, 256, 512, 8192, 2, 0.790),
        (6, 768, 128, 4096, 4, 1.418),
    ],
)
def test_zero3_is_within_15_percent_of_runs(
    n_layer: int,
    width: int,
    block_size: int,
    vocab_size: int,
    micro_batch_size: int,
    measured: float,
) -> None:
    """Two CPU processes, fp32, three steps or more (November 2026).

    Measured was the peak resident memory of rank 0 in training, less that of one layer of width 8.
    The last two were run after the formula was settled.
    """
    config = GPTConfig(
        n_layer=n_layer, n_head=2, n_embd=width, block_size=block_size, vocab_size=vocab_size
    )
    memory = estimate_memory(
        count_parameters(config),
        3,
        2,
        half=False,
        activations=activation_bytes(config, micro_batch_size, half=False),
        on_gpu=False,
    )
    assert memory.total / 2**30 == pytest.approx(measured, rel=0.15)


def test_muon_keeps_one_moment_of_each_matrix(compose: Callable[..., Any]) -> None:
    """GPT-2 small: 12 blocks of 12 x 768^2 weights without biases; 4 bytes less for each."""
    matrices = 12 * 12 * 768**2
    settings = ["model=small", "tokenizer=gpt2", "trainer.devices=8", "trainer.accelerator=cuda"]
    settings += ["trainer.precision=bf16-mixed", "optimizer=muon"]
    lines = estimate(compose("train", *settings)).splitlines()
    checkpoint = (12 * SMALL - 4 * matrices) / 2**30
    assert lines[2].startswith(f"checkpoint  {checkpoint:.3f} GiB, ")
    rows = [line for line in lines if line.startswith("ZeRO-")]
    found = [float(row.replace("(DDP)", "").split()[3]) for row in rows[:3]]
    states = [8 * SMALL - 4 * matrices] + 2 * [(12 * SMALL - 4 * matrices) / 8]
    assert found == pytest.approx([value / 2**30 for value in states], abs=6e-4)


def test_states_of_the_zero_papers_example() -> None:
    """7.5 B parameters on 64 devices: 120, 31.4, 16.6 and 1.9 GB (figure 1)."""
    for stage, expected in ((1, 31.4), (2, 16.6), (3, 1.9)):
        memory = estimate_memory(7_500_000_000, stage, 64, half=True, activations=0)
        states = memory.parameters + memory.gradients + memory.optimizer
        assert states / 1e9 == pytest.approx(expected, abs=0.05)


def test_pure_bf16_has_no_copy_in_fp32() -> None:
    memory = estimate_memory(SMALL, 0, 1, half=True, activations=0, pure=True)
    assert memory.total == (2 + 2 + 4) * SMALL


def test_offloaded_states_are_in_the_machines_memory(compose: Callable[..., Any]) -> None:
    """354,823,168 parameters: 12 + 2 bytes each in the machine, gradients on the device."""
    settings = ["model=medium", "tokenizer=gpt2", "trainer.devices=8", "trainer.accelerator=cuda"]
    settings += ["trainer.precision=bf16-mixed", "strategy=deepspeed_zero3_offload"]
    lines = estimate(compose("train", *settings)).splitlines()
    zero2, zero3 = (line for line in lines if line.startswith(("ZeRO-2", "ZeRO-3")))
    (machine,) = (line for line in lines if line.startswith("offloaded "))
    gib = 354_823_168 / 2**30
    assert zero3.endswith("<-")
    assert [float(word) for word in zero3.split()[1:4]] == [0, round(gib / 4, 3), 0]
    assert float(zero2.split()[3]) == pytest.approx(gib * 1.5, abs=6e-4)
    assert float(machine.split()[1]) == pytest.approx(gib * 14, abs=6e-4)


def test_activation_bytes_by_hand() -> None:
    config = GPTConfig(n_layer=3, n_head=2, n_embd=64, block_size=128, vocab_size=1000)
    tokens, unit = 4 * 128, 4 * 128 * 64 * 4
    logits = tokens * 1000 * 8
    assert activation_bytes(config, 4, half=False) == (3 * 16 + 2) * unit + logits
    recomputed = activation_bytes(config, 4, half=False, recompute=True)
    assert recomputed == (3 + 16 + 2) * unit + logits


def test_the_estimate_needs_no_gpu(
    call: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """GPT-2 medium on eight GPUs: 354,823,168 parameters, 2 sequences of 1,024 tokens each."""
    asked = ["trainer.devices=8", "trainer.accelerator=cuda", "trainer.precision=bf16-mixed"]
    asked += ["model=medium", "tokenizer=gpt2", "estimate=true", f"run_dir={tmp_path / 'run'}"]
    printed = call("train.py", *asked)
    assert printed.returncode == 0
    lines = printed.stdout.splitlines()
    assert lines[0] == "model       354,823,168 parameters, context 1,024, vocabulary 50,257"
    assert lines[1] == "step        8 GPUs x 2 sequences x 1, 16,384 tokens, bf16"
    assert max(map(len, lines)) <= 80
    gib = 354_823_168 / 2**30
    expected = {"ZeRO-0": (4, 4, 8), "ZeRO-1": (2, 2, 1.5), "ZeRO-2": (2, 0.25, 1.5)}
    expected["ZeRO-3"] = (0.25, 0.25, 1.5)
    assert lines[-1] == "<-          the strategy of this call"
    assert sum(line.startswith("time  ") for line in lines) == 1
    for line in lines:
        if not line.startswith("ZeRO-"):
            continue
        name = line.split()[0]
        assert line.endswith("<-") == (name == "ZeRO-2")  # auto on GPUs
        columns = line.replace("(DDP)", "").partition("<-")[0]
        found = [float(word) for word in columns.split()[1:]]
        assert found[:3] == pytest.approx([gib * b for b in expected.pop(name)], abs=6e-4)
        assert found[5] == pytest.approx(sum(found[:5]), abs=3e-3)
    assert not expected
    assert not (tmp_path / "run").exists()


def test_a_model_that_does_not_fit_is_refused_before_tokenizing(
    call: Callable[..., subprocess.CompletedProcess[str]], small_run: list[str], tmp_path: Path
) -> None:
    """96 layers of 65,536 have 12 * 96 * 65,536^2 parameters, almost 5 * 10^12."""
    done = call("train.py", *small_run, "model.n_layer=96", "model.n_embd=65536")
    assert done.returncode == 1
    assert "GiB on each device" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "cache").exists()
