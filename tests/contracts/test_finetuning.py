"""Fine-tuning is pretraining's path: resumed, divided and repeated runs are the undisturbed one."""

import csv
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from webtext_gpt.checkpoint.load import load, load_language_model
from webtext_gpt.checkpoint.store import read_checkpoint
from webtext_gpt.errors import Stopped, UserError
from webtext_gpt.finetuning.command import run_command
from webtext_gpt.finetuning.predict import TextClassifier
from webtext_gpt.model import GPTClassifier
from webtext_gpt.tokenizer import train_bpe
from webtext_gpt.training.callbacks.interrupt import GracefulInterrupt
from webtext_gpt.training.loggers import read_metrics
from webtext_gpt.weights import hugging_face

REPOSITORY = Path(__file__).parents[2]
Finetune = Callable[..., dict]


@pytest.fixture(scope="session")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of made-up sentences, labelled by the animal in them; its places and lengths vary."""
    folder = tmp_path_factory.mktemp("animals")
    draw = random.Random(0)
    words = ["the", "a", "sees", "hears", "small", "old", "river", "and"]
    for name, n in (("train", 240), ("validation", 33), ("test", 20)):
        with (folder / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "other", "label", "score"])
            for _ in range(n):
                animal = draw.choice(["cat", "dog", "bird"])
                sentence = [*draw.choices(words, k=draw.randint(2, 9)), animal]
                draw.shuffle(sentence)
                text = " ".join(sentence)
                writer.writerow([text, text[::-1][:20], animal, len(sentence)])
    return folder


@pytest.fixture
def settings(animals: Path, small_checkpoint: Path, tmp_path: Path) -> list[str]:
    return [
        f"checkpoint={small_checkpoint}",
        "task=file",
        f"task.train={animals / 'train.csv'}",
        f"task.validation={animals / 'validation.csv'}",
        f"run_dir={tmp_path / 'run'}",
        "batch_size=8",
        "trainer.max_steps=12",
        "trainer.log_every_n_steps=1",
        *("trainer.accelerator=cpu", "trainer.precision=32-true"),
        "validate_every=5",
        "callbacks.checkpoints.save_every=4",
        "optimizer.lr=3e-3",
    ]


@pytest.fixture
def finetune(compose: Callable[..., DictConfig], settings: list[str]) -> Finetune:
    """`finetune(*overrides)`: a small run in this process."""
    return lambda *overrides: run_command(compose("finetune", *settings, *overrides))


def _curve(run: Path) -> list[tuple]:
    columns = ("step", "train_loss", "val_loss", "val_accuracy", "lr")
    return [
        tuple(row.get(column) for column in columns) for row in read_metrics(run / "metrics.csv")
    ]


def test_a_classifier_learns_and_says_how_well(
    finetune: Finetune, animals: Path, tmp_path: Path
) -> None:
    """300 steps suffice for a word that is there or not; the summary's figures are the model's."""
    test = animals / "test.csv"
    summary = finetune(f"task.test={test}", "trainer.max_steps=300", "validate_every=100")
    assert summary["test_accuracy"] > 0.9
    run = tmp_path / "run"
    assert json.loads((run / "summary.json").read_text()) == pytest.approx(summary)
    opened = load(run)
    model, tokenizer = opened.model, opened.tokenizer
    assert isinstance(model, GPTClassifier)
    assert model.config.labels == ("bird", "cat", "dog")
    rows = list(csv.DictReader(test.open()))
    logits = TextClassifier(model, tokenizer).logits([row["text"] for row in rows])
    right = [model.config.labels[i] for i in logits.argmax(dim=1)] == [r["label"] for r in rows]
    hits = sum(
        model.config.labels[i] == row["label"]
        for i, row in zip(logits.argmax(dim=1).tolist(), rows, strict=True)
    )
    assert summary["test_accuracy"] == pytest.approx(hits / len(rows))
    assert right == (hits == len(rows))
    for name in ("loss.png", "validation/confusion.png", "test/report.md", "test/mistakes.jsonl"):
        assert (run / name).stat().st_size > 0 or name.endswith("jsonl")


def test_a_texts_logits_do_not_depend_on_its_batch(finetune: Finetune, tmp_path: Path) -> None:
    finetune()
    loaded = load(tmp_path / "run")
    classifier = TextClassifier(loaded.model, loaded.tokenizer)
    text, long = "the old cat hears", "the river and " * 30
    alone = classifier.logits([text])[0]
    for others in (["a", "the dog"] * 20, [long] * 20):
        together = classifier.logits([*others, text, *others])[len(others)]
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_interrupted_and_resumed_is_undisturbed(
    finetune: Finetune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped by Ctrl-C after 7 of 12 steps, with dropout in the body too."""
    finetune(f"run_dir={tmp_path / 'whole'}", "body_dropout=0.1")
    stop = GracefulInterrupt.on_train_batch_start

    def interrupt(self: GracefulInterrupt, trainer: object, *args: object) -> None:
        if trainer.global_step == 7:
            self._request(2, None)
        stop(self, trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(GracefulInterrupt, "on_train_batch_start", interrupt)
        with pytest.raises(Stopped, match=r"step 7 is saved.* resume="):
            finetune("body_dropout=0.1")
    finetune("resume=auto", "body_dropout=0.1")
    assert _curve(tmp_path / "run") == _curve(tmp_path / "whole")
    whole, resumed = (load(tmp_path / name).model.state_dict() for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_two_processes_are_one(finetune: Finetune, settings: list[str], tmp_path: Path) -> None:
    """With the head's dropout, the auxiliary loss and accumulation."""
    finetune(f"run_dir={tmp_path / 'one'}", "micro_batch_size=4")
    command = [sys.executable, str(REPOSITORY / "finetune.py"), *settings, "trainer.devices=2"]
    subprocess.run(
        [*command, "strategy=ddp", "micro_batch_size=2"],
        check=True,
        timeout=120,
        capture_output=True,
    )
    for one, two in zip(_curve(tmp_path / "one"), _curve(tmp_path / "run"), strict=True):
        assert [v for v in two if v is not None] == pytest.approx(
            [v for v in one if v is not None], abs=2e-6
        )


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("frozen", ["layers=1", "lora.rank=2"])
def test_zero_keeps_what_is_frozen(
    stage: int, frozen: str, finetune: Finetune, settings: list[str], tmp_path: Path
) -> None:
    """A checkpoint in parts has the frozen weights too, and is continued by one process."""
    same = [frozen, "scheduler=constant"]  # which does not depend on where training ends
    finetune(f"run_dir={tmp_path / 'one'}", *same)
    command = [sys.executable, str(REPOSITORY / "finetune.py"), *settings, *same]
    zero = ["trainer.devices=2", f"strategy=deepspeed_zero{stage}", "trainer.max_steps=8"]
    subprocess.run([*command, *zero], check=True, timeout=200, capture_output=True)
    theirs = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["state_dict"]
    model, _ = load_language_model(settings[0].partition("=")[2])
    start = {f"model.body.{name}": value for name, value in model.state_dict().items()}
    name = "model.body.blocks.0.mlp.c_fc.weight"
    saved = theirs.get(name, theirs.get(name.replace("c_fc.", "c_fc.base_layer.")))
    assert torch.equal(saved, start[name])
    finetune("resume=auto", *same, "trainer.max_steps=12")
    for one, two in zip(_curve(tmp_path / "one")[-3:], _curve(tmp_path / "run")[-3:], strict=True):
        assert [v for v in two[:4] if v] == pytest.approx([v for v in one[:4] if v], abs=1e-4)


@pytest.mark.parametrize(
    ("choice", "trained"),
    [
        ("layers=0", lambda name: name == "head.weight"),
        ("layers=1", lambda name: name.startswith(("head", "body.blocks.1", "body.ln_f"))),
        ("lora.rank=2", lambda name: name == "head.weight" or ".mlp." in name or ".attn." in name),
    ],
    ids=["head", "last block", "lora"],
)
def test_what_is_frozen_stays(
    choice: str,
    trained: Callable[[str], bool],
    finetune: Finetune,
    small_checkpoint: Path,
    tmp_path: Path,
) -> None:
    finetune(
        choice, "trainer.max_steps=6", "validate_every=3", "callbacks.checkpoints.save_every=3"
    )
    model = load(tmp_path / "run").model
    before = load_language_model(small_checkpoint)[0].state_dict()
    for name, value in model.state_dict().items():
        old = before.get(name.removeprefix("body."))
        if old is not None and value.dim() > 1:
            assert torch.equal(value[: len(old)], old) != trained(name), name
    assert model.body.config.vocab_size == 281  # the extract token is new


def test_seeds_are_runs_of_their_own(
    finetune: Finetune,
    compose: Callable[..., DictConfig],
    tmp_path: Path,
) -> None:
    summary = finetune("seeds=[0,1]")
    own = {
        seed: json.loads((tmp_path / f"run/seed-{seed}/summary.json").read_text())
        for seed in (0, 1)
    }
    first, second = (own[seed]["val_loss"] for seed in (0, 1))
    assert first != second
    figures = summary["mean_and_deviation"]["val_loss"]
    assert figures["mean"] == pytest.approx((first + second) / 2)
    assert figures["deviation"] == pytest.approx(abs(first - second) / 2**0.5)
    alone = finetune("seed=1", f"run_dir={tmp_path / 'alone'}")
    assert alone["val_loss"] == second
    with pytest.raises(UserError, match="already holds a run"):
        finetune("seeds=[0,1]")
    with pytest.raises(UserError, match="begun with other settings of lm_weight"):
        finetune("seeds=[0,1]", "resume=auto", "lm_weight=0")
    asked = compose("finetune", f"run_dir={tmp_path / 'run'}", f"resume={tmp_path / 'run'}")
    again = run_command(asked, ["seeds=[0,1,2]"])
    assert again["seeds"]["1"] == summary["seeds"]["1"]
    assert set(again["seeds"]) == {"0", "1", "2"}
    with pytest.raises(UserError, match="seeds=.* trains with one process"):
        finetune("seeds=[0]", "trainer.devices=2", f"run_dir={tmp_path / 'two'}")


def test_pairs_of_sentences_and_numbers(finetune: Finetune, tmp_path: Path) -> None:
    """A regression over symmetric pairs: one output, both orders, the same from either side."""
    summary = finetune(
        *(
            "task.kind=regression",
            "task.label=score",
            "task.text_pair=other",
            "task.symmetric=true",
        ),
        "task.metrics=[spearman,pearson]",
    )
    assert {"val_spearman", "val_pearson", "val_loss", "best_val_spearman"} <= set(summary)
    loaded = load(tmp_path / "run")
    classifier = TextClassifier(loaded.model, loaded.tokenizer)
    there, back = classifier.logits(["a cat", "dog"], ["dog", "a cat"])
    assert classifier.labels == ("score",)
    torch.testing.assert_close(there, back)


def test_completions_are_learned_and_scored(
    compose: Callable[..., DictConfig], settings: list[str], tmp_path: Path
) -> None:
    rows = [{"prompt": f"say {word}", "completion": word} for word in ("cat", "dog", "river") * 12]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = [
        *(s for s in settings if not s.startswith("task")),
        *("task=pairs", f"task.train={file}", f"task.validation={file}"),
        *("trainer.max_steps=150", "max_new_tokens=8", "validate_every=50"),
    ]
    summary = run_command(compose("finetune", *overrides))
    assert summary["val_loss"] < 0.7  # ln 2; 5.6 for a vocabulary of 280 that knows nothing
    assert summary["val_rouge1"] > 90
    answers = (tmp_path / "run" / "validation" / "answers.jsonl").read_text().splitlines()
    assert json.loads(answers[0])["prompt"] == "say cat\n"
    model, _ = load_language_model(tmp_path / "run")  # a language model like any other
    assert model.config.vocab_size == 280


def test_training_that_ended_early_stays_ended(finetune: Finetune, tmp_path: Path) -> None:
    """A learning rate of nothing finds nothing better: two validations after the first one."""
    early = ["optimizer.lr=1e-30", "validate_every=2", "callbacks.early_stopping.patience=2"]
    summary = finetune(*early, "trainer.max_steps=40")
    assert (summary["step"], summary["stopped_early"]) == (6, True)
    assert finetune(*early, "trainer.max_steps=40", "resume=auto") == {}
    more = run_command(
        OmegaConf.create({**_saved(tmp_path / "run"), "resume": str(tmp_path / "run")}),
        ["callbacks.early_stopping.patience=4"],
    )
    assert more["step"] == 10


def _saved(run: Path) -> dict:
    return OmegaConf.to_container(OmegaConf.load(run / "config.yaml"), resolve=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["task.label=lable"], "no column 'lable'.*text, other, label, score"),
        (["checkpoint=null"], "checkpoint has no value"),
        (["batch_size=7", "trainer.devices=2"], "batch_size=7 does not divide by 2 devices"),
        (["layers=3"], "layers=3: the model has 2"),
        (["layers=1", "lora.rank=2"], "lora.rank freezes every layer"),
        (["predict=none.csv"], "none.csv is not there"),
        (["evaluate=none.csv"], "none.csv is not there"),
        (["out=a.csv"], "out=a.csv is for the labels of predict"),
        (["dropout=1"], "dropout=1 must be 0 or above and under 1"),
        (["epochs=inf"], "epochs=inf must be a number"),
        (["seeds=3", "lm_weight=-1"], "lm_weight=-1 must be 0 or above"),
        (["task.kind=completion", "task.metrics=[bleu]"], "must be loss"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_refused_before_training(
    changes: list[str], message: str, finetune: Finetune, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        finetune(*changes)
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize("change", ["layers=1", "dropout=0.3", "lora.rank=2", "seed=5"])
def test_another_recipe_is_no_continuation(change: str, finetune: Finetune, tmp_path: Path) -> None:
    finetune("trainer.max_steps=2")
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(UserError, match="the run to continue has"):
        finetune("trainer.max_steps=4", "resume=auto", change)
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_part_of_the_validation_is_measured_as_such(finetune: Finetune, animals: Path) -> None:
    """Rows that are left out do not count as the first class."""
    summary = finetune("trainer.limit_val_batches=1", "micro_batch_size=8", "validate_every=12")
    assert round(8 * summary["best_val_accuracy"], 5) % 1 == 0


def test_training_for_some_time(finetune: Finetune) -> None:
    summary = finetune("trainer.max_steps=null", "trainer.max_minutes=0.05")
    assert summary["seconds"] < 30
    assert summary["step"] > 0


def test_a_checkpoint_with_another_vocabulary_is_refused(
    finetune: Finetune, small_checkpoint: Path, prose: str, tmp_path: Path
) -> None:
    """A folder whose tokenizer has ten ids fewer than its model, which no padding explains."""
    model, _ = load_language_model(small_checkpoint)
    hugging_face.save(model, train_bpe([prose], 270), tmp_path / "other")
    with pytest.raises(UserError, match="270 ids and the model 280; they are not of one another"):
        finetune(f"checkpoint={tmp_path / 'other'}")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_rows_that_are_also_learned_from_are_counted(
    finetune: Finetune, animals: Path, capsys: pytest.CaptureFixture
) -> None:
    finetune(f"task.test={animals / 'train.csv'}", "trainer.max_steps=1")
    assert "warning: 240 of the 240 test rows are in the training data" in capsys.readouterr().out
