"""Figures on real benchmarks equal those of transformers on an exported model.

The model is trained here for a few steps.
"""

import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from webtext_gpt.checkpoint.load import load_language_model
from webtext_gpt.evaluation.benchmark import Options
from webtext_gpt.evaluation.detokenizers import CHILDRENS_BOOK, PTB, WIKITEXT
from webtext_gpt.evaluation.registry import BENCHMARKS
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.core import TASKS
from webtext_gpt.evaluation.tasks.winograd import substitute
from webtext_gpt.generation import GREEDY, generate
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.weights import hugging_face

N_QUESTIONS = 6
N_PASSAGES = 60
N_LINES = 40


@pytest.fixture(scope="module")
def trained(
    realdata: Path, tmp_path_factory: pytest.TempPathFactory, compose: Callable[..., DictConfig]
) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    pretrain(
        compose(
            "train",
            "data=files",
            f"data.path={realdata / 'text' / 'tinyshakespeare.txt'}",
            "tokenizer.vocab_size=2000",
            "model.n_layer=2",
            "model.n_head=2",
            "model.n_embd=32",
            "model.block_size=256",
            "global_batch_tokens=1024",
            "optimizer.lr=1e-2",
            "trainer.max_steps=20",
            "trainer.accelerator=cpu",
            "trainer.precision=32-true",
            "trainer.limit_val_batches=1",
            f"cache_dir={folder / 'cache'}",
            f"run_dir={folder / 'run'}",
        )
    )
    return folder / "run"


@pytest.fixture(scope="module")
def theirs(trained: Path, tmp_path_factory: pytest.TempPathFactory):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("export") / "model"
    model, tokenizer = load_language_model(trained)
    hugging_face.save(model, tokenizer, folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(
        folder
    )


@torch.inference_mode()
def _nats(model, ids: list[int], first: int) -> tuple[float, list[int]]:
    """Return -ln p of the tokens from `first` on, and the likeliest token at each position."""
    logits = model(torch.tensor([ids[:-1]])).logits[0, first - 1 :].double()
    targets = torch.tensor(ids[first:])
    nats = -logits.log_softmax(-1).gather(1, targets[:, None]).sum()
    return float(nats), logits.argmax(-1).tolist()


def test_lambada(trained: Path, theirs, realdata: Path) -> None:
    model, tokenizer = theirs
    evalsets = realdata / "evalsets"
    lines = (evalsets / "lambada_test.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines[:N_PASSAGES]]
    words, tokens, expected_words = 0.0, 0.0, []
    for text in texts:
        ids = tokenizer(text).input_ids
        assert len(ids) <= 256  # no passage is cut
        nats, likeliest = _nats(model, ids, len(tokenizer(text[: text.rindex(" ")]).input_ids))
        words += nats
        expected_words.append(likeliest)
        tokens += _nats(model, ids, len(ids) - 1)[0]
    scorer = Scorer(*load_language_model(trained))
    figures = BENCHMARKS["lambada"].run(scorer, evalsets, Options(limit=N_PASSAGES)).metrics
    assert figures["perplexity"] == pytest.approx(math.exp(words / N_PASSAGES), rel=1e-5)
    expected = math.exp(tokens / N_PASSAGES)
    assert figures["last_token_perplexity"] == pytest.approx(expected, rel=1e-5)
    windows = [
        scorer.continuation(context, space + word)
        for context, space, word in (text.rpartition(" ") for text in texts)
    ]
    assert [score.likeliest.tolist() for score in scorer.score(windows)] == expected_words


def _schemas(file: Path) -> list[tuple[list[tuple[str, str]], int]]:
    """Read the candidates' sentences by regular expressions: `(until candidate, rest), answer`."""
    schemas = []
    for schema in re.findall(r"<schema>(.*?)</schema>", file.read_text("latin-1"), re.DOTALL)[:273]:
        text = re.search(
            r"<txt1>(.*?)</txt1>\s*<pron>(.*?)</pron>\s*<txt2>(.*?)<", schema, re.DOTALL
        )
        assert text is not None
        before, pronoun, after = (" ".join(part.split()) for part in text.groups())
        before = f"{before} " if before else ""
        after = after if after == "." else f" {after}"
        sentences = []
        for answer in re.findall(r"<answer>(.*?)</answer>", schema, re.DOTALL):
            candidate = " ".join(answer.split())
            if pronoun.islower():  # inside a sentence, where only names are capitalized
                candidate = re.sub(r"^(The|My|His|A)\b", lambda m: m[0].lower(), candidate)
            if pronoun.lower() in ("his", "her"):  # always possessive in these schemas
                candidate += "'s"
            sentences.append((before + candidate, after))
        label = re.search(r"<correctAnswer>\s*([AB])", schema)
        assert label is not None
        schemas.append((sentences, "AB".index(label[1])))
    return schemas


def test_winograd_sentences(realdata: Path) -> None:
    rows = BENCHMARKS["winograd"].source.rows(realdata / "evalsets")
    schemas = _schemas(realdata / "evalsets" / "WSCollection.xml")
    assert [substitute(*row) for row in rows] == [sentences for sentences, _ in schemas]
    assert [row["label"] for _, row in rows] == [label for _, label in schemas]
    assert len(rows) == 273


@pytest.mark.parametrize("n_schemas", [30, pytest.param(273, marks=pytest.mark.slow)])
def test_winograd(trained: Path, theirs, realdata: Path, n_schemas: int) -> None:
    model, tokenizer = theirs
    evalsets = realdata / "evalsets"
    correct = {"accuracy": 0, "accuracy_full": 0}
    expected = []
    for sentences, label in _schemas(evalsets / "WSCollection.xml")[:n_schemas]:
        partial, full = [], []
        for before, after in sentences:
            ids = tokenizer(before + after).input_ids
            partial.append(_nats(model, ids, len(tokenizer(before).input_ids))[0])
            full.append(_nats(model, [tokenizer.eos_token_id, *ids], 1)[0])
        correct["accuracy"] += partial.index(min(partial)) == label
        correct["accuracy_full"] += full.index(min(full)) == label
        expected += [-nats for nats in partial]
    scorer = Scorer(*load_language_model(trained))
    measured = BENCHMARKS["winograd"].run(scorer, evalsets, Options(limit=n_schemas))
    shares = {name: 100 * number / n_schemas for name, number in correct.items()}
    assert measured.metrics == pytest.approx(shares, rel=1e-9)
    assert {name: sum(values) for name, values in measured.per_example.items()} == {
        name: 100 * number for name, number in correct.items()
    }
    windows = [
        scorer.continuation(*sentence)
        for place, row in BENCHMARKS["winograd"].source.rows(evalsets, n_schemas)
        for sentence in substitute(place, row)
    ]
    mine = [float(score.log_probabilities.sum()) for score in scorer.score(windows)]
    assert mine == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stride", [128, 256])
def test_wikitext2(trained: Path, theirs, realdata: Path, tmp_path: Path, stride: int) -> None:
    model, tokenizer = theirs
    original = (realdata / "evalsets" / "wikitext2_test.raw").read_text(encoding="utf-8")
    original = "".join(original.splitlines(keepends=True)[:N_LINES])
    (tmp_path / "wikitext2_test.raw").write_text(original, encoding="utf-8")
    ids = [tokenizer.eos_token_id, *tokenizer(WIKITEXT.detokenize(original)).input_ids]
    nats, done = 0.0, 1
    while done < len(ids):
        end = min(257 if done == 1 else done + stride, len(ids))
        start = max(0, end - 257)  # 256 inputs and one more target
        nats += _nats(model, ids[start:end], done - start)[0]
        done = end
    scorer = Scorer(*load_language_model(trained), stride=stride)
    mine = BENCHMARKS["wikitext2"].run(scorer, tmp_path, Options())
    words = len(original.split())
    assert mine.metrics["perplexity"] == pytest.approx(math.exp(nats / words), rel=1e-5)
    assert mine.counts["tokens"] == len(ids) - 1


def test_ptb(trained: Path, theirs, tmp_path: Path) -> None:
    model, tokenizer = theirs
    lines = (
        "the investors ' bid for smith inc. 's <unk> did n't rise N N\n"
        "cities\\/abc paid c$ N million or # N a share he said\n"
    )
    original = lines * 4
    (tmp_path / "ptb.test.txt").write_text(original)
    running = PTB.detokenize(original)
    assert running.count("'") == 12  # no space before any
    ids = [tokenizer.eos_token_id, *tokenizer(running).input_ids]
    assert len(ids) <= 257  # one window
    nats, _ = _nats(model, ids, 1)
    scorer = Scorer(*load_language_model(trained))
    measured = BENCHMARKS["ptb"].run(scorer, tmp_path, Options())
    perplexity = math.exp(nats / len(original.split()))
    assert measured.metrics["perplexity"] == pytest.approx(perplexity, rel=1e-5)
    assert measured.counts["marks"] == 0


def test_childrens_book(trained: Path, theirs, tmp_path: Path) -> None:
    model, tokenizer = theirs
    sentences = ["`` I ca n't go , '' said the king .", "` Oh ! '"] * 10
    question = "`` My dear XXXXX , '' cried he , `` come in . ''"
    choices = ["king", "queen", "lord", "sword", "night", "love", "crown", "day", "boy", "fool"]
    row = {"sentences": sentences, "question": question, "options": choices}
    context = CHILDRENS_BOOK.detokenize("".join(f"{sentence}\n" for sentence in sentences))
    assert context == "\"I can't go,\" said the king.\n'Oh!'\n" * 10
    start = len(tokenizer(context + '"My dear').input_ids)  # what the choices share is left out
    nats = []
    for choice in choices:
        filled = f'"My dear {choice}," cried he, "come in."'
        ids = tokenizer(context + filled).input_ids
        assert len(ids) <= 256
        nats.append(_nats(model, ids, start)[0])
    best = choices[nats.index(min(nats))]
    scorer = Scorer(*load_language_model(trained))
    for answer, accuracy in ((best, 100.0), (next(c for c in choices if c != best), 0.0)):
        (tmp_path / "cbt_cn_test.jsonl").write_text(json.dumps({**row, "answer": answer}))
        measured = BENCHMARKS["cbt_cn"].run(scorer, tmp_path, Options())
        assert measured.metrics == {"accuracy": accuracy}
    texts = [f'"My dear {choice}," cried he, "come in."' for choice in choices]
    scores = [-float(score.sum()) for score in scorer.choices(context, texts)]
    assert scores == pytest.approx(nats, rel=1e-5)


@pytest.mark.parametrize("prompt", ["ROMEO:", "The cat"])
def test_greedy_text(trained: Path, theirs, prompt: str) -> None:
    their_model, their_tokenizer = theirs
    model, tokenizer = load_language_model(trained)
    encoded = their_tokenizer(prompt, return_tensors="pt")
    room = 256 - encoded.input_ids.size(1)
    generated = their_model.generate(
        **encoded, do_sample=False, max_new_tokens=room, eos_token_id=None, pad_token_id=0
    )
    [mine] = generate(model, [tokenizer.encode(prompt)], max_new_tokens=room, sampling=GREEDY)
    assert mine == generated[0, encoded.input_ids.size(1) :].tolist()


@torch.inference_mode()
def _mean_loss(model, ids: list[int], first: int) -> float:
    """Return the mean -ln p of the tokens from `first` on; NaN if there are none."""
    logits = model(torch.tensor([ids])).logits[0].double()
    nats = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]), reduction="none")
    return float(nats[first - 1 :].mean())


def _shared(rows: list[list[int]]) -> int:
    return next(
        (n for n, t in enumerate(zip(*rows, strict=False)) if len(set(t)) > 1), min(map(len, rows))
    )


def _core_answers(model, tokenizer, rows: list[dict], task, n: int) -> list[bool]:
    """Answer the first `n` questions of a task of CORE, one full pass per option, uncached."""
    random.Random(1337).shuffle(rows)
    rows, context, correct = rows[: max(n, task.shots + 1)], model.config.n_positions, []
    join = task.delimiter

    def solved(row: dict) -> str:
        if "choices" in row:
            return row["query"] + join + row["choices"][row["gold"]]
        if "context_options" in row:
            return row["context_options"][row["gold"]] + join + row["continuation"]
        return row["context"].strip() + join + row["continuation"]

    def encode(text: str) -> list[int]:
        return [tokenizer.eos_token_id, *tokenizer(text)["input_ids"]]

    for index, row in enumerate(rows[:n]):
        others = list(range(index)) + list(range(index + 1, len(rows)))
        shots = random.Random(1234 + index).sample(others, task.shots)
        before = "".join(solved(rows[shot]) + "\n\n" for shot in shots)
        if "choices" in row:
            ids = [encode(before + row["query"] + join + choice) for choice in row["choices"]]
            starts = [_shared(ids)] * len(ids)
        elif "context_options" in row:
            ids = [
                encode(before + option + join + row["continuation"])
                for option in row["context_options"]
            ]
            starts = [len(i) - _shared([i[::-1] for i in ids]) for i in ids]
        else:
            text = before + row["context"].strip() + join
            ids = [encode(text + row["continuation"])]
            starts = [len(encode(text.strip()))]
        cuts = [max(0, len(i) - context) for i in ids]
        ids = [i[cut:] for i, cut in zip(ids, cuts, strict=True)]
        starts = [max(1, start - cut) for start, cut in zip(starts, cuts, strict=True)]
        if "gold" not in row:
            _, likeliest = _nats(model, ids[0], starts[0])
            correct.append(likeliest == ids[0][starts[0] :])
        else:
            losses = [_mean_loss(model, *pair) for pair in zip(ids, starts, strict=True)]
            correct.append(losses.index(min(losses)) == row["gold"])
    return correct


QUICK = ("core_arc_challenge", "core_winograd", "core_bigbench_operators")
"""A task of each kind; the others are slow."""


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(task, id=task.name, marks=() if task.name in QUICK else pytest.mark.slow)
        for task in TASKS
    ],
)
def test_core(trained: Path, theirs, realdata: Path, task) -> None:
    file = realdata / "core" / task.source.files[0]
    if not file.is_file():
        pytest.skip(f"no {file.name} in shared/realdata/core")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    measured = task.run(
        Scorer(*load_language_model(trained)), file.parent, Options(limit=N_QUESTIONS)
    )
    correct = _core_answers(*theirs, rows, task, N_QUESTIONS)
    assert measured.per_example["accuracy"] == [100.0 * answer for answer in correct]
