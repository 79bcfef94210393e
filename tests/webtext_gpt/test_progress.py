"""A bar on a terminal of 80 columns, lines in a log file, and estimates that are never wild."""

import io
import re
import sys

import pytest

from tests.terminals import run_on_terminal
from webtext_gpt import progress
from webtext_gpt.progress import UNKNOWN, Progress, _Lines, progress_bar

WORK = """
from webtext_gpt.progress import progress_bar
import time
bar = progress_bar("training", total=5000, unit="step")
bar.figures = ["loss 3.2104", "123,456 tok/s", "val 3.5123", "accuracy 0.9123"]
for step in range(14):
    time.sleep(0.1)
    bar.update()
bar.close()
print("done")
"""

SAID = """
from webtext_gpt.progress import progress_bar
from webtext_gpt.terminal import say
import time
with progress_bar("quick", total=1):
    say("first")
print("second")
with progress_bar("slow", total=2) as bar:
    time.sleep(1.1)
    say("")
print("third")
"""


def _bar(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, **options: object) -> Progress:
    monkeypatch.setattr(sys, "stderr", stream)
    bar = progress_bar("training", unit="step", **options)
    bar.delay = 0
    return bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, as a list of one number that the test moves forward."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_lines_at_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    bar = _bar(monkeypatch, stream, total=200)
    bar.figures = ["loss 3.210", "1,234 tok/s"]
    for second in range(1, 101):  # two steps a second
        bar.last_print_t -= 1
        bar.update(2)
        assert bar.n == 2 * second
    bar.close()
    text = stream.getvalue()
    assert "\r" not in text
    lines = text.splitlines()
    assert 9 <= len(lines) <= 11
    step = r"training: \d+ of 200 steps \(\d+%\), loss 3\.210, 1,234 tok/s, .+"
    assert all(re.fullmatch(step, line) for line in lines)
    assert lines[0].startswith("training: 20 of 200 steps (10%)")
    assert lines[-1].startswith("training: 200 of 200 steps (100%)")


def test_a_log_says_the_end_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last item draws a line; closing the bar a second later does not draw it again."""
    stream = io.StringIO()
    bar = _bar(monkeypatch, stream, total=2)
    bar.last_print_t -= 20
    bar.update(2)
    bar.start_t -= 1
    bar.close()
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("training: 2 of 2 steps (100%), ")


def test_new_figures_are_drawn_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    bar = _bar(monkeypatch, stream, total=2)
    for figure in ("val 2.0", "val 1.5"):
        bar.figures = [figure]
        bar.last_print_t -= 20
        bar.update()
    bar.figures = ["val 1.0"]
    bar.close()
    assert [line.split(", ")[1] for line in stream.getvalue().splitlines()] == [
        "val 2.0", "val 1.5", "val 1.0",
    ]  # fmt: skip


def test_only_a_finished_count_is_100_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = _bar(monkeypatch, io.StringIO(), total=1164)
    bar.n = 1163
    assert "1,163 of 1,164 steps (99%)" in str(bar)
    bar.n = 1164
    assert "1,164 of 1,164 steps (100%)" in str(bar)


def test_items_of_an_iteration_are_counted_one_by_one(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    """Items that take a second each: after 5 of 10 the estimate is 5 seconds, not unknown."""
    bar = _bar(monkeypatch, io.StringIO(), iterable=range(10), total=10)
    for number in bar:
        if number == 5:
            assert bar.n == 5
            assert bar.seconds_left() == pytest.approx(5)  # 4 in 4 seconds since the first
        clock[0] += 1
    assert bar.n == 10


def test_the_time_left_is_unknown_until_it_is_measured(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    bar = _bar(monkeypatch, io.StringIO(), total=101)
    assert bar.seconds_left() is None
    assert str(bar).endswith(UNKNOWN)
    clock[0] += 60  # the first step compiles the model
    bar.update()
    clock[0] += 1
    bar.update()
    assert bar.seconds_left() is None  # a second says little
    clock[0] += 3
    bar.update()
    # Two steps in four seconds after the first; 98 steps are left.
    assert bar.seconds_left() == pytest.approx(98 * 2)
    assert str(bar).endswith("03:16 left")
    bar.limit = lambda: 30.0
    assert bar.seconds_left() == 30
    bar.limit = lambda: -5.0
    assert bar.seconds_left() == 0


def test_a_resumed_count_is_not_taken_for_speed(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    bar = _bar(monkeypatch, io.StringIO(), total=1000, initial=900)
    bar.update()
    clock[0] += 10
    bar.update(9)
    assert bar.seconds_left() == pytest.approx(90 * 10 / 9)


def test_lines_are_whole_and_not_repeated() -> None:
    stream = io.StringIO()
    lines = _Lines(stream)
    for text in ("\rone   ", "\rone", "\n", "\rtwo", "\r   \r"):
        lines.write(text)
    assert stream.getvalue() == "one\ntwo\n"


def test_text_printed_meanwhile_leaves_no_bar_without_an_end() -> None:
    """Text draws the bar again: not before its first second, and never without a line's end."""
    code, lines = run_on_terminal([sys.executable, "-c", SAID], 80)
    assert code == 0
    shown = [line for line in lines if line.strip()]
    assert shown[:2] == ["first", "second"]  # no bar yet
    assert [line for line in shown if line.startswith("slow")]
    assert shown[-1] == "third"


@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_fits_the_terminal(width: int) -> None:
    code, lines = run_on_terminal([sys.executable, "-c", WORK], width)
    assert code == 0
    *drawn, last = [line for line in lines if line.strip()]
    assert last == "done"
    assert drawn
    assert max(map(len, drawn)) < width
    for line in drawn:
        assert re.match(r"training +0% .*\d+/5,000 steps  loss 3\.2104  123,456 tok/s", line)
        assert ("accuracy 0.9123" in line) == (width == 120)
