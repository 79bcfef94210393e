"""Greedy generation with and without the key-value cache, and by transformers, in one run.

python benchmarks/generation_speed.py [--new-tokens 511 --n-layer 12 --n-embd 768 ...]

By default: GPT-2 small's shape with random weights, from 1 token to 512, batch size 1.
"""

import argparse
import time
from collections.abc import Callable

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from webtext_gpt.generation import GREEDY, generate
from webtext_gpt.model import GPT, GPTConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("n-layer", 12),
        ("n-head", 12),
        ("n-embd", 768),
        ("vocab-size", 50_257),
        ("new-tokens", 511),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    shape = {key: getattr(args, key) for key in ("n_layer", "n_head", "n_embd", "vocab_size")}
    torch.manual_seed(0)
    ours = GPT(GPTConfig(**shape)).eval()
    theirs = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=None, eos_token_id=None)).eval()
    prompt = [0]

    def with_cache() -> None:
        generate(ours, [prompt], max_new_tokens=args.new_tokens, sampling=GREEDY)

    def without_cache() -> None:
        generate(ours, [prompt], max_new_tokens=args.new_tokens, sampling=GREEDY, use_cache=False)

    def transformers() -> None:
        theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, 1, dtype=torch.long),
            do_sample=False,
            max_new_tokens=args.new_tokens,
            pad_token_id=0,
        )

    generate(ours, [prompt], max_new_tokens=3, sampling=GREEDY)  # warm up
    seconds = {f.__name__: _seconds(f) for f in (with_cache, transformers, without_cache)}
    for name, value in seconds.items():
        print(f"{name:15} {value:8.1f} s  {args.new_tokens / value:7.1f} tokens/s")
    ratio = seconds["without_cache"] / seconds["with_cache"]
    print(f"the cache makes generation {ratio:.1f} times as fast")


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
