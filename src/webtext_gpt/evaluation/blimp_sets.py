"""BLiMP's 67 sets by linguistic term, and the accuracies published for them.

Both are from Warstadt et al. 2020, "BLiMP: The Benchmark of Linguistic Minimal Pairs for English".
"""

SETS = {
    "anaphor_agreement": (
        "anaphor_gender_agreement",
        "anaphor_number_agreement",
    ),
    "argument_structure": (
        "animate_subject_passive",
        "animate_subject_trans",
        "causative",
        "drop_argument",
        "inchoative",
        "intransitive",
        "passive_1",
        "passive_2",
        "transitive",
    ),
    "binding": (
        "principle_A_c_command",
        "principle_A_case_1",
        "principle_A_case_2",
        "principle_A_domain_1",
        "principle_A_domain_2",
        "principle_A_domain_3",
        "principle_A_reconstruction",
    ),
    "control_raising": (
        "existential_there_object_raising",
        "existential_there_subject_raising",
        "expletive_it_object_raising",
        "tough_vs_raising_1",
        "tough_vs_raising_2",
    ),
    "determiner_noun_agreement": (
        "determiner_noun_agreement_1",
        "determiner_noun_agreement_2",
        "determiner_noun_agreement_irregular_1",
        "determiner_noun_agreement_irregular_2",
        "determiner_noun_agreement_with_adj_2",
        "determiner_noun_agreement_with_adj_irregular_1",
        "determiner_noun_agreement_with_adj_irregular_2",
        "determiner_noun_agreement_with_adjective_1",
    ),
    "ellipsis": (
        "ellipsis_n_bar_1",
        "ellipsis_n_bar_2",
    ),
    "filler_gap_dependency": (
        "wh_questions_object_gap",
        "wh_questions_subject_gap",
        "wh_questions_subject_gap_long_distance",
        "wh_vs_that_no_gap",
        "wh_vs_that_no_gap_long_distance",
        "wh_vs_that_with_gap",
        "wh_vs_that_with_gap_long_distance",
    ),
    "irregular_forms": (
        "irregular_past_participle_adjectives",
        "irregular_past_participle_verbs",
    ),
    "island_effects": (
        "adjunct_island",
        "complex_NP_island",
        "coordinate_structure_constraint_complex_left_branch",
        "coordinate_structure_constraint_object_extraction",
        "left_branch_island_echo_question",
        "left_branch_island_simple_question",
        "sentential_subject_island",
        "wh_island",
    ),
    "npi_licensing": (
        "matrix_question_npi_licensor_present",
        "npi_present_1",
        "npi_present_2",
        "only_npi_licensor_present",
        "only_npi_scope",
        "sentential_negation_npi_licensor_present",
        "sentential_negation_npi_scope",
    ),
    "quantifiers": (
        "existential_there_quantifiers_1",
        "existential_there_quantifiers_2",
        "superlative_quantifiers_1",
        "superlative_quantifiers_2",
    ),
    "subject_verb_agreement": (
        "distractor_agreement_relational_noun",
        "distractor_agreement_relative_clause",
        "irregular_plural_subject_verb_agreement_1",
        "irregular_plural_subject_verb_agreement_2",
        "regular_plural_subject_verb_agreement_1",
        "regular_plural_subject_verb_agreement_2",
    ),
}
"""The sets of each term, named as their files are, without `.jsonl`."""

MODELS = ("5-gram", "LSTM", "Transformer-XL", "GPT-2 large")
_FIGURES = {
    "accuracy": (61.2, 69.8, 69.6, 83.0),
    "accuracy_anaphor_agreement": (47.9, 91.7, 94.1, 99.3),
    "accuracy_argument_structure": (71.9, 73.2, 72.2, 81.8),
    "accuracy_binding": (64.4, 73.5, 74.7, 80.9),
    "accuracy_control_raising": (68.5, 67.0, 71.5, 81.9),
    "accuracy_determiner_noun_agreement": (70.0, 85.4, 83.0, 95.8),
    "accuracy_ellipsis": (36.9, 67.6, 77.1, 89.3),
    "accuracy_filler_gap_dependency": (60.2, 73.9, 66.6, 81.3),
    "accuracy_irregular_forms": (79.5, 89.0, 78.1, 91.9),
    "accuracy_island_effects": (57.2, 46.6, 48.3, 72.7),
    "accuracy_npi_licensing": (45.5, 51.7, 55.2, 76.8),
    "accuracy_quantifiers": (53.5, 64.5, 69.3, 79.0),
    "accuracy_subject_verb_agreement": (60.3, 80.1, 75.9, 86.4),
}
PUBLISHED = {
    **{
        model: {metric: figures[index] for metric, figures in _FIGURES.items()}
        for index, model in enumerate(MODELS)
    },
    "people": {"accuracy": 96.4},
}
"""Accuracy in percent, by model and metric. People: agreement of the majority with the labels."""
