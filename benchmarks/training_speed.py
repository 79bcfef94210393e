"""Tokens per second of a full training step, compared with Hugging Face's GPT-2.

python benchmarks/training_speed.py [--n-layer 6 --n-embd 384 --block-size 256 --batch 4 ...]

Each round times one step (forward, backward, clipping, fused AdamW) of each model, so that drift in
the machine's speed affects both. The script prints the medians and their ratio.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from webtext_gpt.model import GPT, GPTConfig, cross_entropy
from webtext_gpt.training.optim import adamw
from webtext_gpt.training.precision import best_precision, peak_flops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("n-layer", 6),
        ("n-head", 6),
        ("n-embd", 384),
        ("block-size", 256),
        ("batch", 4),
        ("vocab-size", 50_304),
        ("rounds", 8),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    shape = {key: getattr(args, key) for key in ("n_layer", "n_head", "n_embd", "vocab_size")}

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = best_precision(device.type) == "bf16-mixed"
    ours = GPT(GPTConfig(**shape, block_size=args.block_size)).to(device)
    theirs = GPT2LMHeadModel(
        GPT2Config(**shape, n_positions=args.block_size, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    ).to(device)
    tokens = torch.randint(args.vocab_size, (args.batch, args.block_size + 1), device=device)
    x, y = tokens[:, :-1], tokens[:, 1:].contiguous()

    def our_loss() -> torch.Tensor:
        return cross_entropy(ours(x), y)

    def their_loss() -> torch.Tensor:
        return cross_entropy(theirs(x).logits, y)

    steps = {
        "webtext-gpt": _step(ours, adamw(ours, lr=1e-3), our_loss, device, bf16),
        "transformers": _step(
            theirs,
            torch.optim.AdamW(theirs.parameters(), lr=1e-3, fused=True),
            their_loss,
            device,
            bf16,
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            times[name].append(step())
    medians = {name: statistics.median(t[2:]) for name, t in times.items()}
    for name, seconds in medians.items():
        speed = x.numel() / seconds
        line = f"{name:13} {speed:9,.0f} tokens/s"
        if peak := peak_flops(device, torch.bfloat16 if bf16 else torch.float32):
            line += f"  {speed * ours.config.flops_per_token / peak:5.1%} of the peak"
        print(line)
    print(f"ratio         {medians['transformers'] / medians['webtext-gpt']:9.2f}")


def _step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[], torch.Tensor],
    device: torch.device,
    bf16: bool,
) -> Callable[[], float]:
    def step() -> float:
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        value.item()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return step


if __name__ == "__main__":
    main()
