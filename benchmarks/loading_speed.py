"""Time of loading a language model from a checkpoint, and transformers' from its own folder.

python benchmarks/loading_speed.py [--rounds 7 --n-layer 12 --n-embd 768 ...]

A model of GPT-2 small's shape by default, with random weights, is written to a temporary folder in
both formats and loaded in turn. The files are in the page cache.
"""

import tempfile
from pathlib import Path

import torch
from transformers import GPT2LMHeadModel

from benchmarks.common.options import parser, shape
from benchmarks.common.report import report_costs
from benchmarks.common.timing import alternate
from webtext_gpt.checkpoint.load import load, save_model
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import build_char_vocabulary
from webtext_gpt.weights import hugging_face


def main() -> None:
    args = parser(
        __doc__, n_layer=12, n_head=12, n_embd=768, vocab_size=50_257, rounds=7
    ).parse_args()
    torch.manual_seed(0)
    model = GPT(GPTConfig(**shape(args)))
    tokenizer = build_char_vocabulary(["abc"])
    with tempfile.TemporaryDirectory() as name:
        checkpoint, folder = Path(name) / "model.ckpt", Path(name) / "transformers"
        save_model(model, tokenizer, checkpoint)
        hugging_face.save(model, tokenizer, folder)
        costs = alternate(
            {
                "webtext-gpt": lambda: load(checkpoint),
                "transformers": lambda: GPT2LMHeadModel.from_pretrained(folder),
            },
            args.rounds,
        )
        megabytes = checkpoint.stat().st_size / 1e6
    report_costs(
        f"How long does a model take to load? {model.num_parameters:,} parameters, "
        f"{megabytes:,.0f} MB in fp32",
        costs,
    )


if __name__ == "__main__":
    main()
