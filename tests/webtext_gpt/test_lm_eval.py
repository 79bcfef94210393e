"""The lm-evaluation-harness gives the same figures for a model as our evaluation."""

import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.errors import UserError
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


def _yaml(name: str, data: Path, **settings: object) -> str:
    """A task that generates from the rows of `data`."""
    settings = {"until": ["\n"], "max_gen_toks": 5, "do_sample": False, **settings}
    lines = GENERATING.format(data=data).splitlines()
    lines = [line for line in lines if not line.startswith("generation_kwargs")]
    lines.append(f"generation_kwargs: {json.dumps(settings)}")
    return "\n".join(lines).replace("local_questions", name)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A folder of tasks: `good` scores, `long` has a text that no context holds, `words` writes."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = "".join(json.dumps({"text": text}) + "\n" for text in ["the cat sees a dog", "a bird"])
    (tmp_path / "rows.jsonl").write_text(rows)
    (tmp_path / "long.jsonl").write_text(json.dumps({"text": "the " + "cat" * 2000}) + "\n")
    for name, data in (("good", "rows"), ("long", "long")):
        yaml = TASK.format(data=tmp_path / f"{data}.jsonl").replace("local_lambada", name)
        (folder / f"{name}.yaml").write_text(yaml)
    (folder / "words.yaml").write_text(_yaml("words", tmp_path / "rows.jsonl"))
    return folder


@pytest.fixture
def harness(
    small_checkpoint: Path,
    tasks: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, dict]]:
    """`harness("a,b")`: exit code, standard error and the results that were written."""
    pytest.importorskip("lm_eval")
    from lm_eval.tasks import TaskManager

    from webtext_gpt import lm_eval

    build = TaskManager.__init__
    monkeypatch.setattr(  # its own 15,000 tasks take half a minute to list
        TaskManager,
        "__init__",
        lambda self, **given: build(self, **{**given, "include_defaults": False}),
    )

    def run(names: str, *arguments: str) -> tuple[int, str, dict]:
        out = tasks.parent / "out"
        shutil.rmtree(out, ignore_errors=True)
        argv = f"lm_eval --model webtext_gpt --model_args checkpoint={small_checkpoint}".split()
        argv += ["--tasks", names, "--include_path", str(tasks), "--output_path", str(out)]
        monkeypatch.setattr(sys, "argv", [*argv, "--device", "cpu", *arguments])
        code = 0
        try:
            lm_eval.main()
        except SystemExit as end:
            code = end.code
        written = list(out.rglob("results*.json"))
        results = json.loads(written[0].read_text())["results"] if written else {}
        return code, capsys.readouterr().err, results

    return run


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
def test_finished_tasks_are_kept_if_another_fails(
    harness: Callable[..., tuple[int, str, dict]], tasks: Path
) -> None:
    code, _, expected = harness("good,words")
    assert (code, set(expected)) == (0, {"good", "words"})
    code, errors, results = harness("good,long,words")
    assert (code, results) == (1, expected)
    assert "error: these tasks failed" in errors
    assert "\nlong: a text of " in errors
    (tasks / "absent.yaml").write_text(
        TASK.format(data=tasks / "absent.jsonl").replace("local_lambada", "absent")
    )
    (tasks / "group.yaml").write_text("group: all_of_them\ntask: [good, absent, long, words]\n")
    code, errors, results = harness("all_of_them")
    assert (code, results) == (1, expected)
    assert "\nlong: a text of " in errors
    assert "\nabsent: " in errors
    code, errors, results = harness("long")
    assert (code, results) == (1, {})
    assert "error: a text of " in errors


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_all_generation_settings_are_checked_before_the_first_request(
    harness: Callable[..., tuple[int, str, dict]], tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webtext_gpt.evaluation.scoring import Scorer

    monkeypatch.setattr(Scorer, "score", lambda *_, **__: pytest.fail("a request was answered"))
    (tasks / "odd.yaml").write_text(_yaml("odd", tasks.parent / "rows.jsonl", penalty_alpha=0.6))
    code, errors, results = harness("good,words,odd")
    assert (code, results) == (1, {})
    assert "error: task odd: generation settings ['penalty_alpha'] of the task are not" in errors
    code, errors, _ = harness("good,words", "--gen_kwargs", "num_beams=2,top_k=5")
    assert code == 1
    assert "error: task words: num_beams=2 searches and draws nothing at random; leave top_k" in (
        errors
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"max_new_tokens": 7}, {"max_new_tokens": 7}),
        ({"max_tokens": "7"}, {"max_new_tokens": 7}),
        ({"max_completion_tokens": 7, "max_gen_toks": 9}, {"max_new_tokens": 9}),
        ({}, {"max_new_tokens": 256}),
        ({"until": "x"}, {"stop": ["x"]}),
        ({"until": ["x", ""]}, {"stop": ["x"]}),
        ({"num_beams": 4, "do_sample": False, "temperature": 0.7}, {"num_beams": 4}),
        ({"num_beams": 4, "top_p": 1.0, "top_k": 0}, {"num_beams": 4}),
        ({"num_beams": 4, "repetition_penalty": 1.2}, {"sampling": {"repetition_penalty": 1.2}}),
        ({"temperature": 0.7}, {"sampling": {"temperature": 0.7}}),
        ({"temperature": 0.7, "do_sample": False}, {"sampling": {"temperature": 0.0}}),
        ({"do_sample": True, "top_k": 0}, {"sampling": {"temperature": 1.0, "top_k": None}}),
        ({"do_sample": True, "top_k": 5, "top_p": 0.9}, {"sampling": {"top_k": 5, "top_p": 0.9}}),
    ],
    ids=str,
)
def test_generation_settings_mean_what_they_mean_to_the_harness(
    given: dict, expected: dict
) -> None:
    pytest.importorskip("lm_eval")
    from webtext_gpt.lm_eval_generation import generation_settings

    found = generation_settings(given)
    for name, value in expected.items():
        if name == "sampling":
            assert {key: getattr(found["sampling"], key) for key in value} == value
        else:
            assert found[name] == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_gen_toks": "many"}, "generation settings .*'many'"),
        ({"max_gen_toks": 0}, "max_gen_toks=0 must be a whole number, 1 or above"),
        ({"max_length": 20}, "max_length=20 of the task counts the prompt too.*max_gen_toks"),
        ({"num_beams": 0}, "num_beams=0"),
        ({"num_beams": "4"}, "num_beams=4 must be a whole number"),
        ({"num_beams": 4, "do_sample": True}, "num_beams=4 searches.*leave do_sample out"),
        (
            {"num_beams": 4, "temperature": 0.5},
            "num_beams=4 searches.*leave do_sample, temperature",
        ),
        ({"num_beams": 4, "top_p": 0.5}, "num_beams=4 searches.*leave top_p out"),
        ({"until": [5]}, r"until=\[5\]"),
        ({"seed": 3, "num_beams": 2}, r"\['seed'\] of the task are not supported"),
        ({"temperature": -1.0, "do_sample": True}, "temperature=-1.0"),
    ],
    ids=str,
)
def test_generation_settings_that_are_refused(given: dict, message: str) -> None:
    pytest.importorskip("lm_eval")
    from webtext_gpt.lm_eval_generation import generation_settings

    with pytest.raises(UserError, match=message):
        generation_settings(given)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.slow
def test_beams_equal_the_harness_with_transformers(
    small_checkpoint: Path, tmp_path: Path, tasks: Path
) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    from webtext_gpt.lm_eval import WebtextGPT
    from webtext_gpt.weights import hugging_face

    hugging_face.save(*load_language_model(small_checkpoint), tmp_path / "exported")
    settings = {"until": ["|"], "num_beams": 3, "repetition_penalty": 1.3, "max_new_tokens": 6}
    yaml = _yaml("beams", tmp_path / "rows.jsonl", **settings).replace('"max_gen_toks": 5, ', "")
    (tasks / "beams.yaml").write_text(yaml)
    written = []
    for model in (
        WebtextGPT(str(small_checkpoint), device="cpu"),
        HFLM(str(tmp_path / "exported"), device="cpu", batch_size=1),
    ):
        ran = lm_eval.simple_evaluate(
            model,
            tasks=["beams"],
            task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
            bootstrap_iters=0,
        )
        written.append([sample["resps"][0][0] for sample in ran["samples"]["beams"]])
    assert written[0] == written[1]
    assert all(written[0])
