"""Seconds for which writing a checkpoint holds training up.

python benchmarks/checkpoint_stall.py [--gib 2 --device cuda --rounds 3 --tokens 64 --out FOLDER]

Trains a GPT of GPT-2 small's width, with as many layers as its weights and AdamW's moments need to
take `--gib`, on random tokens. Each round measures:

- step: a training step with nothing being written (median of three);
- before: a write that training waits for, to the disk (fsync), from the same functions;
- copy: a plain copy of every tensor to CPU memory;
- after: what training waits for now, and how long the file then takes;
- a step while it is written: mean of the steps until the file is complete. The thread takes memory
  bandwidth, and on a machine with few cores also time.

CPU seconds of the process, all threads together, stand beside the wall clock, since other work on
the machine changes the latter.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from webtext_gpt.checkpoint.snapshot import stored_bytes, tensors
from webtext_gpt.checkpoint.store import save_checkpoint
from webtext_gpt.model import GPT, GPTConfig, cross_entropy
from webtext_gpt.training.checkpoint_io import AtomicCheckpointIO

WIDTH, VOCABULARY, CONTEXT = 768, 50_257, 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--out", help="folder for the checkpoints; default: a temporary one")
    args = parser.parse_args()
    device = torch.device(args.device)
    step, contents = _training(args.gib, args.tokens, device)
    for _ in range(3):
        step()
    print(
        f"{stored_bytes(contents()) / 2**30:.2f} GiB on {device}, {torch.get_num_threads()} thread"
    )
    print("           seconds (CPU seconds)")
    with tempfile.TemporaryDirectory(dir=args.out) as folder:
        for number in range(args.rounds):
            _round(Path(folder), step, contents)
            for file in Path(folder).iterdir():
                file.unlink()
            print(f"           end of round {number + 1}")


def _round(folder: Path, step: Callable[[], None], contents: Callable[[], dict]) -> None:
    _show("step", *_median([_timed(step) for _ in range(3)]))
    _show("before", *_timed(lambda: save_checkpoint(contents(), folder / "before.ckpt")))
    _show("copy", *_timed(lambda: [_copy(tensor) for tensor in tensors(contents())]))
    io = AtomicCheckpointIO()
    began = time.perf_counter()
    _show("after", *_timed(lambda: io.save_checkpoint(contents(), folder / "after.ckpt")))
    steps = []
    while not (folder / "after.ckpt").exists():
        steps.append(_timed(step))
    io.writer.finish()
    _show("file", time.perf_counter() - began, float("nan"))
    if steps:
        means = [statistics.fmean(values) for values in zip(*steps, strict=True)]
        _show(f"{len(steps)} steps", *means)


def _training(
    gib: float, tokens: int, device: torch.device
) -> tuple[Callable[[], None], Callable[[], dict]]:
    """Return one training step, and the contents of a checkpoint."""
    layer = 12 * WIDTH**2 + 13 * WIDTH
    embeddings = (VOCABULARY + CONTEXT + 2) * WIDTH
    n_layer = max(1, round((gib * 2**30 / 12 - embeddings) / layer))
    torch.manual_seed(0)
    config = GPTConfig(
        n_layer=n_layer, n_head=12, n_embd=WIDTH, vocab_size=VOCABULARY, block_size=CONTEXT
    )
    model = GPT(config).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    batch = torch.randint(VOCABULARY, (1, tokens + 1), device=device)

    def step() -> None:
        cross_entropy(model(batch[:, :-1]), batch[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    def contents() -> dict:
        return {
            "state_dict": model.state_dict(),
            "optimizer_states": [optimizer.state_dict()],
            "global_step": 1,
        }

    return step, contents


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _median(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)


def _show(name: str, wall: float, cpu: float) -> None:
    print(f"{name:10} {wall:7.2f} ({cpu:.2f})", flush=True)


if __name__ == "__main__":
    main()
