"""The estimated time of a step, compared with figures worked out by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from webtext_gpt.errors import UserError
from webtext_gpt.gpus import GPUS, known_gpu, named_gpu
from webtext_gpt.training.estimate import estimate
from webtext_gpt.training.step_time import StepTime, computing_seconds, sent_bytes

SMALL = 124_439_808  # parameters of GPT-2 small
SETTINGS = (
    "model=small",
    "tokenizer=gpt2",
    "trainer.devices=8",
    "trainer.precision=bf16-mixed",
    "global_batch_tokens=524288",
)


def rows_of(table: str) -> list[list[str]]:
    """Return the cells of the table of times, below its headings."""
    start = table.index("\na step ") + 1
    headings, *lines = table[start : table.index("\n\n", start)].splitlines()
    labels = headings.index("computing s") - 2
    return [line[labels:].split() for line in lines]


@pytest.mark.parametrize(
    ("stage", "values"),
    [  # values that a device sends in a step of 5 micro-batches: Rajbhandari et al. 2020, section 7
        (0, 2),  # one all-reduce: a reduce-scatter and an all-gather of all gradients
        (1, 1 + 1),  # gradients reduced once, parameters gathered once
        (2, 5 + 1),  # gradients reduced after each micro-batch
        (3, 3 * 5),  # parameters gathered forward and backward, gradients reduced
    ],
)
def test_values_sent_by_each_of_four_devices(stage: int, values: int) -> None:
    """Each sends three of the four parts of all values; one device sends nothing."""
    assert sent_bytes(1000, stage, 4, 5, half=False, pure=False) == values * 750 * 4
    width = 4 if stage == 0 else 2  # DDP's gradients stay in fp32
    assert sent_bytes(1000, stage, 4, 5, half=True, pure=False) == values * 750 * width
    assert sent_bytes(1000, stage, 4, 5, half=True, pure=True) == values * 750 * 2
    assert sent_bytes(1000, stage, 1, 5, half=True, pure=False) == 0


def test_a_recomputed_forward_pass_takes_a_third_more() -> None:
    """A backward pass takes twice the operations of a forward pass: 1 + 2, then 1 + 1 + 2."""
    assert computing_seconds(3e15, 1e15, recompute=False) == 3
    assert computing_seconds(3e15, 1e15, recompute=True) == pytest.approx(4)


def test_the_share_is_of_the_whole_step() -> None:
    step = StepTime(computing=3, exchange=1)
    assert (step.total, step.share) == (4, 0.25)


def test_gpt2_small_on_eight_h100(compose: Callable[..., Any]) -> None:
    """854,438,400 operations a token: 6 x (12 x 12 x 768^2 + 50,257 x 768) + 12 x 12 x 768 x 1,024.

    524,288 tokens at 0.4 x 989 TFLOP/s x 8 take 0.14155 s. DDP sends 2 x 7/8 x 4 bytes of each
    parameter at 450 GB/s, ZeRO-2 with 8 micro-batches (8 + 1) x 7/8 x 2 bytes. 9 billion tokens
    are 17,167 steps.
    """
    settings = [*SETTINGS, "estimate=H100", "trainer.max_tokens=9e9"]
    table = estimate(compose("train", *settings))
    assert "time        on 8 H100, assumed to reach 40% of 989 TFLOP/s (Llama 3 2024" in table
    ddp, zero1, zero2, zero3 = rows_of(table)
    computing = 854_438_400 * 524_288 / (0.4 * 989e12 * 8)
    for row, sent in ((ddp, 7 * SMALL), (zero1, 3.5 * SMALL), (zero2, 15.75 * SMALL),
                      (zero3, 42 * SMALL)):  # fmt: skip
        step = computing + sent / 450e9
        numbers = [float(cell.strip("%").replace(",", "")) for cell in row[:6]]
        assert numbers == [
            pytest.approx(computing, abs=6e-5),
            pytest.approx(sent / 450e9, abs=6e-5),
            pytest.approx(100 * sent / 450e9 / step, abs=0.06),
            pytest.approx(sent / 1e9, abs=6e-4),
            pytest.approx(524_288 / step, abs=1),
            pytest.approx(17_167 * step / 3600, abs=6e-3),
        ]
    assert zero2[6:] == ["<-"]  # strategy=auto on GPUs
    assert len(ddp) == len(zero1) == len(zero3) == 6


def test_machines_exchange_through_the_network(compose: Callable[..., Any]) -> None:
    """16 devices: each sends 2 x 15/16 x 4 bytes of a parameter, at 50 GB/s instead of 450."""
    settings = [*SETTINGS, "estimate=H100", "trainer.num_nodes=2"]
    table = estimate(compose("train", *settings))
    assert "time        on 16 H100" in table
    assert "50 GB/s" in table
    assert float(rows_of(table)[0][1]) == pytest.approx(7.5 * SMALL / 50e9, abs=6e-5)
    assert rows_of(table)[0][5] == "-"  # no length in steps or tokens


def test_one_gpu_exchanges_nothing(compose: Callable[..., Any]) -> None:
    settings = [setting for setting in SETTINGS if "devices" not in setting]
    table = estimate(compose("train", *settings, "estimate=RTX-4090"))
    assert (
        "time        on 1 RTX-4090, assumed to reach 40% of 165 TFLOP/s (no publication)" in table
    )
    assert rows_of(table)[0][1:4] == ["0.0000", "0.0%", "0.000"]


def test_cpus_are_estimated_from_their_threads(
    compose: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """854,438,400 x 16,384 operations at 4 x 40 GFLOP/s: 87.5 s a step, ten of them 0.24 hours."""
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    settings = ["model=small", "tokenizer=gpt2", "trainer.accelerator=cpu", "trainer.max_steps=10"]
    lines = estimate(compose("train", *settings, "estimate=true")).splitlines()
    (line,) = (line for line in lines if line.startswith("time "))
    assert line.startswith("time        87.5 s a step of 16,384 tokens, 187 tokens/s, 0.24 hours;")


def test_what_is_unknown_is_said(
    compose: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    absent = estimate(compose("train", *SETTINGS, "trainer.accelerator=cuda", "estimate=true"))
    assert "\ntime        the GPU is unknown; name one, as in estimate=H100\n" in absent
    fp32 = [s.replace("bf16-mixed", "32-true") for s in SETTINGS]
    known = "time        known for bf16 on GPUs only, not for trainer.precision=32-true"
    assert f"\n{known}\n" in estimate(compose("train", *fp32, "estimate=H100"))
    with pytest.raises(UserError, match="estimate=H100 names a GPU, but .*accelerator=cpu"):
        estimate(compose("train", *SETTINGS, "trainer.accelerator=cpu", "estimate=H100"))
    with pytest.raises(UserError, match="estimate.*H100, H200 or A100"):
        compose("train", *SETTINGS, "estimate=V100x")


def test_drivers_names_of_gpus() -> None:
    assert known_gpu("NVIDIA H100 80GB HBM3") == GPUS["H100"]
    assert known_gpu("NVIDIA H100 PCIe") == named_gpu("H100-PCIe")
    assert known_gpu("NVIDIA L40S") == GPUS["L40S"]
    assert known_gpu("NVIDIA L4") == GPUS["L4"]
    assert known_gpu("Tesla T4") is None
