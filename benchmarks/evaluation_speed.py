"""Speed of sliding-window scoring, compared with the usual loop over a transformers model.

python benchmarks/evaluation_speed.py TEXT TOKENIZER_FOLDER [--stride 512 --rounds 5 --windows 8]

In each round, both score the same windows of the text with the same random weights in the shape of
GPT-2 small. The script prints the median speeds, their ratio, and the largest relative difference
between the two log-probabilities.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import GPT2LMHeadModel

from webtext_gpt.evaluation.scoring import Scorer, Window
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, load_gpt2
from webtext_gpt.weights import hugging_face


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, help="a long UTF-8 text")
    parser.add_argument("tokenizer", type=Path, help="folder with GPT-2's tokenizer files")
    for name, default in (
        ("n-layer", 12),
        ("n-head", 12),
        ("n-embd", 768),
        ("stride", 512),
        ("windows", 8),
        ("rounds", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    shape = {key: getattr(args, key) for key in ("n_layer", "n_head", "n_embd")}
    torch.manual_seed(0)
    tokenizer = load_gpt2(args.tokenizer)
    ours = GPT(GPTConfig(**shape)).eval()
    theirs = _as_transformers(ours, tokenizer)
    scorer = Scorer(ours, tokenizer, stride=args.stride)
    windows = scorer.sliding_windows(args.text.read_text(encoding="utf-8"))
    times: dict[str, list[float]] = {"webtext-gpt": [], "transformers": []}
    difference = 0.0
    for number in range(args.rounds):
        start = 1 + number * args.windows  # the first window scores more tokens than the others
        some = windows[start : start + args.windows]
        began = time.perf_counter()
        our_total, n_tokens = scorer.total(some)
        middle = time.perf_counter()
        their_total = sum(_log_probability(theirs, window) for window in some)
        times["webtext-gpt"].append(n_tokens / (middle - began))
        times["transformers"].append(n_tokens / (time.perf_counter() - middle))
        difference = max(difference, abs(our_total / their_total - 1))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, speed in medians.items():
        print(f"{name:13} {speed:8.1f} scored tokens/s")
    print(f"ratio {medians['webtext-gpt'] / medians['transformers']:.2f}")
    print(f"largest relative difference of log-probabilities {difference:.1e}")


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
