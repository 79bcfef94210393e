"""Training on GPUs: waits inside a step, the padded vocabulary, MFU of whole runs, and the peers.

python benchmarks/gpu_training.py [--model small --devices 1 --steps 60 --out /tmp/gpu]

1. Steps that are not logged run under `torch.cuda.set_sync_debug_mode("error")`.
2. The output layer and its loss, forward and backward, with and without padding, alternating.
3. train.py: tokens/s, share of the data sheet's peak and memory, of the last half of the steps;
   uncompiled and compiled, on one GPU and under ZeRO-2 on all that are asked for.
4. benchmarks/training_speed.py: one step beside the peers'.

`--accelerator cpu` runs parts 2 and 3 on a CPU, to try the script itself.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from webtext_gpt import cli
from webtext_gpt.commands import COMMANDS
from webtext_gpt.model import GPT, GPTConfig, cross_entropy
from webtext_gpt.training.lightning_internals import EpochLoop, logs_step
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.training.precision import best_precision
from webtext_gpt.training.pretrain import pretrain

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="small")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=65_536, help="of a step, for each device")
    parser.add_argument("--accelerator", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, default=Path("/tmp/gpu_training"))
    parser.add_argument("keys", nargs="*", help="more keys of train.py, such as optimizer=muon")
    args = parser.parse_args()
    on_gpu = args.accelerator == "cuda"
    if on_gpu and not torch.cuda.is_available():
        sys.exit("error: torch finds no GPU here; --accelerator cpu only tries the script")
    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    print(f"{name}, torch {torch.__version__}, {' '.join(sys.argv[1:])}", flush=True)
    keys = [
        f"model={args.model}",
        "tokenizer=trained",  # GPT-2's is not on every machine; its size is what costs
        "tokenizer.vocab_size=1024",
        "model.vocab_size=50257",
        "data=docstrings",
        f"trainer.accelerator={args.accelerator}",
        f"trainer.max_steps={args.steps}",
        f"validate_every={args.steps}",
        "trainer.limit_val_batches=2",
        "trainer.log_every_n_steps=10",
        "callbacks.samples=null",
        "callbacks.checkpoints=null",
        *args.keys,
    ]
    if on_gpu:
        folder = args.out / f"waits-{time.time():.0f}"
        _without_waiting([*keys, f"global_batch_tokens={args.tokens}", f"run_dir={folder}"])
    _padding(args.accelerator)
    _runs(keys, args)
    if on_gpu:
        _command(["benchmarks/training_speed.py", "--block-size=1024", "--batch=8"])


def _without_waiting(keys: list[str]) -> None:
    """Train, and fail if the CPU waits for the GPU in a step that is not logged."""
    advance = EpochLoop.advance
    steps = set()

    def watched(self: EpochLoop, *fetcher: Any) -> None:
        step = self.global_step + 1
        if step <= 2 or logs_step(self.trainer):  # kernels are chosen and memory grows in the first
            return advance(self, *fetcher)
        steps.add(step)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return advance(self, *fetcher)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    EpochLoop.advance = watched  # type: ignore[method-assign]
    command = COMMANDS["train"]
    pretrain(cli.read_settings(command, cli.parse(keys, command)))
    EpochLoop.advance = advance  # type: ignore[method-assign]
    print(f"waits       none in {len(steps)} steps", flush=True)


def _padding(device: str) -> None:
    """Print the milliseconds of the output layer and its loss in GPT-2 small's shape."""
    on_gpu = device == "cuda"
    shape = {"n_layer": 1, "n_head": 12, "n_embd": 768} if on_gpu else {"n_layer": 1, "n_embd": 48}
    model = GPT(GPTConfig(**shape, block_size=1024)).to(device)
    hidden = torch.randn(8 if on_gpu else 1, 1024, shape["n_embd"], device=device)
    targets = torch.randint(50_257, hidden.shape[:2], device=device)
    bf16 = best_precision(device) == "bf16-mixed"

    def passes(padded: bool) -> float:
        started = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            loss = cross_entropy(model.lm_head(hidden, padded), targets)
        loss.backward()
        if on_gpu:
            torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - started)

    rounds = 22 if on_gpu else 4
    times = [(passes(padded=False), passes(padded=True)) for _ in range(rounds)][2:]
    plain, padded = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"head        {plain:.2f} ms, padded {padded:.2f} ms: {plain / padded:.2f}", flush=True)


def _runs(keys: list[str], args: argparse.Namespace) -> None:
    """Print a table of whole runs."""
    print("| strategy | devices | compile | tokens/s | share of peak | GiB |")
    print("|---|---|---|---|---|---|", flush=True)
    strategies = [("auto", 1), ("deepspeed_zero2", args.devices)]
    if args.devices > 1:
        strategies.append(("ddp", args.devices))
    for strategy, devices in strategies:
        for compiled in ("false", "true") if args.accelerator == "cuda" else ("false",):
            folder = args.out / f"{strategy}-{devices}-{compiled}-{time.time():.0f}"
            chosen = [f"strategy={strategy}", f"trainer.devices={devices}", f"compile={compiled}"]
            batch = f"global_batch_tokens={args.tokens * devices}"
            _command(["train.py", *keys, *chosen, batch, f"run_dir={folder}"], quiet=True)
            rows = [r for r in read_metrics(folder / "metrics.csv") if "tokens_per_second" in r]
            last = rows[len(rows) // 2 :]
            median = _median_of(last)
            print(
                f"| {strategy} | {devices} | {compiled} | {median('tokens_per_second'):,.0f} | "
                f"{median('share_of_peak'):.1%} | {median('peak_memory_gib'):.2f} |",
                flush=True,
            )


def _median_of(rows: list[dict[str, float]]) -> Callable[[str], float]:
    return lambda key: statistics.median(row.get(key, float("nan")) for row in rows)


def _command(arguments: list[str], quiet: bool = False) -> None:
    output = subprocess.PIPE if quiet else None
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=False, stdout=output, stderr=output, text=True
    )
    if done.returncode:
        sys.exit(f"error: {' '.join(arguments)}\n{done.stderr or ''}")


if __name__ == "__main__":
    main()
