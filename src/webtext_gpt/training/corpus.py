"""The corpus that settings name: its token shards, its tokenizer, and the vocabulary it gives."""

import functools
from itertools import chain
from pathlib import Path

from lightning.pytorch.utilities.rank_zero import rank_zero_only

from webtext_gpt.data.left_out import left_out_lines
from webtext_gpt.data.mixture import Mixture
from webtext_gpt.data.prepare import TokenizerRecipe, cached_shards, prepare_shards
from webtext_gpt.data.pretraining import epoch_tokens
from webtext_gpt.data.shards import TokenShards
from webtext_gpt.data.sources import SplitSource
from webtext_gpt.errors import UserError
from webtext_gpt.model import GPTConfig
from webtext_gpt.model.config import GPT2_VOCAB_SIZE
from webtext_gpt.remote.addresses import is_address
from webtext_gpt.settings.data import (
    OWN_TOKENIZER,
    Characters,
    GPT2Tokenizer,
    Hub,
    Mixed,
    Shards,
    TokenizerChoice,
    TrainedBPE,
)
from webtext_gpt.settings.model import Model, TransformerModel
from webtext_gpt.settings.train import Train
from webtext_gpt.terminal import say
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary
from webtext_gpt.training.given_tokenizer import shards_with
from webtext_gpt.training.mixed_corpus import build_sources, open_mixture, shared_recipe


def open_shards(
    settings: Train, tokenizer: Tokenizer | None = None, block_size: int | None = None
) -> TokenShards | Mixture:
    """Return the tokenized corpus, built if the cache lacks it; rank 0 verifies it.

    Args:
        settings: the settings of the run.
        tokenizer: that of the checkpoint that the run starts from, if there is one.
        block_size: context length of the checkpoint's model, if there is one.

    Raises:
        UserError: see `prepare_shards`, `TokenShards`, `open_mixture` and `shards_with`.
    """
    if isinstance(settings.data, Mixed):
        recipe = functools.partial(tokenizer_recipe, settings.tokenizer)
        mixture = open_mixture(
            settings.data,
            recipe,
            settings.cache_dir,
            tokenizer,
            settings.checkpoint,
            epoch_tokens=functools.partial(
                epoch_tokens,
                block_size=block_size or settings.model.block_size,
                packing=settings.packing,
            ),
        )
        for name, shards in mixture.sources.items():
            _check(shards, f"{name}: ")
        return mixture
    data = settings.data.build()
    if tokenizer is not None:
        data = shards_with(data, tokenizer, settings.cache_dir, settings.checkpoint)
    elif isinstance(data, SplitSource):
        data = prepare_shards(data, data.tokenizer, settings.cache_dir)
    elif not isinstance(data, TokenShards):
        data = prepare_shards(data, tokenizer_recipe(settings.tokenizer), settings.cache_dir)
    _check(data)
    return data


def _check(shards: TokenShards, source: str = "") -> None:
    """On rank 0, print how much text the source left out, and verify the shards."""
    if rank_zero_only.rank == 0:
        for line in left_out_lines(shards.manifest.get("source", {}).get("left_out", {})):
            say(f"{source}{line}", label="data")
        shards.verify()


def tokenizer_recipe(settings: TokenizerChoice | None) -> TokenizerRecipe:
    """Return GPT-2's tokenizer, or the function that makes one from the training text."""
    assert settings is not None  # noqa: S101 - checked by Train
    if isinstance(settings, GPT2Tokenizer):
        tokenizer: TokenizerRecipe = settings.build()
        return tokenizer
    return settings.partial()


def expected_vocabulary(settings: Train) -> int:
    """Return the size of the vocabulary that training will have, without training a tokenizer.

    It is exact for token shards, also those in the cache, for characters, for GPT-2's tokenizer
    and for data with a tokenizer of its own. A BPE still to be trained has the size that is asked
    for, unless the text is too small for it.

    Raises:
        UserError: the data does not exist.
    """
    tokenizer, data = settings.tokenizer, settings.data
    choices = [*data.sources.values()] if isinstance(data, Mixed) else [data]
    for choice in choices:
        if isinstance(choice, Shards):
            return TokenShards(choice.path).vocab_size
    if data.target in OWN_TOKENIZER:
        own: Tokenizer = data.build().tokenizer
        return own.vocab_size
    assert tokenizer is not None  # noqa: S101 - checked by Train
    if isinstance(tokenizer, GPT2Tokenizer):
        for choice in choices:
            if not isinstance(choice, Hub):
                choice.build()  # refuses a path that does not exist
        path = tokenizer.path
        is_local = Path(path).exists() or path.startswith(("/", ".", "~")) or is_address(path)
        return tokenizer.build().vocab_size if is_local else GPT2_VOCAB_SIZE
    built = build_sources(data) if isinstance(data, Mixed) else {"": data.build()}
    sources = [source for source in built.values() if not isinstance(source, TokenShards)]
    recipe = shared_recipe(built, functools.partial(tokenizer_recipe, tokenizer))
    for source in sources:
        cached = cached_shards(source, recipe, settings.cache_dir)
        if cached is not None:
            return cached.vocab_size
    if isinstance(tokenizer, Characters):
        texts = chain.from_iterable(source.documents() for source in sources)
        return build_char_vocabulary(texts).vocab_size
    return tokenizer.vocab_size


def asked_vocabulary(settings: Train) -> int | None:
    """Return the vocabulary size if the settings alone determine it; None if the data does."""
    tokenizer, data = settings.tokenizer, settings.data
    choices = data.sources.values() if isinstance(data, Mixed) else [data]
    if any(isinstance(choice, Shards) or choice.target in OWN_TOKENIZER for choice in choices):
        return None
    if settings.model.vocab_size is not None:
        return settings.model.vocab_size
    if isinstance(tokenizer, GPT2Tokenizer):
        default = GPT2Tokenizer.model_fields["path"].default
        return GPT2_VOCAB_SIZE if tokenizer.path == default else None
    return tokenizer.vocab_size if isinstance(tokenizer, TrainedBPE) else None


def model_config(settings: Model | TransformerModel, vocab_size: int) -> GPTConfig:
    """Return the model's configuration, with the corpus's vocabulary unless a larger one is set.

    Args:
        settings: settings of the model.
        vocab_size: size of the corpus's vocabulary.

    Raises:
        UserError: the vocabulary that is set is smaller than the corpus's.
    """
    config: GPTConfig = settings.build(vocab_size=vocabulary_size(settings, vocab_size))
    return config


def vocabulary_size(settings: Model | TransformerModel, vocab_size: int) -> int:
    """Return the size of the model's vocabulary; arguments and errors as in `model_config`."""
    return at_least(settings.vocab_size, vocab_size, "model.vocab_size")


def at_least(asked: int | None, vocab_size: int, key: str) -> int:
    """Return the vocabulary size that a setting asks for, or the tokenizer's if it is null.

    Raises:
        UserError: the tokenizer's ids do not fit.
    """
    size = asked or vocab_size
    if size < vocab_size:
        raise UserError(
            f"{key}={size} does not hold the tokenizer's {vocab_size} ids; leave it null, or train "
            "a smaller tokenizer (tokenizer.vocab_size=...)"
        )
    return size
