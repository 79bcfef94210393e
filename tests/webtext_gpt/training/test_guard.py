"""Spikes of the gradient's norm."""

from webtext_gpt.training.guard import GradientNorms


def test_a_spike_is_so_many_times_the_median() -> None:
    norms = GradientNorms(factor=10)
    assert not any(norms.is_spike(50.0) for _ in range(5))  # a start tells nothing
    assert not any(norms.is_spike(1.0) for _ in range(40))
    assert norms.usual == 1.0
    assert not norms.is_spike(9.9)
    assert norms.is_spike(10.1)
    assert norms.spikes == 1


def test_a_continued_run_knows_what_was_usual() -> None:
    norms, continued = GradientNorms(factor=3), GradientNorms(factor=3)
    for norm in range(1, 201):
        norms.is_spike(float(norm))
    continued.load_state_dict(norms.state_dict())
    assert continued.usual == norms.usual == 150.5  # the median of 101 to 200
    assert continued.is_spike(452.0)
    assert not GradientNorms(factor=3).is_spike(452.0)
