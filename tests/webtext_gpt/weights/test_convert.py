"""The conversion command, on a model trained here, with transformers reading its output."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webtext_gpt.checkpoint.load import load, load_language_model
from webtext_gpt.commands import main
from webtext_gpt.errors import UserError
from webtext_gpt.model import ClassifierConfig, GPTClassifier
from webtext_gpt.training.pretrain import pretrain
from webtext_gpt.weights import hugging_face
from webtext_gpt.weights.convert import convert

REPOSITORY = Path(__file__).parents[3]

THEIR_SIDE = """
import json, sys
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar
disable_progress_bar()
folder, classifier, prompt = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
inputs = tokenizer(tokenizer.bos_token + prompt, return_tensors="pt")
tokens = model.generate(**inputs, max_new_tokens=20, do_sample=False)[0]
head = AutoModelForSequenceClassification.from_pretrained(classifier)
AutoTokenizer.from_pretrained(classifier)
print(json.dumps([tokenizer.decode(tokens[1:]), head.config.id2label[1]]))
"""


def _call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=REPOSITORY,
        check=False,
    )


@pytest.fixture
def trained(compose: Callable[..., Any], small_run: list[str], tmp_path: Path) -> Path:
    pretrain(compose("train", *small_run))
    return tmp_path / "run"


@pytest.mark.slow
def test_a_trained_model_in_transformers(trained: Path, tmp_path: Path) -> None:
    """The Auto classes load it without a warning and write the same text; it converts back."""
    folder, back = tmp_path / "exported", tmp_path / "back.ckpt"
    result = _call("-m", "webtext_gpt.weights", f"checkpoint={trained}", f"out={folder}")
    assert result.returncode == 0, result.stderr
    model, tokenizer = load_language_model(trained)
    expected = f"GPT, {model.num_parameters:,} parameters, {tokenizer.vocab_size} token ids"
    assert expected in result.stdout
    head = ClassifierConfig(labels=("bad", "good"), pad_token_id=1, extract_token_id=0)
    classifier = GPTClassifier(model, head).eval()
    hugging_face.save(classifier, tokenizer, tmp_path / "classifier")

    prompt = "the old river"
    theirs = _call("-c", THEIR_SIDE, str(folder), str(tmp_path / "classifier"), prompt)
    assert (theirs.returncode, theirs.stderr) == (0, "")
    tokens = [tokenizer.end_of_text, *tokenizer.encode(prompt)]
    for _ in range(20):
        with torch.inference_mode():
            tokens.append(int(model(torch.tensor([tokens[-32:]]))[0, -1].argmax()))
    assert json.loads(theirs.stdout) == [tokenizer.decode(tokens[1:]), "good"]

    convert(folder, back)
    again, its_tokenizer = load_language_model(back)
    assert again.config == model.config
    assert its_tokenizer.hash == tokenizer.hash
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    convert(tmp_path / "classifier", tmp_path / "classifier.ckpt")
    loaded = load(tmp_path / "classifier.ckpt").model
    assert isinstance(loaded, GPTClassifier)
    assert loaded.config == head
    convert(tmp_path / "classifier.ckpt", tmp_path / "again")
    for file in (tmp_path / "classifier").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()

    with pytest.raises(UserError, match="back.ckpt exists.*force=true"):
        convert(folder, back)
    convert(folder, back, force=True)
    with pytest.raises(UserError, match="exported is not empty.*force=true"):
        convert(back, folder)
    with pytest.raises(UserError, match="back.ckpt carries its tokenizer"):
        convert(back, tmp_path / "other", tokenizer=folder)


def test_commands_of_the_documents_compose(compose: Callable[..., Any]) -> None:
    lines = [
        line
        for document in ("README.md", "docs/how-to/weights.md")
        for line in (REPOSITORY / document).read_text().splitlines()
        if line.startswith("python -m webtext_gpt.weights ")
    ]
    assert len(lines) >= 4
    for line in lines:
        words = shlex.split(line, comments=True)[3:]
        settings = compose("weights", *words)
        assert all(f"{key}={getattr(settings, key)}" in words for key in ("checkpoint", "out"))


@pytest.mark.parametrize("name", ["a b", "a,b=c", "[a]", "it's", '"q"', "${x} $HOME"])
def test_the_command_takes_any_path(
    small_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["weights", f"checkpoint={small_checkpoint}", f"out={name}"])
    expected = ["GPT, 36,480 parameters, 280 token ids", f"written  {shlex.quote(name)}"]
    assert capsys.readouterr().out.splitlines() == expected
    main(["weights", f"checkpoint={name}", f"out={name}.ckpt"])
    with pytest.raises(SystemExit, match="1"):
        main(["weights", f"checkpoint={name}", f"out={name}.ckpt", "force=no"])
    assert f"error: {name}.ckpt exists; name another file" in capsys.readouterr().err
    main(["weights", f"checkpoint={name}", f"out={name}.ckpt", "force=yes"])
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.ckpt"}


def test_unreadable_input_leaves_no_output(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone does not exist"):
        convert(tmp_path / "gone", tmp_path / "out")
    with pytest.raises(UserError, match="holds no checkpoint"):
        convert(tmp_path, tmp_path / "out.ckpt")
    assert list(tmp_path.iterdir()) == []
