"""Table of the models that fit each GPU: the largest micro-batch by `estimate`, for each strategy.

    python benchmarks/memory_by_model.py

Prints the table of the page about GPU memory. Nothing is trained and no GPU is needed. A setting
fits if its estimate is at most 85 % of the device's memory: an uncompiled run on a GPU took 14 %
more than its estimate.
"""

import functools
from collections.abc import Iterator

from webtext_gpt.cli import parse, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.settings.train import Train
from webtext_gpt.training.estimate import estimate
from webtext_gpt.training.memory import THIS_CALL

MODELS = ("small", "medium", "large", "xl")
SETTINGS = {
    "one GPU": (),
    "one GPU, activation checkpointing": ("activation_checkpointing=true",),
    "one GPU, ZeRO-3 with offload, activation checkpointing": (
        "strategy=deepspeed_zero3_offload", "activation_checkpointing=true",
    ),
    "8 GPUs, ZeRO-2": ("trainer.devices=8",),
    "8 GPUs, ZeRO-2, activation checkpointing": (
        "trainer.devices=8", "activation_checkpointing=true",
    ),
    "8 GPUs, ZeRO-3, activation checkpointing": (
        "trainer.devices=8", "strategy=deepspeed_zero3", "activation_checkpointing=true",
    ),
}  # fmt: skip
"""Arguments of `train.py` by name; on several GPUs, ZeRO-2 is the default."""
MICRO_BATCHES = (1, 2, 4, 8, 16, 32, 64)
GIB = (24, 40, 80)
SHARE = 0.85


def main() -> None:
    for line in table():
        print(line)


def table() -> Iterator[str]:
    """Yield the lines of a Markdown table: largest micro-batch, and its estimated GiB."""
    yield f"| model | settings | {' | '.join(f'{size} GB' for size in GIB)} |"
    yield f"|---|---|{'---|' * len(GIB)}"
    for model in MODELS:
        for name, arguments in SETTINGS.items():
            totals = {size: estimated_gib(model, size, arguments) for size in MICRO_BATCHES}
            cells = [cell(totals, size * SHARE) for size in GIB]
            yield f"| {model} | {name} | {' | '.join(cells)} |"


def cell(totals: dict[int, float], limit: float) -> str:
    """Return the largest micro-batch whose GiB are at most `limit`, with its GiB; or a dash."""
    fitting = [size for size, total in totals.items() if total <= limit]
    return f"{max(fitting)} ({totals[max(fitting)]:.1f})" if fitting else "-"


def estimated_gib(model: str, micro_batch_size: int, arguments: tuple[str, ...]) -> float:
    """Return the GiB of one device that `train.py ... estimate=A100` prints for its strategy."""
    update = {"micro_batch_size": micro_batch_size}
    settings = _settings(model, arguments).model_copy(update=update)
    row = next(line for line in estimate(settings).splitlines() if line.endswith(THIS_CALL))
    return float(row.removesuffix(THIS_CALL).split()[-1])


@functools.cache
def _settings(model: str, arguments: tuple[str, ...]) -> Train:
    command = COMMANDS["train"]
    words = [
        f"model={model}", "tokenizer=gpt2", "global_batch_tokens=524288", "estimate=A100",
        *arguments,
    ]  # fmt: skip
    settings = read_settings(command, parse(words, command))
    assert isinstance(settings, Train)
    return settings


if __name__ == "__main__":
    main()
