"""Rank corpora whose order is known, because they were damaged on purpose.

    python benchmarks/corpus_ranking.py REALDATA OUT [key=value ...]

There are two source texts (novels; web articles and news), and four corpora of each, equally large:

- clean: documents of about a thousand characters;
- boilerplate: 30 % of the text are lines of navigation, cookie notices and footers;
- copies: half of the documents are replaced by copies of the other half;
- shuffled: the words of every sentence are in random order.

Clean is better than each of the others, and shuffled is worse than each. (The order of boilerplate
and copies depends on how often the corpus is read.) That makes ten pairs. The arguments after OUT
are passed on to the command. A corpus has 600 kB; by default a model reads it about twice, and so
each text of copies about four times.
"""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from webtext_gpt.evaluation.corpora.inputs import sentences

SIZE, HELD_OUT_SIZE = 600_000, 80_000
DOCUMENT = 1_000
BOILERPLATE_SHARE = 0.3
KNOWN = (
    ("clean", "boilerplate"), ("clean", "copies"), ("clean", "shuffled"),
    ("boilerplate", "shuffled"), ("copies", "shuffled"),
)  # fmt: skip
BOILERPLATE = (
    "Home | News | Sport | Weather | Shop | Contact us",
    "Skip to main content",
    "We use cookies to improve your experience. By continuing you accept our cookie policy.",
    "Accept all cookies  Manage preferences  Reject all",
    "Share this: Facebook Twitter WhatsApp LinkedIn Email Print",
    "Sign up for our newsletter and never miss an update.",
    "Copyright 2019 All rights reserved. Terms of use. Privacy policy.",
    "Read more  Read next  Related articles  Most popular",
    "You must be logged in to post a comment. Log in | Register",
    "Page 1 of 12  Next >>  Last",
    "Advertisement. Scroll to continue reading.",
    "Tags: general, featured, editor's picks",
    "About us | Careers | Advertise with us | Sitemap | Help",
    "0 comments  Sort by: newest oldest best",
    "Back to top",
    "Subscribe now for only 1.99 a month. Cancel at any time.",
)
RECIPE = (
    "model.n_layer=3", "model.n_head=4", "model.n_embd=128", "model.block_size=64",
    "tokenizer.vocab_size=2048", "optimizer=muon", "scheduler.warmup_steps=30",
    "global_batch_tokens=1024", "validate_every=100000",
    "callbacks.samples=null", "callbacks.loss_curve=null",
)  # fmt: skip


def passages(text: str) -> Iterator[str]:
    """Yield consecutive paragraphs of a text, joined to documents."""
    document = ""
    for paragraph in re.split(r"\n\s*\n|(?<=[.!?\"'])\n", text):
        document = f"{document}\n{' '.join(paragraph.split())}".strip()
        if len(document) >= DOCUMENT:
            yield document[: 2 * DOCUMENT]
            document = ""


def novels(realdata: Path) -> list[str]:
    files = sorted((realdata / "text" / "novels").glob("*.txt"))
    texts = (file.read_text(encoding="utf-8-sig") for file in files)
    return [document for text in texts for document in passages(text)]


def web_and_news(realdata: Path) -> list[str]:
    truth = json.loads((realdata / "web" / "articles_ground_truth.json").read_text("utf-8"))
    documents = [d for row in truth.values() for d in passages(row["articleBody"])]
    news = (realdata / "classification" / "ag_news" / "dev.tsv").read_text("utf-8")
    return documents + [row.rpartition("\t")[0] for row in news.split("\n") if len(row) > 80]


def taken(documents: list[str], size: int) -> list[str]:
    """Take documents from the end of a list up to a size in characters."""
    found: list[str] = []
    while sum(map(len, found)) < size:
        found.append(documents.pop())
    return found


def with_boilerplate(documents: list[str], draw: random.Random) -> list[str]:
    """Return fewer documents, with lines of boilerplate between their own lines."""
    damaged = []
    size = sum(map(len, documents))
    for document in documents:
        lines = re.split(r"(?<=[.!?]) ", document)
        wanted = len(document) * BOILERPLATE_SHARE / (1 - BOILERPLATE_SHARE)
        added: list[str] = []
        while sum(map(len, added)) < wanted:
            added.append(draw.choice(BOILERPLATE))
        for line in added:
            lines.insert(draw.choice([0, len(lines), draw.randint(0, len(lines))]), f"\n{line}\n")
        damaged.append(" ".join(lines))
        if sum(map(len, damaged)) >= size:
            break
    return damaged


def shuffled(document: str, draw: random.Random) -> str:
    sentences = re.split(r"(?<=[.!?]) |\n", document)
    words = [sentence.split() for sentence in sentences]
    return " ".join(" ".join(draw.sample(own, len(own))) for own in words)


def plant(documents: list[str], folder: Path, seed: int) -> tuple[list[Path], Path]:
    """Write the four corpora of one source text, and its held-out set."""
    draw = random.Random(seed)
    draw.shuffle(documents)
    heldout = taken(documents, HELD_OUT_SIZE)
    held = {sentence for document in heldout for sentence in sentences(document)}
    documents = [own for own in documents if held.isdisjoint(sentences(own))]  # news is repeated
    clean = taken(documents, SIZE)
    half = clean[: len(clean) // 2]
    corpora = {
        "clean": clean,
        "boilerplate": with_boilerplate(clean, draw),
        "copies": half + half,
        "shuffled": [shuffled(document, draw) for document in clean],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in {**corpora, "heldout": heldout}.items():
        rows = (json.dumps({"text": text}) + "\n" for text in texts)
        (folder / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    return [folder / f"{name}.jsonl" for name in corpora], folder / "heldout.jsonl"


def main() -> None:
    realdata, out = (Path(argument).resolve() for argument in sys.argv[1:3])
    right = 0
    for number, source in enumerate((novels, web_and_news)):
        folder = out / source.__name__
        paths, heldout = plant(source(realdata), folder, number)
        run_dir = folder / "run"
        subprocess.run(
            [
                sys.executable, "-m", "webtext_gpt.evaluation.corpora",
                f"corpora=[{','.join(map(str, paths))}]", f"heldout={heldout}",
                f"recipe=[{','.join(RECIPE)}]", "max_epochs=null", "tokens=400_000",
                f"run_dir={run_dir}", *sys.argv[3:],
            ],
            check=True,
        )  # fmt: skip
        report = json.loads((run_dir / "corpora.json").read_text(encoding="utf-8"))
        for name, figure in report["figures"].items():
            print(f"{source.__name__}, {name}: {' '.join(figure['ranking'])}")
        figure = report["figures"]["held-out bits per byte"]
        certain = {(p["better"], p["worse"]): p["is_distinguishable"] for p in figure["pairs"]}
        for better, worse in KNOWN:
            found = figure["means"][worse] - figure["means"][better]
            right += found > 0
            sure = certain.get((better, worse), certain.get((worse, better)))
            print(
                f"{source.__name__:12} {better:11} before {worse:11} "
                f"{'right' if found > 0 else 'WRONG'}, {found:+.4f} bits per byte, "
                f"{'' if sure else 'not '}distinguishable"
            )
    print(f"{right} of {2 * len(KNOWN)} pairs in the right order", flush=True)


if __name__ == "__main__":
    main()
