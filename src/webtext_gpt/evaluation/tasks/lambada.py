"""LAMBADA: the last word of a passage (Paperno et al. 2016; Radford et al. 2019, section 3.3).

The paper scored the last *token* of each passage; a word may be several. Both are given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from webtext_gpt.data.rows import text_value
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measured, Options, Source, counted, named
from webtext_gpt.evaluation.scoring import Score, Scorer, perplexity
from webtext_gpt.tokenizer import Tokenizer

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
"""English words of grammar, which seldom end a passage that is worth guessing."""


SOURCE = Source(
    files=("lambada_test.jsonl", "lambada_test.parquet"),
    columns=("text",),
    hub="EleutherAI/lambada_openai",
    config="default",
)


@dataclass(frozen=True)
class Lambada:
    """Perplexity and accuracy of the last word and of its last token.

    With the stop-word filter, the likeliest token is looked for among those that are no stop
    word, where a word begins.
    """

    name: str = "lambada"
    source: Source = SOURCE

    def run(self, scorer: Scorer, data_dir: Path | None, options: Options) -> Measured:
        """See `Benchmark.run`."""
        windows = []
        for place, row in self.source.rows(data_dir, options.limit):
            with named(place):
                windows.append(scorer.continuation(*split_last_word(row, place)))
        banned = stop_word_tokens(scorer.tokenizer)
        with counted(self.name, len(windows), "passage") as bar:
            scores = scorer.score(windows, banned, progress=bar.update)
        targets = [[int(t) for t in window.tokens[-window.scored :]] for window in windows]
        answers = [_Answer.of(*pair) for pair in zip(scores, targets, strict=True)]
        n = len(answers)
        return Measured(
            {
                "perplexity": perplexity(sum(a.word for a in answers), n),
                "accuracy": 100 * sum(a.is_word for a in answers) / n,
                "accuracy_stop_words": 100 * sum(a.is_word_filtered for a in answers) / n,
                "last_token_perplexity": perplexity(sum(a.token for a in answers), n),
                "last_token_accuracy": 100 * sum(a.is_token for a in answers) / n,
                "last_token_accuracy_stop_words": (
                    100 * sum(a.is_token_filtered for a in answers) / n
                ),
            },
            n,
        )


@dataclass(frozen=True)
class _Answer:
    """What the model made of one passage: log-probabilities, and whether it would have said it."""

    word: float
    token: float
    is_word: bool
    is_token: bool
    is_word_filtered: bool
    is_token_filtered: bool

    @classmethod
    def of(cls, score: Score, targets: Sequence[int]) -> "_Answer":
        right = score.likeliest.eq(torch.tensor(list(targets)))
        filtered = right.clone()
        filtered[0] = int(score.likeliest_allowed[0]) == targets[0]
        return cls(
            word=float(score.log_probabilities.sum()),
            token=float(score.log_probabilities[-1]),
            is_word=bool(right.all()),
            is_token=bool(right[-1]),
            is_word_filtered=bool(filtered.all()),
            is_token_filtered=bool(filtered[-1]),
        )


def split_last_word(row: dict[str, object], place: str) -> tuple[str, str]:
    """A passage before its last space, and the rest.

    Raises:
        UserError: it has no two words.
    """
    context, space, word = text_value(row, "text", place).rstrip().rpartition(" ")
    if not context or not word:
        raise UserError("there is no last word after another one")
    return context, space + word


def stop_word_tokens(tokenizer: Tokenizer) -> Tensor:
    """`(vocab_size,)`: true for the tokens that are a space and a stop word, in any case."""
    texts = tokenizer.decode_batch([token] for token in range(tokenizer.vocab_size))
    return torch.tensor([t[:1] == " " and t[1:].lower() in STOP_WORDS for t in texts])
