"""Contract 8: every configuration composes and instantiates; every documented command composes."""

import dataclasses
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documented.pages import commands
from webtext_gpt.cli import parse, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.errors import UserError
from webtext_gpt.finetuning.run import open_task
from webtext_gpt.model import GPT, GPTConfig
from webtext_gpt.model.config import GPT2_VOCAB_SIZE
from webtext_gpt.model.transformer import TransformerConfig
from webtext_gpt.settings.saved import save
from webtext_gpt.sweep import jobs
from webtext_gpt.training.batch import plan_batch
from webtext_gpt.training.chosen_callbacks import build_callbacks
from webtext_gpt.training.distributed.devices import Devices
from webtext_gpt.training.length import Length
from webtext_gpt.training.trainer import build_trainer

REPOSITORY = Path(__file__).parents[2]
CONF = REPOSITORY / "conf"
PAIRS = ["data=pairs", "data.source=a.en", "data.target=a.de"]


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("name", _choices("model"))
def test_models(name: str, compose: Callable[..., Any]) -> None:
    plain = yaml.safe_load((CONF / "model" / f"{name}.yaml").read_text())
    is_translator = name.startswith("transformer_")
    kind: Any = TransformerConfig if is_translator else GPTConfig
    assert plain.pop("_target_").endswith(f".{kind.__name__}")
    settings = compose("train", f"model={name}", *(PAIRS if is_translator else [])).model
    config = settings.build(vocab_size=settings.vocab_size or GPT2_VOCAB_SIZE)
    expected = kind(**{"vocab_size": GPT2_VOCAB_SIZE, **plain})
    assert config == expected  # the settings' defaults are those of the configuration


def test_the_settings_list_every_option_of_the_model(compose: Callable[..., Any]) -> None:
    options = {field.name for field in dataclasses.fields(GPTConfig)}
    assert set(compose("train").model.arguments()) == options
    options = {field.name for field in dataclasses.fields(TransformerConfig)}
    assert set(compose("train", *PAIRS).model.arguments()) == options


@pytest.mark.parametrize("name", _choices("scheduler"))
def test_schedulers(name: str, compose: Callable[..., Any]) -> None:
    schedule = compose("train", f"scheduler={name}").scheduler.partial()
    assert 0 < schedule(0, total_steps=10_000) <= 1


@pytest.mark.parametrize("name", [n for n in _choices("strategy") if n != "fsdp"])
def test_strategies_and_trainer(
    name: str, compose: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")  # a strategy sets it for the whole process
    settings = compose("train", f"strategy={name}", "trainer.accelerator=cpu", "trainer.devices=2")
    trainer = build_trainer(
        settings.trainer,
        run_dir=tmp_path,
        devices=Devices("cpu", per_node=2),
        parallelism=settings.strategy.build(Devices("cpu", per_node=2)),
        plan=plan_batch(None, block_size=8, devices=2),
        length=Length(max_steps=1, max_minutes=None),
        validate_every=1,
        callbacks=[],
        loggers=[],
    )
    assert trainer.world_size == 2


@pytest.mark.parametrize("name", _choices("logger"))
def test_loggers(name: str, compose: Callable[..., Any], tmp_path: Path) -> None:
    logger = compose("train", f"logger={name}").logger
    assert (logger is None) == (name == "csv")
    assert logger is None or logger.build(run_dir=tmp_path, first_step=0) is not None


@pytest.mark.parametrize("name", _choices("callbacks"))
def test_callbacks(name: str, compose: Callable[..., Any], tmp_path: Path) -> None:
    script = ["finetune"] if name == "finetuning" else ["train", f"callbacks={name}"]
    settings = compose(*script).callbacks
    entries = [value for value in settings.arguments().values() if value is not None]
    assert len(entries) >= 6
    assert len(build_callbacks(settings, tmp_path, "val_accuracy", None)) == len(entries)


@pytest.mark.parametrize("name", [n for n in _choices("data") if n not in ("shards", "mixture")])
def test_data(name: str, compose: Callable[..., Any], tmp_path: Path) -> None:
    for file in ("a.txt", "a.mid", "a.json"):
        (tmp_path / file).write_text("text")
    needed = {
        "chorales": [f"data.path={tmp_path / 'a.json'}"],
        "files": [f"data.path={tmp_path}"],
        "hub": ["data.name=text", f"data.data_files={tmp_path / 'a.txt'}"],
        "midi": [f"data.path={tmp_path}"],
        "pairs": PAIRS[1:],
    }
    source = compose("train", f"data={name}", *needed.get(name, [])).data.build()
    assert name == "chorales" or 0 < source.val_fraction < 1  # their file has splits


@pytest.mark.parametrize("name", _choices("task"))
def test_tasks(name: str, compose: Callable[..., Any], tmp_path: Path) -> None:
    settings = compose("finetune", f"task={name}", f"run_dir={tmp_path}", "task.train=a.csv")
    task = open_task(settings.task)
    assert (task.name, task.train) == (name, "a.csv")
    assert task.metrics


@pytest.mark.parametrize("name", _choices("optimizer"))
def test_optimizers(name: str, compose: Callable[..., Any]) -> None:
    """Peak learning rates at width 768: GPT-3's for pretraining, GPT-1's for fine-tuning.

    Muon's is Jordan's at every width.
    """
    model = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=32, block_size=8, vocab_size=10))
    peak = compose("train", f"optimizer={name}").optimizer.build(model).defaults["lr"]
    at_768 = {"adamw": 6e-4, "finetuning": 6.25e-5}
    assert peak == pytest.approx(at_768[name] * 24**1.5 if name in at_768 else 0.02)


@pytest.mark.parametrize("name", _choices("experiment"))
def test_experiments_compose(name: str, compose: Callable[..., Any]) -> None:
    """A recipe leaves no key unset, except those that its header tells to give."""
    lines = (CONF / "experiment" / f"{name}.yaml").read_text().splitlines()
    header = " ".join(line for line in lines[:4] if line.startswith("#"))
    told = [f"{key}=somewhere" for key in re.findall(r"([\w.]+)=", header)]
    settings = compose("train", f"experiment={name}", *told)
    assert settings.model.build(vocab_size=settings.model.vocab_size or 10).n_head > 0
    for pair in told:
        with pytest.raises(UserError, match=f"{pair.partition('=')[0]} has no value"):
            compose("train", f"experiment={name}", *(other for other in told if other != pair))


@pytest.mark.parametrize("name", _choices("recipe"))
def test_recipes(name: str, compose: Callable[..., Any]) -> None:
    """A recipe changes optimizer and options; size, and choices given beside it, are the user's."""
    settings = compose("train", f"recipe={name}", "model=small")
    config = settings.model.build(vocab_size=10)
    assert settings.optimizer.build(GPT(replace(config, n_layer=1, n_embd=48)))
    assert (config.n_layer, config.n_embd, config.block_size) == (12, 768, 1024)
    other = compose("train", f"recipe={name}", "optimizer=adamw", "model.positions=learned")
    assert other.optimizer == compose("train").optimizer
    assert other.model.positions == "learned"


def test_the_modern_recipe(compose: Callable[..., Any]) -> None:
    plain, modern = compose("train"), compose("train", "recipe=modern")
    assert modern.optimizer.target.endswith(".muon")
    changed = {k for k, v in modern.model.arguments().items() if v != plain.model.arguments()[k]}
    norms = {"norm_type", "norm_gains", "qk_norm"}
    assert changed == {"positions", "activation", "zero_init_projections", *norms}


def test_no_recipe_wins_over_that_of_an_experiment(compose: Callable[..., Any]) -> None:
    asked = ["experiment=speedrun_tiny", "recipe=null"]
    given = compose("train", *asked, "optimizer=muon")
    assert (given.model.positions, given.optimizer.adamw_lr) == ("learned", 3e-2)
    with pytest.raises(UserError, match=r"experiment=speedrun_tiny sets keys that recipe=null .*"
                       r"'optimizer.adamw_lr'"):  # fmt: skip
        compose("train", *asked)
    with pytest.raises(UserError, match="sets keys that optimizer=adamw does not have"):
        compose("train", "experiment=speedrun_tiny", "optimizer=adamw")


def test_quickstart_is_the_small_speedrun(compose: Callable[..., Any]) -> None:
    quickstart, speedrun = (
        compose("train", f"experiment={name}", "run_dir=a").model_dump()
        for name in ("quickstart", "speedrun_tiny")
    )
    assert quickstart == speedrun
    assert quickstart["trainer"]["max_minutes"] == 6


CALLS = [call for command in commands() if (call := command.call()) is not None]


@pytest.mark.parametrize(
    ("name", "arguments"), CALLS, ids=[" ".join([name, *given]) for name, given in CALLS]
)
def test_commands_of_the_documents_compose(
    name: str, arguments: list[str], compose: Callable[..., Any], tmp_path: Path
) -> None:
    resumed = [a for a in arguments if a.startswith("resume=") and a != "resume=auto"]
    if resumed:
        save(compose(name), tmp_path / "run")  # a run to resume, with the default settings
    given = [f"resume={tmp_path / 'run'}" if a in resumed else a for a in arguments]
    parsed = parse(given, COMMANDS[name])
    if parsed.help is not None:
        return
    if parsed.sweep:
        for job in jobs(parsed, has_run_dir=True):
            read_settings(COMMANDS[name], job.arguments)
    else:
        compose(name, *given)


def test_the_documents_have_commands() -> None:
    assert len(CALLS) >= 150
