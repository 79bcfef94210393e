"""Greedy generation beside transformers, in turn: plain, with int8 weights, and with drafts.

python benchmarks/generation_speed.py [--threads 1 2 --batch-size 1 --rounds 3 --n-layer 12 ...]

By default: GPT-2 small's shape with random weights, from 1 token to 512, batch size 1, with one
thread and with two. It prints the median and the CPU time of each. Greedy text of random weights
soon repeats itself, so the figure with drafts is the best case; `--checkpoint` and `--prompt`
measure a real text. `--without-cache` adds a pass over the whole text for each token.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.generation import GREEDY, generate
from webtext_gpt.generation.layout import store_by_input
from webtext_gpt.generation.prompts import encode_prompts
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.model.int8 import round_weights


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("n-layer", 12),
        ("n-head", 12),
        ("n-embd", 768),
        ("vocab-size", 50_257),
        ("new-tokens", 511),
        ("batch-size", 1),
        ("rounds", 3),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--checkpoint", help="our model instead of random weights, no peer")
    parser.add_argument("--prompt", default="", help="with --checkpoint: the text to continue")
    parser.add_argument("--without-cache", action="store_true")
    args = parser.parse_args()
    programs: dict[str, Callable[[], object]] = {}
    if args.checkpoint:
        ours, tokenizer = load_language_model(args.checkpoint)
        prompt = encode_prompts(tokenizer, [args.prompt])[0]
    else:
        shape = {key: getattr(args, key) for key in ("n_layer", "n_head", "n_embd", "vocab_size")}
        torch.manual_seed(0)
        ours, prompt = GPT(GPTConfig(**shape)).eval(), [0]
        theirs = GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=None, eos_token_id=None)).eval()
        programs["transformers"] = partial(
            theirs.generate,
            torch.tensor([prompt] * args.batch_size),
            attention_mask=torch.ones(args.batch_size, 1, dtype=torch.long),
            do_sample=False,
            max_new_tokens=args.new_tokens,
            pad_token_id=0,
        )
    rounded = copy.deepcopy(ours)
    round_weights(rounded)
    store_by_input(ours)  # as generate.py does
    prompts = [prompt] * args.batch_size
    settings = {"max_new_tokens": args.new_tokens, "sampling": GREEDY}
    programs["ours"] = partial(generate, ours, prompts, **settings)
    programs["ours, int8"] = partial(generate, rounded, prompts, **settings)
    programs["ours, draft"] = partial(generate, ours, prompts, draft="ngram", **settings)
    programs["ours, int8, draft"] = partial(generate, rounded, prompts, draft="ngram", **settings)
    if args.without_cache:
        programs["ours, no cache"] = partial(generate, ours, prompts, use_cache=False, **settings)
    generate(rounded, prompts, max_new_tokens=3, sampling=GREEDY)  # compiles the loops
    for threads in args.threads:
        torch.set_num_threads(threads)
        compare(programs, args.rounds, args.new_tokens * args.batch_size, threads)


def compare(
    programs: dict[str, Callable[[], object]], rounds: int, n_tokens: int, threads: int
) -> None:
    """Run the programs in turn and print each one's median, and its ratio to the first."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, work in programs.items():
            start, cpu = time.perf_counter(), time.process_time()
            work()
            seconds[name].append((time.perf_counter() - start, time.process_time() - cpu))
    print(f"threads: {threads}")
    first = None
    for name, values in seconds.items():
        wall, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        first = first or wall
        print(
            f"{name:18} {wall:8.2f} s  {cpu:8.2f} CPU s  {n_tokens / wall:8.1f} tokens/s"
            f"  {first / wall:5.2f} times {next(iter(programs))}"
        )


if __name__ == "__main__":
    main()
