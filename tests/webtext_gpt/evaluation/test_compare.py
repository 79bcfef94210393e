"""Two checkpoints on the same examples: files, other tokenizers, failures, cut prompts."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model, save_model
from webtext_gpt.evaluation.benchmark import Measurement, Options
from webtext_gpt.evaluation.command import evaluate
from webtext_gpt.evaluation.compare import differences
from webtext_gpt.evaluation.registry import select_benchmarks
from webtext_gpt.evaluation.report import markdown
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, train_bpe

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    passages = ["the cat saw the dog", "a bird hears a river", "the old dog sees a small bird"]
    rows = [json.dumps({"text": text}) for text in passages * 4]
    (folder / "lambada_test.jsonl").write_text("\n".join(rows))
    (folder / "ptb_test.txt").write_text(" the cat sat on the mat \n" * 400)
    return folder


def _checkpoint(path: Path, tokenizer: Tokenizer, seed: int) -> Path:
    torch.manual_seed(seed)
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 16, "block_size": 64}
    model = GPT(GPTConfig(**shape, vocab_size=tokenizer.vocab_size))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_model(model, tokenizer, path)
    return path


def test_the_command(call: Call, small_checkpoint: Path, data_dir: Path, tmp_path: Path) -> None:
    _, tokenizer = load_language_model(small_checkpoint)
    other = _checkpoint(tmp_path / "other.ckpt", tokenizer, 1)
    out = tmp_path / "out"
    arguments = [
        f"compare=[{small_checkpoint},{other}]",
        "tasks=[lambada,ptb,text8]",
        f"data_dir={data_dir}",
        f"run_dir={out}",
        "device=cpu",
    ]
    ran = call("eval.py", *arguments)
    assert ran.returncode == 1
    for side, path in (("A", small_checkpoint), ("B", other)):
        assert f"{side}, {path}: 1 of 3 tasks could not be run:\n- text8" in ran.stderr
        own = json.loads((out / side / "evaluation.json").read_text())
        assert {row["task"] for row in own} == {"lambada", "ptb"}
    written = json.loads((out / "comparison.json").read_text())
    assert written["checkpoints"] == {"A": str(small_checkpoint), "B": str(other)}
    figures = {(row["task"], row["metric"]): row for row in written["figures"]}
    row = figures["ptb", "perplexity"]
    assert row["difference"] == pytest.approx(row["b"] - row["a"])
    assert row["standard_error"] > 0
    assert row["test"] == "paired t"
    assert figures["lambada", "accuracy"]["test"] == "McNemar"
    assert "| ptb | perplexity |" in (out / "comparison.md").read_text()
    again = call("eval.py", *arguments)
    assert "already holds a" in again.stderr


def test_other_tokenizers_are_compared_per_word_and_byte(
    call: Call, small_checkpoint: Path, data_dir: Path, tmp_path: Path
) -> None:
    other = _checkpoint(tmp_path / "other.ckpt", train_bpe(["the cat sat on a mat " * 9], 265), 2)
    out = tmp_path / "out"
    ran = call(
        "eval.py",
        f"compare=[{small_checkpoint},{other}]",
        "tasks=[lambada,ptb]",
        f"data_dir={data_dir}",
        f"run_dir={out}",
        "device=cpu",
    )
    assert ran.returncode == 0, ran.stderr
    assert "different tokenizers: figures per word, byte and choice are compared" in ran.stdout
    written = json.loads((out / "comparison.json").read_text())
    assert not written["same_tokenizer"]
    compared = {r["metric"] for r in written["figures"] if r["difference"] is not None}
    assert {"perplexity", "bits_per_byte", "accuracy"} <= compared
    assert not any("token" in metric for metric in compared)
    assert (out / "comparison.md").read_text().count("per token, with different tokenizers") == 4


def test_texts_of_different_length_are_not_compared() -> None:
    a, b = (Measurement({"perplexity": 2.0}, n, {"bytes": 100 * n}) for n in (2, 3))
    [row] = differences({"ptb": a}, {"ptb": b}, same_tokenizer=True)
    assert row.difference is None
    assert "different texts" in row.note
    assert differences({"ptb": a}, {}, same_tokenizer=True) == []


def test_cut_prompts_are_counted_and_said(scorer: Scorer, data_dir: Path) -> None:
    long = json.dumps({"text": "the old dog saw the cat " * 40 + "and the mat"})
    with (data_dir / "lambada_test.jsonl").open("a") as stream:
        stream.write(f"\n{long}\n{long}\n")
    benchmarks = select_benchmarks(["ptb", "lambada"])
    found = [
        r
        for results in evaluate(scorer, benchmarks, data_dir=data_dir, options=Options())
        for r in results
    ]
    counts = {r.task: r.value for r in found if r.metric == "cut_prompts"}
    assert counts == {"ptb": 0, "lambada": 2}
    assert "Prompts cut to the model's context: 2 of lambada." in markdown(found, "mine", 1_000)


def test_prompts_of_questions_are_counted_once(
    scorer: Scorer, data_dir: Path, write_rows: Callable[..., None]
) -> None:
    rows = [{"question": "who is the cat", "answer": ["a dog"]}] * 3
    write_rows(data_dir / "natural_questions_validation.jsonl", rows)
    [benchmark] = select_benchmarks("natural_questions")
    [results] = evaluate(scorer, [benchmark], data_dir=data_dir)
    counts = {r.metric: r.value for r in results}
    assert counts["cut_prompts"] == 3  # the example questions alone fill a context of 64


def test_translations_are_compared_by_resampling(
    call: Call, small_translator: Path, tmp_path: Path
) -> None:
    loaded = load(small_translator)
    torch.manual_seed(0)
    for parameter in loaded.model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    save_model(loaded.model, loaded.tokenizer, tmp_path / "worse.ckpt")
    lines = ["the cat sees the old river", "a small old dog hears a bird", "the river", "a dog"]
    (tmp_path / "lines").write_text("\n".join(lines * 3))
    ran = call(
        "eval.py",
        f"compare=[{small_translator},{tmp_path}/worse.ckpt]",
        "tasks=[translation]",
        f"source={tmp_path}/lines",
        f"reference={tmp_path}/lines",
        f"run_dir={tmp_path}/out",
        "device=cpu",
    )
    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text())["figures"]
    figures = {row["metric"]: row for row in rows}
    assert set(figures) == {"bleu", "bleu_lowercase", "chrf", "bleu_tokenized"}
    row = figures["chrf"]
    assert row["b"] < row["a"]
    assert row["difference"] == pytest.approx(row["b"] - row["a"])
    assert (row["test"], row["p_value"]) == ("paired bootstrap", pytest.approx(2 / 1001))
    assert "bs:1000|seed:12345" in row["signature"]
    report = (tmp_path / "out" / "comparison.md").read_text()
    for text in (report, ran.stdout):
        assert f"\n- translation chrf: {row['signature']}\n" in text


def test_a_figure_of_moses_tokens_does_not_depend_on_the_tokenizer() -> None:
    texts = ["a dog", "a bird"]
    a, b = (
        Measurement({"bleu_tokenized": v}, 2, written=[(t, "a dog") for t in texts]) for v in (1, 2)
    )
    [row] = differences({"translation": a}, {"translation": b}, same_tokenizer=False)
    assert row.difference is not None
    assert (row.difference.value, row.difference.p_value) == (1, 1)


def test_notes_of_different_encodings_are_not_compared() -> None:
    a = {"music": Measurement({"nats_per_note": 0.5}, 1, {"notes": 10})}
    b = {"music": Measurement({"nats_per_note": 2.5}, 1, {"notes": 4})}
    (row,) = differences(a, b, same_tokenizer=False)
    assert (row.difference, row.note) == (None, "per note, with different tokenizers")
