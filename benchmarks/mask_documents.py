"""Seconds of a training step with `mask_documents=true` and without, on the GPU or the CPU.

python benchmarks/mask_documents.py [--n-layer 6 --n-head 6 --n-embd 384 --block-size 1024 ...]

Each round times one step (forward, backward, fused AdamW) of each, so that drift in the machine's
speed affects both; on the CPU also in CPU seconds, because other programs may run. The rows hold
documents of `--document` tokens on average, lengths drawn from a geometric distribution.
"""

import argparse
import resource
import statistics
import time

import torch

from webtext_gpt.model import GPT, Documents, GPTConfig, cross_entropy
from webtext_gpt.training.optim import adamw
from webtext_gpt.training.precision import best_precision

END_OF_TEXT = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("n-layer", 6),
        ("n-head", 6),
        ("n-embd", 384),
        ("block-size", 1024),
        ("batch", 2),
        ("vocab-size", 50_304),
        ("document", 600),
        ("rounds", 8),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    shape = {key: getattr(args, key) for key in ("n_layer", "n_head", "n_embd", "vocab_size")}

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = best_precision(device.type) == "bf16-mixed"
    torch.manual_seed(0)
    model = GPT(GPTConfig(**shape, block_size=args.block_size)).to(device)
    optimizer = adamw(model, lr=1e-4)
    tokens = torch.randint(1, args.vocab_size, (args.batch, args.block_size + 1), device=device)
    tokens[torch.rand(tokens.shape, device=device) < 1 / args.document] = END_OF_TEXT

    def loss(inputs: torch.Tensor, targets: torch.Tensor, masked: bool) -> torch.Tensor:
        documents = Documents(inputs, END_OF_TEXT) if masked else None
        return cross_entropy(model(inputs, documents=documents), targets)

    if args.compile:
        loss = torch.compile(loss)

    def step(masked: bool) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), _cpu_seconds()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            value = loss(tokens[:, :-1], tokens[:, 1:], masked)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        value.item()  # waits for the GPU
        return time.perf_counter() - wall, _cpu_seconds() - cpu

    times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for _ in range(2 + args.rounds):
        for masked, measured in times.items():
            measured.append(step(masked))
    medians = {
        masked: [statistics.median(column) for column in zip(*measured[2:], strict=True)]
        for masked, measured in times.items()
    }
    print(f"{device.type}, {'bf16' if bf16 else 'fp32'}, {args}")
    for masked, (wall, cpu) in medians.items():
        print(f"mask_documents={masked!s:6} {wall:8.4f} s, {cpu:8.4f} CPU seconds")
    wall, cpu = (on / off for on, off in zip(medians[True], medians[False], strict=True))
    print(f"ratio                 {wall:8.3f}    {cpu:8.3f}")
    if device.type == "cuda":
        for masked in times:
            torch.cuda.reset_peak_memory_stats()
            step(masked)
            peak = torch.cuda.max_memory_allocated() / 2**30
            print(f"mask_documents={masked!s:6} {peak:8.3f} GiB at most")


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
