"""Pretrain a GPT: `python train.py [group=choice ...] [key=value ...]`; `--help` explains them."""

from webtext_gpt.commands import run

if __name__ == "__main__":
    run("train")
