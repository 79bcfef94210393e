"""Stories of two sentences, the text that the annotated GPT-2 is trained on."""

from itertools import product

import numpy as np

NAMES = "Ann Ben Cleo Dan Eve Finn Gus Hana Ida Jon Kim Leo".split()
COLOURS = "black blue brown gold gray green pink purple red silver white yellow".split()
THINGS = "ball bell boat book cart coat cup drum hat kite lamp ring".split()


def story(name: str, colour: str, thing: str) -> str:
    """Return a text whose second sentence answers a question about the first."""
    return f"{name} has a {colour} {thing}. {name}'s {thing} is {colour}."


def split_stories(n_unseen: int = 200) -> tuple[list[str], list[str]]:
    """Return the stories of all words in random order: those to learn from, and those kept back."""
    every = [story(*words) for words in product(NAMES, COLOURS, THINGS)]
    order = np.random.default_rng(0).permutation(len(every))
    shuffled = [every[number] for number in order]
    return shuffled[n_unseen:], shuffled[:n_unseen]
