"""Names that `tasks=` accepts."""

from webtext_gpt.evaluation.blimp_sets import SETS
from webtext_gpt.settings.kinds import OneOf
from webtext_gpt.settings.lists import Listed

BENCHMARKS = (
    *("lambada", "cbt_cn", "cbt_ne", "wikitext2", "ptb", "enwik8", "text8", "wikitext103"),
    *("one_billion_words", "winograd", "coqa", "cnn_dailymail", "wmt14_en_fr", "wmt14_fr_en"),
    "natural_questions",
)
"""The paper's zero-shot benchmarks, in the order of its tables. `all` selects these."""

OTHERS = ("hellaswag", "arc_easy", "arc_challenge", "translation", "music")
"""Benchmarks that the paper does not have."""

SUITES = {
    "core": (
        *("core_hellaswag_zeroshot", "core_jeopardy", "core_bigbench_qa_wikidata"),
        *("core_arc_easy", "core_arc_challenge", "core_copa", "core_commonsense_qa", "core_piqa"),
        *("core_openbook_qa", "core_lambada_openai", "core_hellaswag", "core_winograd"),
        *("core_winogrande", "core_bigbench_dyck_languages", "core_agi_eval_lsat_ar"),
        *("core_bigbench_cs_algorithms", "core_bigbench_operators"),
        *("core_bigbench_repeat_copy_logic", "core_squad", "core_coqa", "core_boolq"),
        "core_bigbench_language_identification",
    ),
    "blimp": tuple(f"blimp_{name}" for names in SETS.values() for name in names),
}
"""Suites and the names of their members, each of which can be selected alone."""

TASKS = Listed(
    OneOf(
        ("all", *BENCHMARKS, *OTHERS, *SUITES),
        unlisted=tuple(member for members in SUITES.values() for member in members),
    )
)
"""A list of benchmarks."""
