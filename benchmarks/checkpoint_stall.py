"""Seconds for which writing a checkpoint delays training.

python benchmarks/checkpoint_stall.py [--gib 2 --device cuda --rounds 3 --tokens 64 --out FOLDER]

Trains a GPT of GPT-2 small's width, with as many layers as its weights and AdamW's moments need to
take `--gib`, on random tokens. Each round measures:

- step: a training step while nothing is written (median of three);
- before: a write to the disk (fsync) that training waits for, by the same functions;
- copy: a plain copy of every tensor to CPU memory;
- after: the time that training waits now, and the time until the file is complete;
- a step while it is written: mean of the steps until the file is complete. The writing thread uses
  memory bandwidth and, on a machine with few cores, also CPU time.

The table has medians over the rounds.
"""

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.common.options import parser
from benchmarks.common.report import figure, report
from benchmarks.common.timing import Cost, median, timed
from webtext_gpt.checkpoint.snapshot import stored_bytes, tensors
from webtext_gpt.checkpoint.store import save_checkpoint
from webtext_gpt.model import GPT, GPTConfig, cross_entropy
from webtext_gpt.training.checkpoint_io import AtomicCheckpointIO

WIDTH, VOCABULARY, CONTEXT = 768, 50_257, 1024
BEFORE = "a write that training waits for"
AFTER = "what training waits for now"


def main() -> None:
    options = parser(__doc__, rounds=3, tokens=64)
    options.add_argument("--gib", type=float, default=2.0)
    options.add_argument("--device", default="cpu")
    options.add_argument("--out", help="folder for the checkpoints; default: a temporary one")
    args = options.parse_args()
    device = torch.device(args.device)
    step, contents = _training(args.gib, args.tokens, device)
    for _ in range(3):
        step()
    costs: dict[str, list[Cost]] = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=args.out) as folder:
        for _ in range(args.rounds):
            for name, found in _round(Path(folder), step, contents).items():
                costs[name].append(found)
            for file in Path(folder).iterdir():
                file.unlink()
    report(
        f"How long does writing {stored_bytes(contents()) / 2**30:.2f} GiB of checkpoint hold "
        f"training up? {device}, {torch.get_num_threads()} threads",
        ("", "seconds", "CPU seconds"),
        [(name, *map(figure, median(some))) for name, some in costs.items()],
        ratios={"written before training goes on / copied for a thread that writes, seconds":
                median(costs[BEFORE]).wall / median(costs[AFTER]).wall},
        costs=costs,
    )  # fmt: skip


def _round(folder: Path, step: Callable[[], None], contents: Callable[[], dict]) -> dict[str, Cost]:
    found = {
        "a step, nothing being written": median([timed(step) for _ in range(3)]),
        BEFORE: timed(lambda: save_checkpoint(contents(), folder / "before.ckpt")),
        "a plain copy of every tensor": timed(lambda: [_copy(own) for own in tensors(contents())]),
    }
    io = AtomicCheckpointIO()
    whole = time.perf_counter()
    found[AFTER] = timed(lambda: io.save_checkpoint(contents(), folder / "after.ckpt"))
    steps = []
    while not (folder / "after.ckpt").exists():
        steps.append(timed(step))
    io.writer.finish()
    found["until the file is complete"] = Cost(time.perf_counter() - whole, float("nan"))
    if steps:
        means = [statistics.fmean(values) for values in zip(*steps, strict=True)]
        found["a step while it is written, mean"] = Cost(*means)
    return found


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


if __name__ == "__main__":
    main()
