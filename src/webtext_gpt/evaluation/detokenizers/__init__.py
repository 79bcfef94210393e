"""Reversible detokenizers: running text from a benchmark's tokens, and back, without loss.

Language modeling benchmarks are distributed as tokens, such as `He said , " don 't ! "`. A model
trained on running text finds that format unlikely, so the GPT-2 paper removes it with invertible
detokenizers (section 3.1). Because they are invertible, the log-probability of the running text
is also a log-probability of the benchmark's text.

Here, `tokenize(detokenize(text)) == text` holds for every text by construction. Tokens are joined
only if `tokenize` splits them again. Two cases are marked with U+2060 (word joiner), which is
invisible: a token that `tokenize` would split, and a line without the usual spaces.
"""

from webtext_gpt.evaluation.detokenizers.base import MARK, Detokenizer, count_marks
from webtext_gpt.evaluation.detokenizers.childrens_book import CHILDRENS_BOOK
from webtext_gpt.evaluation.detokenizers.moses import ONE_BILLION_WORDS, WIKITEXT
from webtext_gpt.evaluation.detokenizers.penn import PTB

__all__ = [
    "CHILDRENS_BOOK",
    "MARK",
    "ONE_BILLION_WORDS",
    "PTB",
    "WIKITEXT",
    "Detokenizer",
    "count_marks",
]
