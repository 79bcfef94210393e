"""The lm-evaluation-harness gives the same figures for a model as our evaluation."""

import json
import math
from pathlib import Path

import pytest

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.evaluation.benchmark import Options
from webtext_gpt.evaluation.registry import BENCHMARKS
from webtext_gpt.evaluation.scoring import Scorer

TASK = """
task: local_lambada
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
output_type: loglikelihood
test_split: test
doc_to_text: "{{{{text.split(' ')[:-1]|join(' ')}}}}"
doc_to_target: "{{{{' '+text.split(' ')[-1]}}}}"
metric_list:
  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
"""
ROLLING = """
task: local_text
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - {{metric: word_perplexity}}
  - {{metric: bits_per_byte}}
"""
GENERATING = """
task: local_questions
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{text}}}}"
doc_to_target: ""
generation_kwargs: {{until: ["\\n"], max_gen_toks: 5, do_sample: false}}
metric_list:
  - {{metric: exact_match}}
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_figures_equal_the_harness(small_checkpoint: Path, tmp_path: Path) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.tasks import TaskManager

    from webtext_gpt.generation import GREEDY, complete
    from webtext_gpt.lm_eval import WebtextGPT

    passages = ["the cat sees a dog", "a small old bird hears the river", "the dog and the cat"]
    rows = "".join(json.dumps({"text": text}) + "\n" for text in passages)
    (tmp_path / "lambada_test.jsonl").write_text(rows)
    document = "the cat sees a dog and " * 30 + "the river\n"
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": document}) + "\n")
    (tmp_path / "ptb_test.txt").write_text(document)
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for name, yaml, data in (
        ("lambada", TASK, "lambada_test.jsonl"),
        ("text", ROLLING, "text.jsonl"),
        ("questions", GENERATING, "lambada_test.jsonl"),
    ):
        (tasks / f"{name}.yaml").write_text(yaml.format(data=tmp_path / data))
    ran = lm_eval.simple_evaluate(
        WebtextGPT(str(small_checkpoint), device="cpu"),
        tasks=["local_lambada", "local_text", "local_questions"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        bootstrap_iters=0,
    )
    model, tokenizer = load_language_model(small_checkpoint)
    mine = BENCHMARKS["lambada"].run(Scorer(model, tokenizer), tmp_path, Options()).metrics
    theirs = ran["results"]["local_lambada"]
    assert theirs["perplexity,none"] == pytest.approx(mine["perplexity"], rel=1e-6)
    assert 100 * theirs["acc,none"] == pytest.approx(mine["accuracy"])

    scorer = Scorer(model, tokenizer, stride=model.config.block_size)  # as the harness: no overlap
    measured = BENCHMARKS["ptb"].run(scorer, tmp_path, Options(detokenize=False))
    text = ran["results"]["local_text"]
    words = measured.counts["words"]
    log_probability = -words * math.log(measured.metrics["perplexity"])
    harness_words = words + 1  # the harness also counts the empty word after the last space
    assert text["word_perplexity,none"] == pytest.approx(
        math.exp(-log_probability / harness_words), rel=1e-6
    )
    assert text["bits_per_byte,none"] == pytest.approx(measured.metrics["bits_per_byte"], rel=1e-6)

    written = [s["resps"][0][0] for s in ran["samples"]["local_questions"]]
    expected = complete(model, tokenizer, passages, max_new_tokens=5, sampling=GREEDY, stop=["\n"])
    assert written == expected
