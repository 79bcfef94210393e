"""A page with a model inside: opened from disk it asks for nothing, and gives the same ten."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, normalizers

from webtext_gpt.checkpoint.load import LoadedModel, load
from webtext_gpt.errors import UserError
from webtext_gpt.explorer import export
from webtext_gpt.explorer.export import export_page
from webtext_gpt.generation.texts import next_tokens
from webtext_gpt.model import GPT, ClassifierConfig, GPTClassifier, GPTConfig
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary, train_bpe

QUICKSTART = "WEBTEXT_GPT_QUICKSTART"
"""Environment variable that names a run folder of the quickstart."""
HOSTILE = "</script><script>alert(1)</script><!--"


@pytest.fixture
def loaded() -> LoadedModel:
    """A model with random weights that float16 holds, and a special token that is markup."""
    tokenizer = train_bpe([HOSTILE * 50, "the list of the files " * 30], 320)
    tokenizer = tokenizer.with_tokens([HOSTILE])
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 32}
    model = GPT(GPTConfig(**shape, vocab_size=tokenizer.vocab_size))
    for parameter in model.parameters():
        parameter.data = torch.nn.init.normal_(parameter.data, std=0.3).half().float()
    return LoadedModel(model.eval(), tokenizer)


def _check_ten(browser: Any, loaded: LoadedModel, prompt: str, most: float) -> float:
    """Compare the page's bars with `generate.py next=10`; return their greatest difference."""
    browser.type(prompt)
    bars = browser.run(
        "return [...document.querySelectorAll('.next-bars button')].map((button) =>"
        "[parseInt(button.title.slice(3)), parseFloat(button.querySelector('.bar').style.width)])"
    )
    assert isinstance(loaded.model, GPT)
    (due,) = next_tokens(loaded.model, loaded.tokenizer, prompt, n=10)
    assert [number for number, _ in bars] == [candidate.token for candidate in due], prompt
    differences = [share / 100 - c.probability for (_, share), c in zip(bars, due, strict=True)]
    assert max(map(abs, differences)) < most, prompt
    return max(map(abs, differences))


def test_a_page_opened_from_disk_shows_the_same_ten(
    browser: Any, loaded: LoadedModel, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    export_page(loaded, "tiny", path)
    assert list(tmp_path.iterdir()) == [path]
    browser.open(path.as_uri())
    for prompt in ("the files", "", HOSTILE, "the list " * 40):
        _check_ten(browser, loaded, prompt, 1e-6)
    addresses = [url for url in browser.requests() if not url.startswith(("data:", "blob:"))]
    assert set(addresses) <= {"about:blank", path.as_uri()}
    assert browser.problems() == []


def test_the_page_runs_no_other_script_and_sends_nothing(
    browser: Any, loaded: LoadedModel, tmp_path: Path
) -> None:
    export_page(loaded, "tiny", tmp_path / "page.html")
    browser.open((tmp_path / "page.html").as_uri())
    refused = browser.driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        const refused = [];
        addEventListener("securitypolicyviolation", (event) => {
          refused.push(event.effectiveDirective);
          if (refused.length === 4) done(refused.sort());
        });
        const add = (tag, values) => document.body.append(
          Object.assign(document.createElement(tag), values));
        add("script", { textContent: "window.ran = true" });
        add("style", { textContent: "body { display: none }" });
        add("img", { src: "http://127.0.0.1:9/" });
        fetch("http://127.0.0.1:9/").catch(() => {});
        """
    )
    assert refused == ["connect-src", "img-src", "script-src-elem", "style-src-elem"]
    assert browser.run("return window.ran") is None


def test_a_classifier_is_refused(loaded: LoadedModel, tmp_path: Path) -> None:
    model = GPTClassifier(loaded.model, ClassifierConfig(labels=("a", "b"), pad_token_id=0))
    with pytest.raises(UserError, match="mine is a classifier, and a page can hold only a"):
        export_page(LoadedModel(model, loaded.tokenizer), "mine", tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_a_model_too_large_is_refused_with_the_limit(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = loaded.model.num_parameters
    monkeypatch.setattr(export, "MOST_PARAMETERS", n - 1)
    with pytest.raises(
        UserError, match=f"mine has {n:,} parameters, and a page can hold {n - 1:,}"
    ):
        export_page(loaded, "mine", tmp_path / "page.html")
    monkeypatch.setattr(export, "MOST_PARAMETERS", n)
    export_page(loaded, "mine", tmp_path / "page.html")


@pytest.mark.parametrize("value", [65_520.0, float("inf"), float("nan")])
def test_weights_that_float16_cannot_hold_are_refused_and_the_old_page_stays(
    loaded: LoadedModel, tmp_path: Path, value: float
) -> None:
    (tmp_path / "page.html").write_text("old")
    loaded.model.get_parameter("blocks.1.mlp.c_fc.bias").data[3] = value
    with pytest.raises(UserError, match=r"a value in blocks\.1\.mlp\.c_fc\.bias that float16"):
        export_page(loaded, "mine", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def _lowercased(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer._backend.normalizer = normalizers.Lowercase()
    return tokenizer


def _added(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer._backend.add_tokens([AddedToken("cat", special=False)])
    return Tokenizer(tokenizer._backend)


@pytest.mark.parametrize(
    ("vocabulary", "change", "problem"),
    [
        ("bytes", _lowercased, "it normalizes texts"),
        ("bytes", _added, "it adds 'cat' as ordinary text"),
        ("characters", _lowercased, "its normalizer is another than that of our character"),
        ("characters", _added, "it adds 'cat' as ordinary text"),
    ],
)
def test_tokenizers_that_the_page_does_not_know_are_refused(
    loaded: LoadedModel,
    tmp_path: Path,
    vocabulary: str,
    change: Callable[[Tokenizer], Tokenizer],
    problem: str,
) -> None:
    tokenizer = train_bpe(["a"], 257) if vocabulary == "bytes" else build_char_vocabulary(["abc"])
    with pytest.raises(UserError, match=f"does not know this tokenizer: {problem}"):
        export_page(LoadedModel(loaded.model, change(tokenizer)), "mine", tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_quickstarts_page_shows_the_same_ten(browser: Any, tmp_path: Path) -> None:
    if QUICKSTART not in os.environ:
        pytest.skip(f"no run folder of the quickstart in {QUICKSTART}")
    loaded = load(os.environ[QUICKSTART])
    export_page(loaded, "quickstart", tmp_path / "page.html")
    browser.open((tmp_path / "page.html").as_uri())
    greatest = max(_check_ten(browser, loaded, prompt, 1e-3) for prompt in PROMPTS)
    print(f"greatest difference of a probability: {greatest:.1e}")
    assert browser.problems() == []


PROMPTS = (
    *("", "Return", "Return the", "Return the list of", "The", "If the", "Raise", "Raises a"),
    *("Args:\n    path:", "A class that", "Convert a string to", "Write", "Read the file and"),
    *("This function", "True if", "Set the", "Compute the sum of", "Create a new", "Open a"),
    *("    >>> x =", "Note that", "Parse the", "Example:", "Called when", "See also"),
)
