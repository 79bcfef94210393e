"""The work of `train.py`: train a GPT or a translator, or estimate the memory and time for it."""

from webtext_gpt.cli import Call
from webtext_gpt.commands import many_imports
from webtext_gpt.settings.data import OWN_TOKENIZER, Pairs
from webtext_gpt.settings.train import Train
from webtext_gpt.terminal import say


def train(settings: Train, call: Call) -> None:
    """Train a model and print the result, or print the estimate that `estimate=true` asks for."""
    if settings.estimate:
        from webtext_gpt.training.estimate import estimate

        say(estimate(settings))
        return
    if isinstance(settings.data, Pairs):
        with many_imports():
            from webtext_gpt.translation.run import print_translator, train_translator

        if summary := train_translator(settings, call):
            print_translator(settings.run_dir, summary)
        return
    with many_imports():
        from webtext_gpt.training.pretrain import pretrain
        from webtext_gpt.training.summary import print_summary

    summary = pretrain(settings, call)
    if summary:
        is_music = settings.data.target in OWN_TOKENIZER
        samples = settings.callbacks.samples
        prompt = samples.prompt if samples and samples.prompt else "The"
        print_summary(settings.run_dir, summary, prompt=prompt, is_music=is_music)
