"""The report of a finished run."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from webtext_gpt.training.metrics import LossMeaning
from webtext_gpt.training.report import changed, write_run_report

SUMMARY = {
    "val_loss": 3.25,
    "val_perplexity": 25.790339917193062,
    "stopped_early": False,
    "tokens": 1_984_512,
    "tokens_per_second": None,
    "sources": {"a_b": {"share": 0.25, "samples": 2, "tokens": 2048, "epochs": 1.5}},
}


def test_a_report_has_figures_settings_and_the_last_samples(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    settings = compose("train", "model.n_layer=3", "optimizer.lr=1e-2", f"run_dir={tmp_path}")
    (tmp_path / "metrics.csv").write_text("step,val_loss\n4,3.5\n8,3.25\n", newline="\r\n")
    samples = (
        "=== step 4\nearly\n\n=== step 8\n# late\n```\n<b>\n\n"
        "=== step 8\nA table:\n=== ===\n1   2\n\n"
    )
    (tmp_path / "samples.txt").write_text(samples)
    (tmp_path / "loss.png").write_bytes(b"")
    meaning = LossMeaning("nats per row", "the label loss + 0.5 x the language-model loss")
    given = {"line": "python train.py 'a b'", "sections": ["## Test rows"], "meaning": meaning}
    found = {"skipped": 5, "truncated": 0, "val_matthews": 0.5}
    write_run_report(tmp_path, settings, SUMMARY | found, **given)
    text = (tmp_path / "report.md").read_text()
    today = date.today().isoformat()
    assert f"finished on {today}. Validation loss 3.250 after 8 steps." in text
    for row in (
        "validation loss | 3.25 | nats per row",
        "validation perplexity | 25.79 | exponential of the loss",
        "tokens | 1,984,512 | tokens read in training, repeated ones included",
        r"skipped | 5 | training rows left out, by task.skip\_empty or task.skip\_labels",
    ):
        assert f"| {row} |" in text
    assert "| validation matthews | 0.5 | Matthews correlation" in text
    assert "The training loss is the label loss + 0.5 x the language-model loss" in text
    assert "\n## Command\n\n```text\npython train.py 'a b'\n```\n" in text
    assert "\n## Test rows\n" in text
    assert "stopped early" not in text
    assert "truncated" not in text  # none were
    assert r"| a\_b | 25.0% | 2,048 | 1.50 |" in text
    assert "| model.n\\_layer | 3 |\n" in text
    assert "| optimizer.lr | 0.01 |\n" in text
    assert "run\\_dir" not in text
    shown = text.partition("## Text from the model after step 8\n")[2]
    assert "\n````text\n# late\n```\n<b>\n````\n" in shown
    assert "\n```text\nA table:\n=== ===\n1   2\n```\n" in shown
    assert "early" not in shown
    page = (tmp_path / "report.html").read_text()
    assert "# late\n```\n&lt;b&gt;" in page


def test_a_classifiers_report_begins_with_the_metric_of_its_best_checkpoint(
    compose: Callable[..., Any], tmp_path: Path
) -> None:
    """It was measured after training, in another precision than the curve."""
    settings = compose("train", f"run_dir={tmp_path}", "compile=true")
    (tmp_path / "metrics.csv").write_text("step,val_loss,val_accuracy\n4,0.5,0.83\n")
    figures = {
        "val_accuracy": 0.8284,
        "val_naive_bayes_accuracy": 0.85,
        "best_val_accuracy": 0.83,
    }
    write_run_report(tmp_path, settings, figures, metric="val_accuracy")
    text = (tmp_path / "report.md").read_text()
    said = "accuracy 0.8284 of the best checkpoint; naive Bayes on words has 0.85."
    assert f"Validation: {said}" in text
    assert "| validation naive bayes accuracy | 0.85 | the same of naive Bayes on words" in text
    assert "| compile | true |\n" in text


def test_settings_that_differ_include_another_choice(compose: Callable[..., Any]) -> None:
    default = compose("train")
    assert list(changed(default, default)) == []
    given = compose("train", "optimizer=muon", "optimizer.momentum=0.9", "seed=5")
    found = dict(changed(given, default))
    assert found["optimizer"] == "muon"
    assert found["optimizer.momentum"] == 0.9
    assert found["seed"] == 5
    assert "optimizer.ns_steps" not in found
    translation = compose("train", "experiment=translation", "data.source=a.en", "data.target=a.de")
    found = dict(changed(translation, default))
    assert (found["data"], found["data.target"]) == ("paralleltext", "a.de")
    sources = ("data=mixture", "data.sources.a.path=a.txt", "data.sources.b.path=b.txt")
    found = dict(changed(compose("train", *sources), default))
    assert (found["data.sources.a"], found["data.sources.a.path"]) == ("files", ["a.txt"])
