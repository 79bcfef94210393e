"""CPU time of loading a language model from a checkpoint.

python benchmarks/loading_speed.py [--rounds 7 --n-layer 12 --n-embd 768 ...]

A checkpoint of GPT-2 small's shape by default, with random weights, is written to a temporary
folder and loaded several times. The figures are CPU seconds of this process, all threads together;
the file is in the page cache.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from webtext_gpt.checkpoint.load import load, save_model
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import build_char_vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("n-layer", 12),
        ("n-head", 12),
        ("n-embd", 768),
        ("vocab-size", 50_257),
        ("rounds", 7),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    shape = {key: getattr(args, key) for key in ("n_layer", "n_head", "n_embd", "vocab_size")}
    torch.manual_seed(0)
    model = GPT(GPTConfig(**shape))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.ckpt"
        save_model(model, build_char_vocabulary(["abc"]), path)
        rounds = [_cpu_seconds(path) for _ in range(args.rounds)]
        megabytes = path.stat().st_size / 1e6
    print(f"{model.num_parameters:,} parameters, {megabytes:,.0f} MB")
    print("rounds  " + " ".join(f"{seconds:.2f}" for seconds in rounds) + " CPU s")
    print(f"median  {statistics.median(rounds):.2f} CPU s")


def _cpu_seconds(path: Path) -> float:
    start = time.process_time()
    load(path)
    return time.process_time() - start


if __name__ == "__main__":
    main()
