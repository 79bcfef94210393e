"""Fixtures shared by all tests: the folder of real data, small corpora, small runs."""

import copy
import csv
import functools
import logging
import random
import runpy
import shutil
import signal
import subprocess
import sys
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from webtext_gpt import cli
from webtext_gpt.commands import COMMANDS
from webtext_gpt.settings import composition

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

REPOSITORY = Path(__file__).parents[1]
CHROMIUM = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Folder of real inputs next to the checkout; without it, tests that need it are skipped."""
    return _shared("realdata")


@pytest.fixture(scope="session")
def cases() -> Path:
    """Folder of small inputs that went wrong once; without it, tests that need it are skipped."""
    return _shared("cases")


def _shared(name: str) -> Path:
    folder = REPOSITORY.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"no shared/{name} next to the checkout")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the token shards of tests out of the user's cache."""
    monkeypatch.setenv("WEBTEXT_GPT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _interrupt() -> Iterator[None]:
    """Restore Python's reaction to Ctrl-C, which a command that ends with a message gives up."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """List of the figures of matplotlib that the test saves; they are saved as ever."""
    from matplotlib.figure import Figure

    saved: list[Any] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: Any, **options: Any) -> None:
        saved.append(figure)
        save(figure, *arguments, **options)
        figure.draw_without_rendering()  # the sizes of texts, in pixels of the figure

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


@pytest.fixture(scope="session")
def prose() -> str:
    """About 60 kB of made-up sentences, the same in every session."""
    words = ["the", "a", "cat", "dog", "bird", "sees", "hears", "small", "old", "river", "and"]
    draw = random.Random(0)
    sentences = [" ".join(draw.choices(words, k=draw.randint(4, 12))) for _ in range(1600)]
    return ". ".join(sentences) + "."


@pytest.fixture(scope="session")
def prose_file(prose: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`prose` as a text file."""
    path = tmp_path_factory.mktemp("prose") / "prose.txt"
    path.write_text(prose)
    return path


@pytest.fixture(scope="session")
def compose() -> Callable[..., Any]:
    """`compose("train", "key=value", ...)`: the typed settings that a command line gives.

    Hydra composes each combination of group choices once per session.
    """
    composed = functools.cache(lambda config, chosen: composition.compose(config, dict(chosen)))

    def _compose(name: str, *arguments: str) -> Any:
        def cached(config: str, chosen: dict[str, str], extra: Path | None) -> dict[str, Any]:
            if extra is not None:
                return composition.compose(config, chosen, extra)
            return copy.deepcopy(composed(config, tuple(chosen.items())))

        command = COMMANDS[name.rpartition("/")[2]]
        with unittest.mock.patch.object(cli, "compose", cached):
            return cli.read_settings(command, cli.parse(arguments, command))

    return _compose


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`call(SCRIPT, "key=value", ...)`: run a script to its end in this process.

    It parses, exits and prints as in a process of its own, without the time that imports take.
    """

    def _call(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", [str(REPOSITORY / script), *arguments])
        monkeypatch.setenv(cli.FULL_ERROR, "0")
        capsys.readouterr()
        code = 0
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            code = end.code
        return subprocess.CompletedProcess([script, *arguments], code, *capsys.readouterr())

    return _call


@pytest.fixture
def small_run(small_run_in: Callable[[Path], list[str]], tmp_path: Path) -> list[str]:
    """Overrides of a pretraining run that takes seconds, in `tmp_path / "run"`."""
    return small_run_in(tmp_path)


@pytest.fixture(scope="session")
def small_run_in(prose_file: Path) -> Callable[[Path], list[str]]:
    """`small_run_in(folder)`: overrides of a pretraining run that takes seconds."""
    return lambda folder: [
        "data=files",
        f"data.path={prose_file}",
        "tokenizer.vocab_size=280",
        "model.n_layer=2",
        "model.n_head=2",
        "model.n_embd=32",
        "model.block_size=32",
        "global_batch_tokens=256",
        "trainer.max_steps=6",
        "trainer.log_every_n_steps=1",
        "trainer.accelerator=cpu",
        "trainer.precision=32-true",
        "validate_every=3",
        "callbacks.checkpoints.save_every=2",
        "callbacks.samples.max_new_tokens=5",
        "scheduler.warmup_steps=2",
        "optimizer.lr=1e-2",
        f"cache_dir={folder / 'cache'}",
        f"run_dir={folder / 'run'}",
    ]


@pytest.fixture(scope="session")
def small_checkpoint(prose: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint file with random weights, far from uniform, and a vocabulary of 280."""
    import torch

    from webtext_gpt.checkpoint.load import save_model
    from webtext_gpt.model import GPT, GPTConfig
    from webtext_gpt.tokenizer import train_bpe

    tokenizer = train_bpe([prose], 280)
    torch.manual_seed(0)
    shape = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 64}
    model = GPT(GPTConfig(**shape, vocab_size=tokenizer.vocab_size))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("checkpoint") / "small.ckpt"
    save_model(model, tokenizer, path)
    return path


@pytest.fixture(scope="session")
def small_translator(prose: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an encoder-decoder that has learnt in seconds to copy most of a sentence."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from webtext_gpt.checkpoint.load import save_model
    from webtext_gpt.model.transformer import Transformer, TransformerConfig
    from webtext_gpt.tokenizer import train_bpe

    tokenizer = train_bpe([prose], 280)
    torch.manual_seed(0)
    shape = {"n_encoder_layer": 1, "n_decoder_layer": 2, "n_head": 2, "n_embd": 32}
    config = TransformerConfig(**shape, block_size=24, vocab_size=tokenizer.vocab_size, dropout=0.0)
    model, end = Transformer(config), tokenizer.end_of_text
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    sentences = [tokenizer.encode(text)[:20] for text in prose.split(". ")]
    for start in range(0, 1600, 16):
        rows = [torch.tensor([end, *ids, end]) for ids in sentences[start : start + 16]]
        texts = pad_sequence(rows, batch_first=True, padding_value=end)
        logits = model(texts[:, 1:], torch.tensor([len(r) - 1 for r in rows]), texts[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    path = tmp_path_factory.mktemp("checkpoint") / "translator.ckpt"
    save_model(model, tokenizer, path)
    return path


@pytest.fixture
def transformers_remarks() -> Iterator[list[str]]:
    """Messages that transformers logs during the test, at the level of warnings or above."""
    from transformers.utils import logging as theirs

    remarks: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: remarks.append(record.getMessage())
    theirs.add_handler(handler)
    yield remarks
    theirs.remove_handler(handler)


@pytest.fixture(scope="session")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of made-up sentences, labeled by the animal in them; its position and length vary."""
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
def small_finetuning(animals: Path, small_checkpoint: Path, tmp_path: Path) -> list[str]:
    """Overrides of a fine-tuning run that takes seconds, in `tmp_path / "run"`."""
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
def finetune(compose: Callable[..., Any], small_finetuning: list[str]) -> Callable[..., dict]:
    """`finetune(*overrides)`: a small fine-tuning run in this process."""
    from webtext_gpt.finetuning.command import run_command

    return lambda *overrides: run_command(compose("finetune", *small_finetuning, *overrides))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Chrome"]:
    """A headless Chromium with a profile of its own; without one, its tests are skipped."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra dev")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no chromium and chromedriver; Debian has them as chromium, chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (*CHROMIUM, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield started
    finally:
        started.quit()
