"""BLiMP: pairs decided as by transformers, ties, means over the sets, and faulty files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Measurement, Options, Result
from webtext_gpt.evaluation.blimp_sets import MODELS, PUBLISHED, SETS
from webtext_gpt.evaluation.command import evaluate
from webtext_gpt.evaluation.registry import SUITES, select_benchmarks, select_suites
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.model import GPT
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.weights import hugging_face

NAMES = ("adjunct_island", "principle_A_case_1", "superlative_quantifiers_2")
N_PAIRS = 40


def run(scorer: Scorer, name: str, data_dir: Path, limit: int | None = None) -> Measurement:
    [benchmark] = select_benchmarks(f"blimp_{name}")
    return benchmark.run(scorer, data_dir, Options(limit=limit))


def pair(good: str, bad: str) -> dict[str, str]:
    return {"sentence_good": good, "sentence_bad": bad}


@pytest.fixture(scope="module")
def theirs(model: GPT, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("export") / "model"
    hugging_face.save(model, tokenizer, folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder).eval()
    return loaded, AutoTokenizer.from_pretrained(folder)


@torch.inference_mode()
def _nats(theirs, sentence: str) -> float:
    """Return the sum of ln p from end-of-text on, with a token-wise loop over one sentence."""
    model, tokenizer = theirs
    ids = [tokenizer.eos_token_id, *tokenizer(sentence).input_ids]
    assert len(ids) <= 65, "the sentence does not fit into the context"
    rows = model(torch.tensor([ids[:-1]])).logits[0].double().log_softmax(-1)
    return sum(float(row[token]) for row, token in zip(rows, ids[1:], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_choices_equal_those_of_transformers(
    scorer: Scorer,
    theirs,
    realdata: Path,
    write_rows: Callable[..., None],
    tmp_path: Path,
    name: str,
) -> None:
    lines = (realdata / "blimp" / f"{name}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    short = [r for r in rows if max(len(r["sentence_good"]), len(r["sentence_bad"])) < 60]
    rows = short[:N_PAIRS]
    rows[3] = pair(rows[3]["sentence_bad"], rows[3]["sentence_bad"])
    write_rows(tmp_path / f"{name}.jsonl", rows)
    measured = run(scorer, name, tmp_path)
    margins = [_nats(theirs, r["sentence_good"]) - _nats(theirs, r["sentence_bad"]) for r in rows]
    assert min(abs(margin) for margin in margins if margin) > 1e-4  # no choice hangs on rounding
    assert measured.per_example["accuracy"] == [100.0 * (margin > 0) for margin in margins]
    assert 0 < measured.metrics["accuracy"] < 100
    assert measured.counts["ties"] == 1


def test_ties_are_wrong_and_counted(
    model: GPT, tokenizer: Tokenizer, write_rows: Callable[..., None], tmp_path: Path
) -> None:
    """Under a uniform model, sentences of equally many tokens tie and the shorter one wins."""
    uniform = GPT(model.config).eval()
    for parameter in uniform.parameters():
        torch.nn.init.zeros_(parameter)
    rows = [pair("xy", "yx"), pair("x", "xyz"), pair("xyz", "x"), pair("qrs", "qrs")]
    write_rows(tmp_path / "passive_1.jsonl", rows)
    measured = run(Scorer(uniform, tokenizer), "passive_1", tmp_path)
    assert measured.per_example["accuracy"] == [0, 100, 0, 0]
    assert (measured.metrics, measured.counts) == ({"accuracy": 25.0}, {"ties": 2})


def test_a_sentence_longer_than_the_context_is_scored(
    scorer: Scorer,
    log_probability: Callable[[str, str], float],
    write_rows: Callable[..., None],
    tmp_path: Path,
) -> None:
    good, bad = "who " * 40, "whom " * 39
    assert len(scorer.tokenizer.encode(good)) > scorer.block_size
    write_rows(tmp_path / "wh_island.jsonl", [pair(good, bad)])
    measured = run(Scorer(scorer.model, scorer.tokenizer, stride=1), "wh_island", tmp_path)
    expected = log_probability("", good) > log_probability("", bad)
    assert measured.metrics["accuracy"] == 100 * expected


@pytest.mark.slow
def test_the_suite_is_the_mean_over_the_sets(
    scorer: Scorer, realdata: Path, tmp_path: Path
) -> None:
    """The folder may be BLiMP's own or the one that holds it; another file in it is no set."""
    [suite] = select_suites(["blimp"])
    benchmarks = select_benchmarks("blimp")
    assert len(benchmarks) == 67
    found = {
        (r.task, r.metric): r.value
        for results in evaluate(
            scorer, benchmarks, [suite], data_dir=realdata, options=Options(limit=2)
        )
        for r in results
    }
    accuracies = {b.name: found[b.name, "accuracy"] for b in benchmarks}
    assert found["blimp", "accuracy"] == pytest.approx(sum(accuracies.values()) / 67)
    ellipsis = (accuracies["blimp_ellipsis_n_bar_1"] + accuracies["blimp_ellipsis_n_bar_2"]) / 2
    assert found["blimp", "accuracy_ellipsis"] == pytest.approx(ellipsis)
    assert not any("published" in task for task, _ in found)


def test_a_missing_set_leaves_no_figure_of_blimp(
    scorer: Scorer, write_rows: Callable[..., None], tmp_path: Path
) -> None:
    for benchmark in SUITES["blimp"].benchmarks[1:]:
        name = benchmark.name.removeprefix("blimp_")
        write_rows(tmp_path / f"{name}.jsonl", [pair("the cat", "cat the")])
    found: list[Result] = []
    measuring = evaluate(
        scorer, select_benchmarks("blimp"), select_suites("blimp"), data_dir=tmp_path
    )
    with pytest.raises(UserError, match=r"2 of 68 tasks could not be run") as raised:
        found.extend(result for results in measuring for result in results)
    missing = SUITES["blimp"].benchmarks[0].name
    assert f"- blimp: no figure without {missing}" in str(raised.value)
    assert len({r.task for r in found}) == 66
    assert "blimp" not in {r.task for r in found}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sentence_good": "the cat"}, r"causative\.jsonl, line 2.*sentence_bad"),
        (pair("the cat", ""), r"causative\.jsonl, line 2: 'sentence_bad' is empty"),
        (pair("the cat", 3), r"causative\.jsonl, line 2: 'sentence_bad' is int, not text"),
    ],
)
def test_a_faulty_row_is_named(
    scorer: Scorer, write_rows: Callable[..., None], tmp_path: Path, row: dict, message: str
) -> None:
    write_rows(tmp_path / "causative.jsonl", [pair("the cat", "cat the"), row])
    with pytest.raises(UserError, match=message):
        run(scorer, "causative", tmp_path)


def test_sets_and_figures_are_the_published_ones(realdata: Path) -> None:
    lines = (realdata / "blimp" / "published_results.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {(r["linguistics_term"], r["UID"]) for r in rows if r["UID"] != "overall"} == {
        (term, name) for term, names in SETS.items() for name in names
    }
    for row in (r for r in rows if r["UID"] == "overall"):
        term = row["linguistics_term"]
        metric = "accuracy" if term == "overall" else f"accuracy_{term}"
        for model, column in zip(MODELS, ("ngram", "lstm", "txl", "gpt2"), strict=True):
            assert PUBLISHED[model][metric] == pytest.approx(100 * row[column], abs=0.051)
