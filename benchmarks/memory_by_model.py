"""Which model fits which GPU: the largest micro-batch by model, strategy and memory, by `estimate`.

    python benchmarks/memory_by_model.py

Prints the table of the page about GPU memory. Nothing is trained and no GPU is needed. A setting
fits if its estimate is at most nine tenths of the device's memory; the rest is for temporaries and
for what the allocator keeps.
"""

from collections.abc import Iterator

from webtext_gpt.cli import parse, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.training.estimate import estimate

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
SHARE = 0.9


def main() -> None:
    for line in table():
        print(line)


def table() -> Iterator[str]:
    """Yield the lines of a Markdown table: micro-batch, and GiB by the estimate."""
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
    return f"{max(fitting)} ({totals[max(fitting)]:.1f} GiB)" if fitting else "-"


def estimated_gib(model: str, micro_batch_size: int, arguments: tuple[str, ...]) -> float:
    """Return the GiB of one device that `train.py ... estimate=A100` prints for its strategy."""
    command = COMMANDS["train"]
    words = [
        f"model={model}", "tokenizer=gpt2", "global_batch_tokens=524288", "estimate=A100",
        f"micro_batch_size={micro_batch_size}", *arguments,
    ]  # fmt: skip
    printed = estimate(read_settings(command, parse(words, command)))
    row = next(line for line in printed.splitlines() if line.endswith("<- this call"))
    return float(row.removesuffix("<- this call").split()[-1])


if __name__ == "__main__":
    main()
