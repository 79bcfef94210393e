"""Seconds of a training step with `mask_documents=true` and without, on the GPU or the CPU.

python benchmarks/mask_documents.py [--n-layer 6 --n-head 6 --n-embd 384 --block-size 1024 ...]

A step is forward, backward and fused AdamW; the two alternate. The rows hold documents of
`--document` tokens on average, lengths drawn from a geometric distribution.
"""

from collections.abc import Callable

import torch

from benchmarks.common.options import parser, shape
from benchmarks.common.report import report_costs
from benchmarks.common.timing import alternate
from webtext_gpt.model import GPT, Documents, GPTConfig, cross_entropy
from webtext_gpt.training.optim import adamw
from webtext_gpt.training.precision import best_precision

END_OF_TEXT = 0


def main() -> None:
    options = parser(
        __doc__, n_layer=6, n_head=6, n_embd=384, block_size=1024, batch=2, vocab_size=50_304,
        document=600, rounds=8,
    )  # fmt: skip
    options.add_argument("--compile", action="store_true")
    args = options.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = best_precision(device.type) == "bf16-mixed"
    torch.manual_seed(0)
    model = GPT(GPTConfig(**shape(args), block_size=args.block_size)).to(device)
    optimizer = adamw(model, lr=1e-4)
    tokens = torch.randint(1, args.vocab_size, (args.batch, args.block_size + 1), device=device)
    tokens[torch.rand(tokens.shape, device=device) < 1 / args.document] = END_OF_TEXT

    def loss(inputs: torch.Tensor, targets: torch.Tensor, masked: bool) -> torch.Tensor:
        documents = Documents(inputs, END_OF_TEXT) if masked else None
        return cross_entropy(model(inputs, documents=documents), targets)

    if args.compile:
        loss = torch.compile(loss)

    def step(masked: bool) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            value = loss(tokens[:, :-1], tokens[:, 1:], masked)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        value.item()

    sides = {
        "mask_documents=true": lambda: step(masked=True),
        "mask_documents=false": lambda: step(masked=False),
    }
    costs = alternate(sides, args.rounds, warm_up=2)
    more = {}
    if device.type == "cuda":
        more["GiB at most"] = {name: f"{_peak_memory(side):.3f}" for name, side in sides.items()}
    report_costs(
        f"Does masking documents slow the training step? {args.n_layer} layers of "
        f"{args.n_embd}, {args.batch} x {args.block_size:,} tokens, {device.type}, "
        f"{'bf16' if bf16 else 'fp32'}{', compiled' if args.compile else ''}",
        costs,
        amount=args.batch * args.block_size,
        unit="tokens",
        more=more,
    )


def _peak_memory(step: Callable[[], None]) -> float:
    """Return the most memory of the GPU during a step, in GiB."""
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() / 2**30


if __name__ == "__main__":
    main()
