"""Convert a model: `python -m webtext_gpt.weights checkpoint=... out=...`."""

from webtext_gpt.commands import run

run("weights")
