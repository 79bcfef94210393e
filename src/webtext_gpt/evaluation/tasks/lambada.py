"""LAMBADA: predict the last word of a passage (Paperno et al. 2016; section 3.3).

OpenAI's evaluation scored the last *token* of each passage, but a word may consist of several
tokens. Both are reported.

The set's authors published it tokenized and in lower case, OpenAI as running text. The paper's
figures are for OpenAI's version.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from webtext_gpt.data.rows import Row, text_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import (
    Benchmark,
    Measurement,
    Options,
    PaperFigures,
    errors_at,
)
from webtext_gpt.evaluation.data_source import DataSource, Original
from webtext_gpt.evaluation.detokenizers import CHILDRENS_BOOK, MARK
from webtext_gpt.evaluation.published import published_lines
from webtext_gpt.evaluation.scoring import Score, Scorer, Window, perplexity
from webtext_gpt.progress import progress_bar
from webtext_gpt.terminal import say
from webtext_gpt.tokenizer import Tokenizer

TOKENIZED = "tokenized passage"
"""Key of a passage of the original release."""

_WORDS = """
a about above after again against all also although am an and another any anyone anything are
around as at be became because become been before behind being below between both but by can could
did do does doing done down during each either else enough even ever every everyone everything few
for from further get go got had has have having he her here hers herself him himself his how
however i if in into is it its itself just less like made make many may me might mine more most
much must my myself neither never no nobody none nor not nothing now of off often on once one only
onto or other others our ours ourselves out over own perhaps quite rather really same shall she
should since so some someone something still such than that the their theirs them themselves then
there these they this those though through thus to together too toward towards under until up upon
us very was we well were what whatever when where whether which while who whom whose why will with
within without would yet you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_WORDS.split())
"""English function words. They are rarely the last word of a LAMBADA passage."""


@dataclass(frozen=True)
class Lambada(Benchmark):
    """Perplexity and accuracy of the last word and of the last token.

    The stop-word filter applies to the first token of the word: the prediction there is the
    likeliest token that is not a stop word.
    """

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measurement:
        """Score the last word of each passage after the rest of it. See `Benchmark.run`."""
        windows = []
        rows = self.source.rows(data_dir, options.limit)
        n_tokenized = sum(TOKENIZED in row for _, row in rows)
        if n_tokenized:
            say(
                f"{self.name}: the original release, tokenized and in lower case; the paper's "
                "figures are for OpenAI's version, lambada_test.jsonl",
                sys.stderr,
            )
        for place, row in rows:
            text = running_text(row, place, options.detokenize)
            with errors_at(place):
                windows.append(scorer.continuation(*split_last_word(text)))
        banned = stop_word_tokens(scorer.tokenizer)
        with progress_bar(self.name, total=len(windows), unit="passage") as bar:
            scores = scorer.score(windows, banned, progress=bar.update)
        answers = [_Answer.of(*pair) for pair in zip(scores, windows, strict=True)]
        n = len(answers)
        correct: dict[str, list[float]] = {
            "accuracy": [100 * a.is_word for a in answers],
            "accuracy_stop_words": [100 * a.is_word_filtered for a in answers],
            "last_token_accuracy": [100 * a.is_token for a in answers],
            "last_token_accuracy_stop_words": [100 * a.is_token_filtered for a in answers],
        }
        metrics = {
            "perplexity": perplexity(sum(a.word for a in answers), n),
            "accuracy": fmean(correct["accuracy"]),
            "accuracy_stop_words": fmean(correct["accuracy_stop_words"]),
            "last_token_perplexity": perplexity(sum(a.token for a in answers), n),
            "last_token_accuracy": fmean(correct["last_token_accuracy"]),
            "last_token_accuracy_stop_words": fmean(correct["last_token_accuracy_stop_words"]),
        }
        counts = {"original_release": n_tokenized} if n_tokenized else {}
        nats = {
            "perplexity": [-a.word for a in answers],
            "last_token_perplexity": [-a.token for a in answers],
        }
        values = {**correct, **nats}
        return Measurement(metrics, n, counts, values, exponential=tuple(nats))


@dataclass(frozen=True)
class _Answer:
    """The model's prediction for one passage.

    Attributes:
        word: log-probability of the last word, in nats.
        token: log-probability of the last token, in nats.
        is_word: whether each token of the word is the likeliest one.
        is_token: whether the last token is the likeliest one.
        is_word_filtered: `is_word` with the stop-word filter.
        is_token_filtered: `is_token` with the stop-word filter.
    """

    word: float
    token: float
    is_word: bool
    is_token: bool
    is_word_filtered: bool
    is_token_filtered: bool

    @classmethod
    def of(cls, score: Score, window: Window) -> "_Answer":
        targets = [int(token) for token in window.tokens[-window.scored :]]
        correct = score.likeliest.eq(torch.tensor(targets))
        filtered = correct.clone()
        filtered[0] = int(score.likeliest_allowed[0]) == targets[0]
        return cls(
            word=float(score.log_probabilities.sum()),
            token=float(score.log_probabilities[-1]),
            is_word=bool(correct.all()),
            is_token=bool(correct[-1]),
            is_word_filtered=bool(filtered.all()),
            is_token_filtered=bool(filtered[-1]),
        )


def running_text(row: Row, place: str, detokenize: bool) -> str:
    """Return a row's passage; that of the original release is detokenized on request.

    Marks that make detokenizing invertible are left out: only the last word is scored.
    """
    if TOKENIZED not in row:
        return text_value(row, "text", place)
    passage = text_value(row, TOKENIZED, place)
    if not detokenize:
        return passage
    return CHILDRENS_BOOK.detokenize(passage).replace(MARK, "")


def read_passages(files: Sequence[Path]) -> Iterator[tuple[str, Row]]:
    """Read the original release: a passage on each line, tokenized and in lower case."""
    (file,) = files
    for number, passage in published_lines(file):
        yield f"{file}, line {number}", {TOKENIZED: passage}


def split_last_word(text: str) -> tuple[str, str]:
    """Split a passage into the text before its last space, and the space with the last word.

    Raises:
        UserError: the passage has fewer than two words.
    """
    context, space, word = text.rstrip().rpartition(" ")
    if not context or not word:
        raise UserError("the passage has no last word to predict; it needs two words or more")
    return context, space + word


def stop_word_tokens(tokenizer: Tokenizer) -> Tensor:
    """Return a `(vocab_size,)` mask of tokens that are a space and a stop word, in any case."""
    texts = tokenizer.decode_batch([token] for token in range(tokenizer.vocab_size))
    return torch.tensor([t[:1] == " " and t[1:].lower() in STOP_WORDS for t in texts])


LAMBADA = Lambada(
    name="lambada",
    source=DataSource(
        files=("lambada_test.jsonl", "lambada_test.parquet"),
        columns=("text",),
        hub="EleutherAI/lambada_openai",
        config="default",
        originals=(Original(("lambada_test_plain_text.txt",), read_passages),),
        folders=("lambada-dataset", "lambada"),
    ),
    paper={
        "last_token_perplexity": PaperFigures(35.13, 15.60, 10.87, 8.63, "LAMBADA ppl"),
        "last_token_accuracy_stop_words": PaperFigures(45.99, 55.48, 60.12, 63.24, "LAMBADA acc"),
    },
)
