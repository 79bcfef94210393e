"""Lines on a terminal break at spaces only; in a file they stay whole."""

import io

import pytest

from webtext_gpt.terminal import columns, quoted, say, say_rows, wrapped


def test_a_long_line_goes_on_under_its_text() -> None:
    assert wrapped("note        one two three four five six seven", 24) == (
        "note        one two\n            three four\n            five six\n            seven"
    )


def test_a_line_without_a_label_is_not_indented() -> None:
    assert wrapped("every word is whole, and 1,234,567.89 too", 20) == (
        "every word is whole,\nand 1,234,567.89 too"
    )


def test_words_and_indented_lines_are_never_broken() -> None:
    path = "/a/very/long/path/that/is/wider/than/the/terminal/itself/run.ckpt"
    assert wrapped(f"written to {path}", 40) == f"written to\n{path}"
    command = f"  python train.py resume={path} trainer.max_steps=3"
    assert wrapped(f"Resume with:\n{command}", 40) == f"Resume with:\n{command}"


def test_a_file_gets_whole_lines() -> None:
    stream = io.StringIO()
    say("word " * 100, stream)
    assert stream.getvalue() == "word " * 100 + "\n"
    assert columns(stream) is None


def test_rows_are_aligned_and_paths_quoted(capsys: pytest.CaptureFixture) -> None:
    say_rows({"run": quoted("runs/a b"), "loss curve": quoted("x/loss.png")}, least=4)
    assert capsys.readouterr().out == "run         'runs/a b'\nloss curve  x/loss.png\n"


def test_a_quoted_path_stays_whole() -> None:
    """An apostrophe within a word begins no quotation."""
    text = "the run's folder is '/data/my runs/one', and the model's words end"
    assert wrapped(text, 24).split("\n") == [
        "the run's folder is",
        "'/data/my runs/one', and",
        "the model's words end",
    ]
