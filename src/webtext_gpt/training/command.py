"""The work of `train.py`: train, or estimate the memory that training needs."""

from webtext_gpt.cli import Call
from webtext_gpt.commands import many_imports
from webtext_gpt.settings.train import Train


def train(settings: Train, call: Call) -> None:
    """Train a model and print the result, or print the estimate that `estimate=true` asks for."""
    if settings.estimate:
        from webtext_gpt.training.memory import estimate

        print(estimate(settings))
        return
    with many_imports():
        from webtext_gpt.training.pretrain import pretrain
        from webtext_gpt.training.summary import print_summary

    summary = pretrain(settings, call)
    if summary:
        print_summary(settings.run_dir, summary)
