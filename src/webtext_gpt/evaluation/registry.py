"""The benchmarks by name, and what the paper's models reached on them."""

import math
from collections.abc import Sequence

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Benchmark
from webtext_gpt.evaluation.tasks.cbt import COMMON_NOUNS, NAMED_ENTITIES
from webtext_gpt.evaluation.tasks.compressed_text import ENWIK8, TEXT8
from webtext_gpt.evaluation.tasks.coqa import CoQA
from webtext_gpt.evaluation.tasks.lambada import Lambada
from webtext_gpt.evaluation.tasks.language_modelling import (
    LM1B,
    PENN_TREEBANK,
    WIKITEXT2,
    WIKITEXT103,
)
from webtext_gpt.evaluation.tasks.natural_questions import NaturalQuestions
from webtext_gpt.evaluation.tasks.summarization import Summarization
from webtext_gpt.evaluation.tasks.translation import ENGLISH_TO_FRENCH, FRENCH_TO_ENGLISH
from webtext_gpt.evaluation.tasks.winograd import WinogradSchemas

_ALL: tuple[Benchmark, ...] = (
    Lambada(),
    COMMON_NOUNS,
    NAMED_ENTITIES,
    WIKITEXT2,
    PENN_TREEBANK,
    ENWIK8,
    TEXT8,
    WIKITEXT103,
    LM1B,
    WinogradSchemas(),
    CoQA(),
    Summarization(),
    ENGLISH_TO_FRENCH,
    FRENCH_TO_ENGLISH,
    NaturalQuestions(),
)

BENCHMARKS = {benchmark.name: benchmark for benchmark in _ALL}
"""In the order of the paper's table 3 and of its sections after that."""

SIZES = {"small": 124_439_808, "medium": 354_823_168, "large": 774_030_080, "xl": 1_557_611_200}

PAPER = {
    ("lambada", "last_token_perplexity"): (35.13, 15.60, 10.87, 8.63),
    ("lambada", "last_token_accuracy_stop_words"): (45.99, 55.48, 60.12, 63.24),
    ("cbt_cn", "accuracy"): (87.65, 92.35, 93.45, 93.30),
    ("cbt_ne", "accuracy"): (83.4, 87.1, 88.0, 89.05),
    ("wikitext2", "perplexity"): (29.41, 22.76, 19.93, 18.34),
    ("ptb", "perplexity"): (65.85, 47.33, 40.31, 35.76),
    ("enwik8", "bits_per_byte"): (1.16, 1.01, 0.97, 0.93),
    ("text8", "bits_per_character"): (1.17, 1.06, 1.02, 0.98),
    ("wikitext103", "perplexity"): (37.50, 26.37, 22.05, 17.48),
    ("one_billion_words", "perplexity"): (75.20, 55.72, 44.575, 42.16),
    ("winograd", "accuracy"): (None, None, None, 70.70),
    ("coqa", "f1"): (None, None, None, 55.0),
    ("cnn_dailymail", "rouge1"): (None, None, None, 29.34),
    ("cnn_dailymail", "rouge2"): (None, None, None, 8.27),
    ("cnn_dailymail", "rougeL"): (None, None, None, 26.58),
    ("cnn_dailymail", "rouge_average"): (None, None, None, 21.40),
    ("wmt14_en_fr", "bleu"): (None, None, None, 5.0),
    ("wmt14_fr_en", "bleu"): (None, None, None, 11.5),
    ("natural_questions", "exact_match"): (None, None, None, 4.1),
}
"""Tables 3 and 4 of the paper and its sections 3.4 to 3.8, by the sizes in order."""


def chosen(tasks: str | Sequence[str]) -> list[Benchmark]:
    """The benchmarks of the given names; `all` is every one.

    Raises:
        UserError: there is none of that name.
    """
    names = list(tasks) if isinstance(tasks, Sequence) and not isinstance(tasks, str) else [tasks]
    if "all" in names:
        return list(BENCHMARKS.values())
    for name in names:
        if name not in BENCHMARKS:
            raise UserError(f"there is no task {name!r}; tasks: all, {', '.join(BENCHMARKS)}")
    if not names:
        raise UserError(f"tasks=[] names none; tasks: all, {', '.join(BENCHMARKS)}")
    return [BENCHMARKS[name] for name in dict.fromkeys(names)]


def nearest_size(n_parameters: int) -> str:
    """The paper's model whose number of parameters is nearest by ratio."""
    return min(SIZES, key=lambda size: abs(math.log(SIZES[size] / n_parameters)))


def papers_figure(task: str, metric: str, size: str) -> float | None:
    """What the paper's model of that size reached; `None` where the paper does not say."""
    return PAPER.get((task, metric), (None,) * len(SIZES))[list(SIZES).index(size)]
