"""Names of the zero-shot benchmarks, in the order of the paper's tables."""

BENCHMARKS = (
    *("lambada", "cbt_cn", "cbt_ne", "wikitext2", "ptb", "enwik8", "text8", "wikitext103"),
    *("one_billion_words", "winograd", "coqa", "cnn_dailymail", "wmt14_en_fr", "wmt14_fr_en"),
    "natural_questions",
)
