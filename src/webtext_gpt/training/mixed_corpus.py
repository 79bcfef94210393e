"""Open the sources of a mixture: each as token shards of its own, all with one tokenizer."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

from webtext_gpt.data.mixture import Mixture, naming_source
from webtext_gpt.data.prepare import JointRecipe, TokenizerRecipe, prepare_shards
from webtext_gpt.data.shards import TokenShards, TokenStream
from webtext_gpt.data.sources import TextSource
from webtext_gpt.errors import UserError
from webtext_gpt.settings.data import DocstringsSource, Mixed, Source
from webtext_gpt.tokenizer import Tokenizer
from webtext_gpt.training.given_tokenizer import shards_with


def open_mixture(
    settings: Mixed,
    recipe: Callable[[], TokenizerRecipe],
    cache: str | Path,
    tokenizer: Tokenizer | None = None,
    checkpoint: str | None = None,
    *,
    epoch_tokens: Callable[[TokenStream], int],
) -> Mixture:
    """Return the sources of a mixture with their weights; those that the cache lacks are built.

    Args:
        settings: the sources.
        recipe: returns the tokenizer of the settings, or how to train it. It is used if neither
            `tokenizer` is given nor a source is token shards.
        cache: parent folder of the token shards that are built.
        tokenizer: tokenizer of the checkpoint that the run starts from, if there is one.
        checkpoint: its name, for messages.
        epoch_tokens: returns the tokens of a training split that an epoch reads.

    Raises:
        UserError: a source cannot be read, or does not fit the tokenizer; the message names it.
    """
    sources = build_sources(settings)
    chosen = tokenizer or shared_recipe(sources, recipe)
    opened = {}
    for name, source in sources.items():
        with naming_source(name):
            if tokenizer is not None:
                opened[name] = shards_with(source, tokenizer, cache, checkpoint)
            elif isinstance(source, TokenShards):
                opened[name] = source
            else:
                opened[name] = prepare_shards(source, chosen, cache)
        if isinstance(chosen, JointRecipe):
            chosen.trained = opened[name].tokenizer  # the next source need not train it again
    return Mixture(opened, _weights(settings.sources, opened, epoch_tokens))


def build_sources(settings: Mixed) -> dict[str, TextSource | TokenShards]:
    """Return the sources of a mixture, not yet tokenized, in alphabetical order.

    Raises:
        UserError: one does not exist; the message begins with its key.
    """
    built: dict[str, TextSource | TokenShards] = {}
    for name, source in sorted(settings.sources.items()):
        with naming_source(name):
            in_environment = isinstance(source, DocstringsSource)
            key = {} if in_environment else {"key": f"data.sources.{name}"}
            built[name] = source.build(**key)
    return built


def shared_recipe(
    sources: Mapping[str, TextSource | TokenShards], recipe: Callable[[], TokenizerRecipe]
) -> TokenizerRecipe:
    """Return the tokenizer of the sources that are token shards, or how to make one for all.

    Args:
        sources: the sources.
        recipe: returns the tokenizer of the settings, or how to train it.

    Raises:
        UserError: two sources are token shards of different tokenizers.
    """
    shards = {name: s for name, s in sources.items() if isinstance(s, TokenShards)}
    first = next(iter(shards), "")
    for name, other in shards.items():
        if other.tokenizer.hash != shards[first].tokenizer.hash:
            raise UserError(
                f"data.sources.{name}.path={other.folder} was tokenized with another tokenizer "
                f"than data.sources.{first}.path={shards[first].folder}; build both with one"
            )
    if shards:
        return shards[first].tokenizer
    texts = {name: s for name, s in sources.items() if not isinstance(s, TokenShards)}
    chosen = recipe()
    if isinstance(chosen, Tokenizer | JointRecipe) or len(texts) == 1:
        return chosen
    return JointRecipe(chosen, texts)


def _weights(
    settings: Mapping[str, Source],
    opened: Mapping[str, TokenShards],
    epoch_tokens: Callable[[TokenStream], int],
) -> dict[str, Fraction]:
    """Return each source's weight: as it was given, or its epochs times the tokens of one."""
    weights = {}
    for name, source in settings.items():
        with naming_source(name):
            if source.weight is not None:
                weights[name] = Fraction(str(source.weight))
            else:
                tokens = epoch_tokens(opened[name].split("train"))
                weights[name] = Fraction(str(source.epochs or 1)) * tokens
    return weights
