"""Short reviews of dishes, the text that the annotated classifier is trained on."""

from itertools import product

import numpy as np

NAMES = "Ann Ben Cleo Dan Eve Finn Gus Hana Ida Jon Kim Leo".split()
DISHES = "bread cake curry fish noodles pasta pie pizza rice salad soup stew".split()
PRAISE = "crisp delicious excellent fine fresh great juicy lovely perfect rich tasty tender".split()
BLAME = "awful bland burnt cold dry greasy rotten salty soggy stale tough watery".split()
PLEASED = ("asked for more", "came back", "smiled", "thanked the cook")
ANNOYED = ("complained", "left", "sent it back", "wanted a refund")


def opinion(name: str, dish: str, word: str) -> str:
    """Return the sentence that is to be classified."""
    return f"{name} found the {dish} {word}"


def reviews() -> list[str]:
    """Return each opinion with each reaction that goes with it, in random order, unlabelled."""
    kinds = ((PRAISE, PLEASED), (BLAME, ANNOYED))
    every = [
        f"{opinion(name, dish, word)} and {reaction}."
        for words, reactions in kinds
        for name, dish, word, reaction in product(NAMES, DISHES, words, reactions)
    ]
    order = np.random.default_rng(0).permutation(len(every))
    return [every[number] for number in order]


def labelled(words: slice) -> list[tuple[str, str]]:
    """Return opinions of some of the words with their labels, `praise` or `blame`.

    Args:
        words: which of the words of praise, and which of those of blame.
    """
    rows = []
    for label, own in (("praise", PRAISE), ("blame", BLAME)):
        rows += [(opinion(*w), label) for w in product(NAMES, DISHES, own[words])]
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[number] for number in order]
