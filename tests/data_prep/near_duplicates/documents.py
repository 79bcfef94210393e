"""Made-up documents with copies, and the textbook formula of their similarity."""

import random


def made_up(count: int, words: int = 300, seed: int = 0) -> list[dict[str, str]]:
    """Make documents of random words; every tenth is repeated with 0 to 9 words changed."""
    rng = random.Random(seed)
    documents = [[f"w{rng.randrange(5000)}" for _ in range(words)] for _ in range(count)]
    for number in range(0, count, 10):
        copy = list(documents[number])
        for at in rng.sample(range(words), number // 10 % 10):
            copy[at] = f"x{rng.randrange(10**9)}"
        documents.append(copy)
    return [{"id": f"d{n:05d}", "text": " ".join(d), "url": f"http://a.com/{n}"}
            for n, d in enumerate(documents)]  # fmt: skip


def plain_jaccard(one: str, other: str, n: int = 5) -> float:
    """Textbook Jaccard similarity, with sets of tuples of words."""
    a, b = (
        {tuple(w[i : i + n]) for i in range(max(len(w) - n + 1, 1))}
        for w in (one.lower().split(), other.lower().split())
    )
    return len(a & b) / len(a | b)
