"""Parts that all models of a comparison share: the recipe, one tokenizer, and token shards."""

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from webtext_gpt.checkpoint.load import load
from webtext_gpt.cli import Arguments, parse, read_settings
from webtext_gpt.commands import COMMANDS
from webtext_gpt.data.prepare import prepare_shards
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.data.sources import Files
from webtext_gpt.errors import UserError
from webtext_gpt.evaluation.corpora.inputs import HeldOutSet, Scanned
from webtext_gpt.files import write_json
from webtext_gpt.paths import shown
from webtext_gpt.settings.corpora import Corpora
from webtext_gpt.settings.data import Characters, GPT2Tokenizer
from webtext_gpt.settings.train import Train
from webtext_gpt.tokenizer import Tokenizer

RECORD, TOKENIZER = "comparison.json", "tokenizer.json"


def training_arguments(settings: Corpora, shards: Path, seed: int, run_dir: Path) -> Arguments:
    """Return the arguments of train.py for one model.

    Raises:
        UserError: an item of the recipe is no setting.
    """
    recipe = parse(settings.recipe, COMMANDS["train"])
    if len(recipe.pairs) != len(settings.recipe):
        raise UserError(f"recipe={settings.recipe} may only hold settings, key=value")
    own = {
        "data": "shards",
        "data.path": str(shards),
        "seed": str(seed),
        "run_dir": str(run_dir),
        "resume": "auto",
        "trainer.max_tokens": str(settings.tokens),
    }
    return Arguments(pairs=(*recipe.pairs, *own.items()))


def training_settings(arguments: Arguments) -> Train:
    """Return the typed settings of one model's training.

    Raises:
        UserError: a setting of the recipe does not exist, or a value is wrong.
    """
    try:
        settings = read_settings(COMMANDS["train"], arguments)
    except UserError as error:
        raise UserError(f"recipe: {error}") from error
    assert isinstance(settings, Train)  # noqa: S101 - by the command
    return settings


def refuse_other_comparison(settings: Corpora, corpora: Mapping[str, Files], run_dir: Path) -> None:
    """Record the settings that the models of a folder depend on, or refuse to change them.

    Seeds, held-out sets and benchmarks may change: models and figures that exist are kept.

    Raises:
        UserError: names the settings that differ.
    """
    asked: dict[str, Any] = {
        **settings.model_dump(include={"tokens", "recipe", "text_key", "val_fraction"}),
        "corpora": {name: source.fingerprint() for name, source in corpora.items()},
    }
    asked = json.loads(json.dumps(asked))
    file = run_dir / RECORD
    if not file.is_file():
        write_json(file, asked, indent=1)
        return
    try:
        earlier = json.loads(file.read_bytes())
        different = [key for key, value in asked.items() if earlier[key] != value]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is damaged ({error!r}); give another run_dir=") from error
    if different:
        raise UserError(
            f"{shown(run_dir)} holds a comparison with other {', '.join(different)}; give the "
            "same, or another run_dir="
        )


def shared_tokenizer(
    train: Train,
    corpora: Mapping[str, Files],
    scanned: Mapping[str, Scanned],
    heldout: list[HeldOutSet],
    run_dir: Path,
) -> Tokenizer:
    """Return the tokenizer of all models, from `run_dir` if it is there.

    A BPE is trained on the same amount of text of every corpus, so that it favours none. A
    vocabulary of characters holds those of all corpora and held-out sets.

    Raises:
        UserError: a tokenizer or checkpoint cannot be loaded.
    """
    file = run_dir / TOKENIZER
    if file.is_file():
        return Tokenizer.load(file)
    if train.checkpoint is not None:
        tokenizer = load(train.checkpoint).tokenizer
    else:
        assert train.tokenizer is not None  # noqa: S101 - checked by Train
        if isinstance(train.tokenizer, GPT2Tokenizer):
            tokenizer = train.tokenizer.build()
        elif isinstance(train.tokenizer, Characters):
            texts = [source.documents() for source in corpora.values()]
            tokenizer = train.tokenizer.build(chain(*texts, *(held.texts for held in heldout)))
        else:
            least = min(own.bytes for own in scanned.values())
            texts = [_first(source, least) for source in corpora.values()]
            tokenizer = train.tokenizer.build(chain(*texts))
    write_json(file, json.loads(tokenizer.to_json()))
    return tokenizer


def _first(source: Files, n_bytes: int) -> Iterator[str]:
    """Yield the first documents of a corpus, up to a size; the last one is cut."""
    for text in source.documents():
        yield text[:n_bytes]
        n_bytes -= len(text.encode())
        if n_bytes <= 0:
            return


def corpus_shards(
    settings: Corpora,
    corpora: Mapping[str, Files],
    tokenizer: Tokenizer,
    block_size: int,
    run_dir: Path,
) -> dict[str, TokenShards]:
    """Return the token shards of each corpus, built in `run_dir` if they are not there.

    Raises:
        UserError: a corpus is too small for the length of training; names all of these.
    """
    shards, problems = {}, []
    for name, source in corpora.items():
        shards[name] = prepare_shards(source, tokenizer, run_dir / "shards" / name)
        n_tokens = shards[name].split("train").n_tokens
        epochs = settings.tokens / n_tokens
        if n_tokens < block_size + 1:
            problems.append(
                f"the corpus {name} has {n_tokens:,} tokens to train on, fewer than one sequence "
                f"of model.block_size={block_size}; give more text"
            )
        elif settings.max_epochs is not None and epochs > settings.max_epochs:
            problems.append(
                f"the corpus {name} has {n_tokens:,} tokens to train on, which "
                f"tokens={settings.tokens:,} reads {epochs:.1f} times; give more text, "
                f"tokens={int(settings.max_epochs * n_tokens)} or fewer, or a greater "
                f"max_epochs= than {settings.max_epochs:g}"
            )
    if problems:
        raise UserError("\n".join(problems))
    return shards
