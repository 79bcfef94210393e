"""Rank corpora: `python -m webtext_gpt.evaluation.corpora corpora=[...] heldout=...`."""

from webtext_gpt.commands import run

run("corpora")
