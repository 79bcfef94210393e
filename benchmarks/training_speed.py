"""A full training step beside transformers' GPT-2 and nanoGPT: speed, share of the peak, memory.

python benchmarks/training_speed.py [--nanogpt FOLDER] [--eager] [--n-layer 6 --batch 4 ...]

A step is forward, loss, backward, clipping and fused AdamW, compiled by torch.compile unless
--eager is given, in bf16 where the hardware multiplies it. Each side is a process of its own, so
that its memory can be measured, and takes its steps while the others wait. FOLDER is a checkout of
nanoGPT.
"""

import multiprocessing
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.common.machine import machine, sentence
from benchmarks.common.options import parser, shape
from benchmarks.common.report import report_costs
from benchmarks.common.timing import Cost, median, timed

WARM_UP = 3
"""Steps that are not counted; the first one compiles."""

Loss = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    options = parser(
        __doc__,
        n_layer=6,
        n_head=6,
        n_embd=384,
        block_size=256,
        batch=4,
        vocab_size=50_304,
        rounds=8,
    )
    options.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    options.add_argument("--eager", action="store_true", help="do not compile")
    args = options.parse_args()
    names = ["webtext-gpt", "transformers", *(["nanoGPT"] if args.nanogpt else [])]
    sides = {name: Side(name, args) for name in names}
    for side in sides.values():  # one after the other, since compiling takes all cores
        side.ask("warm up")
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    peak = Side("peak", args)
    peaks = []
    for _ in range(args.rounds):
        peaks.append(peak.ask("measure"))
        for name, side in sides.items():
            costs[name].append(side.ask("step"))
    memory = {name: side.ask("memory") for name, side in sides.items()}
    for side in (peak, *sides.values()):
        side.end()

    from webtext_gpt.model import GPTConfig

    tokens = args.batch * args.block_size
    flops = GPTConfig(**shape(args), block_size=args.block_size).flops_per_token * tokens
    more = {"peak memory, MiB": {name: f"{bytes_ / 2**20:,.0f}" for name, bytes_ in memory.items()}}
    notes = [sentence(machine())]
    if known := max(filter(None, peaks), default=None):
        speeds = {name: flops / median(some).wall for name, some in costs.items()}
        more["share of the peak"] = {name: f"{s / known:.1%}" for name, s in speeds.items()}
        notes.append(f"peak of matrix products: {known / 1e9:,.0f} GFLOP/s")
    how = "uncompiled" if args.eager else "compiled"
    question = f"How fast is a full training step, {how}, vocabulary {args.vocab_size:,}?"
    report_costs(question, costs, amount=tokens, unit="tokens", more=more, notes=notes)


class Side:
    """A process that answers requests, and is idle between them.

    Args:
        name: a model, or `peak` for the machine's speed of matrix products.
        args: the options of the command line.
    """

    def __init__(self, name: str, args: Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, args, theirs), daemon=False)
        self._process.start()
        theirs.close()

    def ask(self, request: str) -> Any:
        """Return the answer to a request: `warm up`, `step`, `memory`, or of `peak` `measure`."""
        self._connection.send(request)
        return self._connection.recv()

    def end(self) -> None:
        """Wait for the end of the process."""
        self._connection.close()
        self._process.join()


def _serve(name: str, args: Namespace, connection: Connection) -> None:
    """Answer requests until the other end is closed."""
    from webtext_gpt.training.precision import best_precision, peak_flops

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    is_bf16 = best_precision(device.type) == "bf16-mixed"
    answers: dict[str, Callable[[], object]] = {}
    if name == "peak":
        dtype = torch.bfloat16 if is_bf16 else torch.float32
        answers["measure"] = lambda: peak_flops(device, dtype)
    else:
        step = _step(name, args, device, is_bf16)

        def warm_up() -> None:
            for _ in range(WARM_UP):
                step()
            _reset_peak(device)

        answers |= {
            "warm up": warm_up,
            "step": lambda: timed(step),
            "memory": lambda: _peak_memory(device),
        }
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        connection.send(answers[request]())


def _step(name: str, args: Namespace, device: torch.device, is_bf16: bool) -> Callable[[], None]:
    """Return a training step of a side's model on one random batch."""
    torch.manual_seed(0)
    tokens = torch.randint(args.vocab_size, (args.batch, args.block_size + 1), device=device)
    x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    model, optimizer, loss = MODELS[name](args, device)
    if not args.eager:
        loss = torch.compile(loss)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=is_bf16):
            value = loss(x, y)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        value.item()

    return step


def _ours(args: Namespace, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer, Loss]:
    from webtext_gpt.model import GPT, GPTConfig, cross_entropy
    from webtext_gpt.training.allocation import keep_freed_memory
    from webtext_gpt.training.language_loss import loss_to_compile
    from webtext_gpt.training.optim import adamw

    if device.type == "cpu":
        keep_freed_memory()  # as training does
    model = GPT(GPTConfig(**shape(args), block_size=args.block_size)).to(device)
    plain: Loss = lambda x, y: cross_entropy(model(x), y)  # noqa: E731 - one of two
    return model, adamw(model, lr=1e-3), plain if args.eager else loss_to_compile(model)


def _transformers(
    args: Namespace, device: torch.device
) -> tuple[nn.Module, torch.optim.Optimizer, Loss]:
    from transformers import GPT2Config, GPT2LMHeadModel

    no_dropout = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
    model = GPT2LMHeadModel(GPT2Config(**shape(args), n_positions=args.block_size, **no_dropout))
    model.to(device)

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x).logits.flatten(0, 1).float(), y.flatten())

    return model, torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True), loss


def _nanogpt(
    args: Namespace, device: torch.device
) -> tuple[nn.Module, torch.optim.Optimizer, Loss]:
    sys.path.insert(0, str(args.nanogpt))
    import model as nanogpt  # type: ignore[import-not-found]

    made = nanogpt.GPT(nanogpt.GPTConfig(**shape(args), block_size=args.block_size)).to(device)
    # Its own choice would be fused on GPUs only.
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-3, fused=True)
    return made, optimizer, lambda x, y: made(x, y)[1]


MODELS = {"webtext-gpt": _ours, "transformers": _transformers, "nanoGPT": _nanogpt}


def _reset_peak(device: torch.device) -> None:
    """Reset the peak of memory, which includes that of compilation."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text(
            "5", encoding="ascii"
        )  # see `man proc_pid_clear_refs`


def _peak_memory(device: torch.device) -> int:
    """Return the peak since the reset, in bytes: of tensors on a GPU, or of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main()
