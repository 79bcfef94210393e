"""When `compile=auto` compiles, and that it never fails a run."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from webtext_gpt.training import compilation
from webtext_gpt.training.compilation import chooses_compilation, compiled
from webtext_gpt.training.length import Length

HOUR, MINUTE = Length(-1, 60.0), Length(-1, 1.0)


@pytest.fixture(autouse=True)
def with_compilers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler = tmp_path / "c++"
    compiler.touch(mode=0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())


def chooses(setting: bool | str, length: Length, kind: str, flops: float = 1e12) -> bool:
    return chooses_compilation(setting, length, flops, kind=kind, devices=1)


@pytest.mark.parametrize(
    ("setting", "length", "kind", "expected"),
    [
        (True, MINUTE, "cpu", True),
        (False, HOUR, "cuda", False),
        ("auto", HOUR, "cpu", True),
        ("auto", MINUTE, "cpu", False),
        ("gpu", HOUR, "cpu", False),
        ("gpu", HOUR, "cuda", True),
        ("gpu", MINUTE, "cuda", False),
        ("auto", HOUR, "mps", False),
    ],
)
def test_it_depends_on_setting_length_and_device(
    setting: bool | str, length: Length, kind: str, expected: bool
) -> None:
    assert chooses(setting, length, kind) is expected


def test_the_length_in_steps_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 4e10 FLOP/s a thread, 8e10 FLOP take two threads a second; a tenth of 600 s is saved."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not chooses("auto", Length(600, None), "cpu", flops=8e10)
    assert chooses("auto", Length(601, None), "cpu", flops=8e10)
    assert not chooses("auto", Length(10_000, 10.0), "cpu", flops=8e10)  # ends after ten minutes


def test_a_strategy_that_cannot_be_compiled_is_not() -> None:
    arguments = {"kind": "cuda", "devices": 2, "partitions_parameters": True}
    assert not chooses_compilation("gpu", HOUR, 1e15, **arguments)  # type: ignore[arg-type]


def test_a_missing_compiler_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXX", "no-such-c++")
    assert not chooses("auto", MINUTE, "cpu")
    assert capsys.readouterr().out == ""  # it would not have been used
    assert not chooses("auto", HOUR, "cpu")
    assert "no C++ compiler (no-such-c++)" in capsys.readouterr().out


def test_a_failed_compilation_falls_back_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def failing(*arguments: Tensor) -> Tensor:
        calls.append(arguments)
        raise RuntimeError("no room\nfor the rest")

    monkeypatch.setattr(torch, "compile", lambda function: failing)
    double = compiled(lambda x: 2 * x, "auto")
    assert [double(torch.tensor(n)).item() for n in (1, 2)] == [2, 4]
    assert len(calls) == 1
    assert capsys.readouterr().out.splitlines() == [
        "compile     failed; the run continues uncompiled (RuntimeError: no room)"
    ]
    with pytest.raises(RuntimeError, match="no room"):
        compiled(lambda x: 2 * x, True)(torch.tensor(1))


def test_an_error_of_the_function_itself_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def function(x: Tensor) -> Tensor:
        raise ValueError("too long")

    monkeypatch.setattr(torch, "compile", lambda function: function)
    with pytest.raises(ValueError, match="too long"):
        compiled(function, "gpu")(torch.tensor(1))


def test_the_speed_of_an_unnamed_gpu_is_taken_for_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "peak_flops", lambda device, dtype: None)
    assert chooses("gpu", Length(10, None), "cuda")
