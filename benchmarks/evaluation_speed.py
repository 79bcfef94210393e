"""Speed of sliding-window scoring, compared with the usual loop over a transformers model.

python benchmarks/evaluation_speed.py TEXT TOKENIZER_FOLDER [--stride 512 --rounds 5 --windows 8]

In turn, both score the same windows of the text with the same random weights in the shape of GPT-2
small.
"""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import GPT2LMHeadModel

from benchmarks.common.options import parser, shape
from benchmarks.common.report import report_costs
from benchmarks.common.timing import alternate
from webtext_gpt.evaluation.scoring import Scorer, Window
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, load_gpt2
from webtext_gpt.weights import hugging_face


def main() -> None:
    options = parser(__doc__, n_layer=12, n_head=12, n_embd=768, stride=512, windows=8, rounds=5)
    options.add_argument("text", type=Path, help="a long UTF-8 text")
    options.add_argument("tokenizer", type=Path, help="folder with GPT-2's tokenizer files")
    args = options.parse_args()
    torch.manual_seed(0)
    tokenizer = load_gpt2(args.tokenizer)
    ours = GPT(GPTConfig(**shape(args))).eval()
    theirs = _as_transformers(ours, tokenizer)
    scorer = Scorer(ours, tokenizer, stride=args.stride)
    windows = scorer.sliding_windows(args.text.read_text(encoding="utf-8"))
    some = windows[1 : 1 + args.windows]  # the first window scores more tokens than the others
    totals: dict[str, float] = {}

    def score() -> None:
        totals["webtext-gpt"], _ = scorer.total(some)

    def loop() -> None:
        totals["transformers"] = sum(_log_probability(theirs, window) for window in some)

    costs = alternate({"webtext-gpt": score, "transformers": loop}, args.rounds)
    difference = abs(totals["webtext-gpt"] / totals["transformers"] - 1)
    report_costs(
        f"How fast is a text scored in sliding windows? {args.n_layer} layers of {args.n_embd}, "
        f"context 1,024, stride {args.stride}",
        costs,
        amount=sum(window.scored for window in some),
        unit="scored tokens",
        notes=[f"Relative difference of the log-probabilities: {difference:.0e}."],
    )


@torch.inference_mode()
def _log_probability(model: GPT2LMHeadModel, window: Window) -> float:
    tokens = torch.as_tensor(window.tokens)[None]
    logits = model(tokens[:, :-1]).logits[0, -window.scored :]
    return -float(F.cross_entropy(logits, tokens[0, -window.scored :], reduction="sum"))


def _as_transformers(model: GPT, tokenizer: Tokenizer) -> GPT2LMHeadModel:
    with tempfile.TemporaryDirectory() as folder:
        hugging_face.save(model, tokenizer, Path(folder) / "model")
        return GPT2LMHeadModel.from_pretrained(Path(folder) / "model").eval()


if __name__ == "__main__":
    main()
