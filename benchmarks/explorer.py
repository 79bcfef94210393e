"""Cost of the explorer's views beside one forward pass of the same text, and their memory.

python benchmarks/explorer.py [--tokens 1024 --rounds 5 --n-layer 12 --n-head 12 ...]

By default: GPT-2 small's shape with random weights. The first view is that of next words and
tokens together, with no forward pass in memory; the later views use its forward pass.
"""

import functools
from collections.abc import Callable

import torch

from benchmarks.common.options import parser, shape
from benchmarks.common.report import figure, report, report_costs
from benchmarks.common.timing import alternate, median
from webtext_gpt.checkpoint.load import LoadedModel
from webtext_gpt.explorer.inspector import Inspector
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import build_char_vocabulary


def main() -> None:
    options = parser(
        __doc__, n_layer=12, n_head=12, n_embd=768, vocab_size=50_257, tokens=1024, rounds=5
    )
    args = options.parse_args()
    torch.manual_seed(0)
    model = GPT(GPTConfig(**shape(args), block_size=args.tokens)).eval()
    letters = "".join(chr(0x20000 + n) for n in range(args.vocab_size - 1))  # no surrogates
    tokenizer = build_char_vocabulary([letters])
    ids = torch.randint(args.vocab_size - 1, (1, args.tokens))
    text = tokenizer.decode(ids[0].tolist())
    inspector = Inspector(LoadedModel(model, tokenizer))

    def first_view() -> None:
        nonlocal inspector
        inspector = Inspector(LoadedModel(model, tokenizer))
        inspector.next(text)
        inspector.tokens(text)

    forward = torch.inference_mode()(functools.partial(model, ids))
    costs = alternate({"first view": first_view, "forward pass": forward}, args.rounds)
    described = f"{args.tokens:,} tokens, {args.n_layer} layers of {args.n_embd}"
    kept = inspector._traces.n_bytes / 1e6
    report_costs(
        f"What does the explorer's first view cost? {described}",
        costs,
        amount=args.tokens,
        unit="tokens",
        notes=[f"Kept of the text: {kept:.0f} MB."],
    )
    last, middle = args.n_layer - 1, args.tokens // 2
    views: dict[str, Callable[[], object]] = {
        "one head, all weights": lambda: inspector.attention(text, last, 0),
        "mean of a block's heads": lambda: inspector.attention(text, last),
        "one position in every head": lambda: inspector.heads(text, args.tokens - 1),
        "one head's numbers": lambda: inspector.head(text, last, 0, args.tokens - 1),
        "logit lens": lambda: inspector.lens(text, middle),
        "MLP units": lambda: inspector.units(text, middle),
        "next words, other settings": lambda: inspector.next(text, temperature=0.7, top_p=0.9),
        "embedding neighbours": lambda: inspector.neighbours(1),
    }
    after = alternate(views, args.rounds)
    rows = [(name, figure(1000 * median(cost).wall)) for name, cost in after.items()]
    report(f"And the views after it? {described}", ("", "milliseconds"), rows, costs=after)


if __name__ == "__main__":
    main()
