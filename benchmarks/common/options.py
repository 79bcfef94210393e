"""Options of the scripts' command lines."""

import argparse

SHAPE = ("n_layer", "n_head", "n_embd", "vocab_size")


def parser(description: str | None, **defaults: int) -> argparse.ArgumentParser:
    """Return a parser with an option for each whole number: `n_layer=12` gives `--n-layer 12`."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in defaults.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return made


def shape(arguments: argparse.Namespace) -> dict[str, int]:
    """Return the model's shape, for `GPTConfig` or transformers' `GPT2Config`."""
    return {name: getattr(arguments, name) for name in SHAPE if name in arguments}
