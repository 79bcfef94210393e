"""CNN/Daily Mail: summarize an article after `TL;DR:` (See et al. 2017; section 3.6).

100 tokens are sampled with top-k 2. Their first three sentences are the summary.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from webtext_gpt.data.rows import Row, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark, Measurement, Options, PaperFigures
from webtext_gpt.evaluation.data_source import DataSource, Original
from webtext_gpt.evaluation.prompted import answers, cut_end, fitted, room_for_prompt
from webtext_gpt.evaluation.published import published_lines
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.text_metrics import rouge_scores
from webtext_gpt.generation import Sampling

HINT = "\nTL;DR:"
SUMMARY_TOKENS = 100
SUMMARY_SENTENCES = 3
TEST_STORIES = 11_490
"""Number of stories in the test set."""
_ENDINGS = (".", "!", "?", "'", "`", '"', "\u2019", "\u201d", ")")
"""Characters that end a sentence in the authors' script; other lines get a full stop."""


@dataclass(frozen=True)
class Summarization(Benchmark):
    """F-measures of ROUGE-1, ROUGE-2 and ROUGE-L, and their mean."""

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Summarize every article. See `Benchmark.run`."""
        rows = self.source.rows(data_dir, options.limit)
        room = room_for_prompt(scorer, SUMMARY_TOKENS + len(scorer.tokenizer.encode(HINT)))
        articles = [text_value(row, "article", place).strip() for place, row in rows]
        written = answers(
            scorer,
            self.name,
            [fitted(scorer, article, room, cut_end) + HINT for article in articles],
            max_new_tokens=SUMMARY_TOKENS,
            batch_size=options.batch_size,
            sampling=Sampling(top_k=2),
        )
        summaries = ["\n".join(sentences(text)[:SUMMARY_SENTENCES]) for text in written]
        highlights = [text_value(row, "highlights", place) for place, row in rows]
        found = rouge_scores(summaries, highlights, ("rouge1", "rouge2", "rougeLsum"))
        scores = dict(zip(("rouge1", "rouge2", "rougeL"), found.values(), strict=True))
        scores["rouge_average"] = [fmean(values) for values in zip(*found.values(), strict=True)]
        metrics = {name: fmean(values) for name, values in scores.items()}
        return Measurement(metrics, len(rows), per_example=scores)


def sentences(text: str) -> list[str]:
    """Split a text after `.`, `!` or `?` and at line breaks; empty sentences are dropped."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]


def read_listed_stories(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    """Read the stories that `all_test.txt`, the first file, lists by their URLs.

    A story's file is named by the SHA-1 of its URL.

    Raises:
        UserError: listed stories are missing, or a story has no summary.
    """
    urls, *stories = files
    by_hash = {story.stem: story for story in stories}
    listed = [
        (url, hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest())
        for _, url in published_lines(urls)
    ]
    missing = [f"{name}.story ({url})" for url, name in listed if name not in by_hash]
    if missing:
        raise UserError(
            f"{len(missing):,} of the {len(listed):,} stories that {urls} lists are missing, the "
            f"first is {missing[0]}; unpack both cnn_stories.tgz and dailymail_stories.tgz"
        )
    yield from map(_story, (by_hash[name] for _, name in listed))


def read_stories(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    """Read stories in the order of their paths.

    Raises:
        UserError: there are more than in the test set, or a story has no summary.
    """
    if len(files) > TEST_STORIES:
        raise UserError(
            f"{files[0].parent} and other folders have {len(files):,} stories, more than the test "
            f"set's {TEST_STORIES:,}; put all_test.txt there, which lists it (github.com/abisee/"
            "cnn-dailymail, url_lists)"
        )
    yield from map(_story, files)


def _story(file: Path) -> tuple[str, Row]:
    """Return a story as a row of the dataset on the hub.

    As in See et al.'s script, but without lower-casing: paragraphs are joined by spaces and
    highlights by newlines, each with a full stop if it has no final punctuation.
    """
    lines = [line for _, line in published_lines(file)]
    lines = [line if line.endswith(_ENDINGS) else f"{line} ." for line in lines]
    heading = [line.startswith("@highlight") for line in lines]
    first = heading.index(True) if True in heading else len(lines)
    pairs = list(zip(lines, heading, strict=True))
    highlights = [line for line, is_heading in pairs[first:] if not is_heading]
    if not first or not highlights:
        part = "text before" if not first else "summary after"
        raise UserError(f"{file} has no {part} the line @highlight; download it again")
    return str(file), {"article": " ".join(lines[:first]), "highlights": "\n".join(highlights)}


CNN_DAILYMAIL = Summarization(
    name="cnn_dailymail",
    source=DataSource(
        files=("cnn_dailymail_test.jsonl", "cnn_dailymail_test.parquet"),
        columns=("article", "highlights"),
        hub="abisee/cnn_dailymail",
        config="3.0.0",
        origin="cs.nyu.edu/~kcho/DMQA",
        originals=(
            Original(("all_test.txt", "*.story"), read_listed_stories),
            Original(("*.story",), read_stories),
        ),
        folders=("url_lists",),
    ),
    paper={  # table 4
        "rouge1": PaperFigures(xl=29.34),
        "rouge2": PaperFigures(xl=8.27),
        "rougeL": PaperFigures(xl=26.58),
        "rouge_average": PaperFigures(xl=21.40),
    },
)
