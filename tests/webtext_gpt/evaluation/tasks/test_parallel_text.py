"""The task `translation`, by the command and by its files."""

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sacrebleu

from webtext_gpt.checkpoint.load import load, only_translator
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.benchmark import Options
from webtext_gpt.evaluation.scoring import Scorer
from webtext_gpt.evaluation.tasks.lambada import LAMBADA
from webtext_gpt.evaluation.tasks.parallel_text import TRANSLATION
from webtext_gpt.generation.translate import translate

Run = Callable[..., subprocess.CompletedProcess[str]]
SOURCES = ["the cat sees the old river and the dog", "a small old dog", "the river"]
TARGETS = ["the Cat sees the old river and the bird", "an old dog", "the river sees"]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, lines in (("test.en.gz", SOURCES), ("test.de.gz", TARGETS)):
        with gzip.open(folder / name, "wt") as stream:
            stream.write("\n".join(lines) + "\n")
    (folder / "test.source").write_text("\n".join(SOURCES))
    (folder / "test.target").write_text("\n".join(TARGETS))
    return folder


def test_the_command_writes_scores_and_signatures(
    call: Run, small_translator: Path, data_dir: Path, tmp_path: Path
) -> None:
    inputs = f"checkpoint={small_translator}", "tasks=[translation]", f"run_dir={tmp_path}/out"
    files = f"data_dir={data_dir}", "source=test.en.gz", "reference=test.de.gz"
    result = call("eval.py", *inputs, *files, "num_beams=2")
    assert result.returncode == 0, result.stderr

    loaded = load(small_translator)
    model = only_translator(loaded, small_translator)
    written = translate(model, loaded.tokenizer, SOURCES, num_beams=2)
    expected = {
        "bleu": sacrebleu.corpus_bleu(written, [TARGETS]).score,
        "bleu_lowercase": sacrebleu.corpus_bleu(written, [TARGETS], lowercase=True).score,
        "chrf": sacrebleu.corpus_chrf(written, [TARGETS]).score,
    }
    rows = {r["metric"]: r for r in json.loads((tmp_path / "out/evaluation.json").read_text())}
    for name, value in expected.items():
        assert rows[name]["value"] == pytest.approx(value)
    assert 0 < rows["bleu"]["value"] < rows["bleu_lowercase"]["value"] < 100
    assert {row["examples"] for row in rows.values()} == {3}
    signature = rows["bleu"]["note"]
    assert signature.startswith("nrefs:1|case:mixed|")
    report = (tmp_path / "out/evaluation.md").read_text()
    for text in (report, result.stdout):
        assert f"- translation bleu: {signature}" in text
        assert "LAMBADA" not in text


def test_a_folder_has_a_pair_of_its_own(small_translator: Path, data_dir: Path) -> None:
    scorer = Scorer(*_loaded(small_translator))
    named = Options(pair=("test.en.gz", str(data_dir / "test.target")), num_beams=1)
    assert TRANSLATION.run(scorer, data_dir, named) == TRANSLATION.run(
        scorer, data_dir, Options(num_beams=1)
    )
    assert TRANSLATION.run(scorer, data_dir, Options(limit=2)).examples == 2


def _loaded(path: Path) -> tuple:
    loaded = load(path)
    return loaded.model, loaded.tokenizer


def test_files_that_are_no_pair_are_refused(small_translator: Path, data_dir: Path) -> None:
    scorer = Scorer(*_loaded(small_translator))
    (data_dir / "short").write_text("eins\nzwei\n")
    (data_dir / "gap").write_text("eins\n\ndrei\n")
    for target, message in (
        ("short", "test.en.gz has 3 sentences and .*short has 2"),
        ("gap", "gap: sentence 2 is empty"),
        ("gone", "reference=gone does not exist.*, also in .*data"),
    ):
        with pytest.raises(UserError, match=message):
            TRANSLATION.run(scorer, data_dir, Options(pair=("test.en.gz", target)))
    with pytest.raises(
        UserError, match="there is no test set; give source=FILE and reference=FILE"
    ):
        TRANSLATION.run(scorer, None, Options())


def test_a_task_needs_a_model_of_its_kind(
    scorer: Scorer, small_translator: Path, data_dir: Path
) -> None:
    with pytest.raises(UserError, match="needs a translation model"):
        TRANSLATION.run(scorer, data_dir, Options())
    (data_dir / "lambada_test.jsonl").write_text('{"text": "the cat saw the dog"}\n')
    with pytest.raises(UserError, match="needs a language model"):
        LAMBADA.run(Scorer(*_loaded(small_translator)), data_dir, Options())


def test_the_command_refuses_a_model_of_another_kind(
    call: Run, small_translator: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    out = f"run_dir={tmp_path}/out"
    for arguments, message in (
        ([small_translator, "tasks=[lambada]"], "holds a translation model, and the task lamb"),
        ([small_checkpoint, "tasks=[translation]"], "holds a language model, and the task trans"),
    ):
        result = call("eval.py", f"checkpoint={arguments[0]}", arguments[1], out)
        assert result.returncode == 1
        assert message in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["source=a", "reference=b"],
            "source= is for the task translation; give tasks=translation",
        ),
        (["num_beams=3"], "num_beams= is for the task translation"),
        (["tasks=translation", "source=a"], "name the two sides of a test set; give both"),
    ],
)
def test_half_a_pair_is_refused(call: Run, arguments: list[str], message: str) -> None:
    result = call("eval.py", "checkpoint=gone.ckpt", *arguments)
    assert result.returncode == 1
    assert message in result.stderr
