"""Constants of the fitted loss law, and the range of the ladder of runs that they are fitted to.

Printed by `python benchmarks/ladder.py`, whose runs are in docs/pictures/ladder.csv and whose
picture is docs/pictures/ladder.png: models of `recipe=modern` on `data=docstrings` with
`tokenizer=trained`. Held out, the largest model's loss is predicted within 1.2 % for 4 and 8
million tokens; at 16 million, it is 5.5 % lower than the law: docs/decisions.md.
"""

from webtext_gpt.dial.laws import LossLaw, Shape

LOSS = LossLaw(1.52646, 26.9435, 0.28, 136.353, 0.28)
"""Fitted to all runs but the largest model's."""
VOCAB_SIZE = 4096
"""Vocabulary of the ladder; also used for the cost on a corpus whose vocabulary is not known."""
FEWEST_TOKENS = 1_048_576
"""Shortest training of the ladder."""
SMALLEST, LARGEST = Shape(2), Shape(8)
"""Smallest and largest model of the ladder."""
EXTRAPOLATION = 10
"""Limit of a model's size, as a multiple of the ladder's largest model."""
