"""Build and cache the token shards of a text source: split, train a tokenizer, tokenize, write."""

import errno
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from webtext_gpt.commands import shell_command
from webtext_gpt.data.cache import clear_leftovers, entries, lock_of, size_text
from webtext_gpt.data.mixture import naming_source
from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.data.shards import VERSION, Split, TokenShards
from webtext_gpt.data.sources import SplitSource, TextSource
from webtext_gpt.errors import UserError, explain
from webtext_gpt.paths import check_output_folder, local_path
from webtext_gpt.terminal import quoted, say
from webtext_gpt.tokenizer import Tokenizer, build_char_vocabulary

Training = Callable[[Iterable[str]], Tokenizer]
"""A `functools.partial` that trains a tokenizer on texts."""


class JointRecipe:
    """Trains one tokenizer on the training splits of several sources, when it is first needed.

    Each document is read once, whatever the weights of the sources, so that a mixture of the same
    sources with other weights has the same tokenizer and token shards.

    Args:
        training: trains a tokenizer on texts.
        sources: the sources of a mixture by name; their names and order play no part.

    Attributes:
        fingerprint: plain values that change when the tokenizer does.
        trained: the tokenizer, once it is known.
    """

    def __init__(self, training: Training, sources: Mapping[str, TextSource]) -> None:
        self.training = training
        contents = {
            name: json.dumps([source.fingerprint(), source.val_fraction], sort_keys=True)
            for name, source in sources.items()
        }
        self.sources = {name: sources[name] for name in sorted(sources, key=contents.__getitem__)}
        digest = hashlib.sha256("\n".join(sorted(contents.values())).encode()).hexdigest()
        self.fingerprint = {**_recipe_fingerprint(training), "sources": digest}
        self.trained: Tokenizer | None = None

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer, trained in the first call."""
        if self.trained is None:
            self.trained = _train(self.training, self._documents())
        return self.trained

    def _documents(self) -> Iterator[tuple[Split, str]]:
        for name, source in self.sources.items():
            with naming_source(name):
                yield from _split_documents(source, _splits_by_document(source))


TokenizerRecipe = Tokenizer | Training | JointRecipe
"""A tokenizer, or how to train one on the training texts."""


def prepare_shards(
    source: TextSource | SplitSource, recipe: TokenizerRecipe, cache: str | Path
) -> TokenShards:
    """Open the token shards of a source; build them if the cache does not hold them.

    If several processes ask for the same shards, one builds them and the others wait.

    Args:
        source: the documents.
        recipe: the tokenizer, or how to train it on the training split; must be the source's own
            tokenizer if it has one.
        cache: parent folder; each combination of source and recipe gets a folder in it.

    Raises:
        UserError: the source holds no text.
    """
    folder, provenance = _cached_folder(source, recipe, cache)
    check_output_folder(folder.parent, "cache_dir")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock_of(folder):
        if not folder.exists():
            say(f"data        building token shards, once, in {quoted(folder)}")
            try:
                _build(source, recipe, folder, provenance)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise UserError(
                        f"{explain(error)}, or name a cache_dir= on another disk; "
                        f"{shell_command('cache', f'cache_dir={folder.parent}')} lists what is "
                        "cached"
                    ) from error
                raise
            _report(folder)
        shards = TokenShards(folder)  # in use before the lock is released: nobody may remove it
    clear_leftovers(folder.parent)
    return shards


def _build(
    source: TextSource | SplitSource,
    recipe: TokenizerRecipe,
    folder: Path,
    provenance: dict[str, Any],
) -> None:
    documents: Callable[[], Iterator[tuple[Split, str]]]
    if isinstance(source, SplitSource):
        documents = source.split_documents
        provenance["split"] = "by the source"
    else:
        by_document = _splits_by_document(source)
        documents = functools.partial(_split_documents, source, by_document)
        provenance["split"] = "by document hash" if by_document else "tail of each document"
    if isinstance(recipe, JointRecipe):
        tokenizer = recipe.tokenizer()
    else:
        tokenizer = recipe if isinstance(recipe, Tokenizer) else _train(recipe, documents())

    def counted() -> Iterator[tuple[Split, str]]:
        yield from documents()
        if source.left_out:  # known now; the manifest is written last
            provenance["left_out"] = source.left_out
        if isinstance(source, SplitSource):
            provenance["summary"] = source.summary
            for line in source.summary:
                say(line, label="data")

    write_shards(counted(), tokenizer, folder, provenance, total_bytes=source.total_bytes())


def _report(folder: Path) -> None:
    """Print the size of a new entry and of the cache."""
    sizes = {entry.folder: entry.size for entry in entries(folder.parent)}
    say(
        f"data        token shards of {size_text(sizes[folder])}; to list or empty the cache of "
        f"{size_text(sum(sizes.values()))}:\n"
        f"  {shell_command('cache', f'cache_dir={folder.parent}')}"
    )


def cached_shards(
    source: TextSource | SplitSource, recipe: TokenizerRecipe, cache: str | Path
) -> TokenShards | None:
    """Return the token shards of a source if the cache holds them."""
    folder, _ = _cached_folder(source, recipe, cache)
    return TokenShards(folder) if folder.exists() else None


def _cached_folder(
    source: TextSource | SplitSource, recipe: TokenizerRecipe, cache: str | Path
) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a source's token shards, and the description of their origin."""
    fingerprint = source.fingerprint()
    provenance = {
        "source": fingerprint,
        "tokenizer": _recipe_fingerprint(recipe),
        "format_version": VERSION,
    }
    if not isinstance(source, SplitSource):
        provenance["val_fraction"] = source.val_fraction
    key = hashlib.sha256(json.dumps(provenance, sort_keys=True).encode()).hexdigest()[:16]
    return local_path(cache, "cache_dir") / f"{fingerprint['kind']}-{key}", provenance


def _recipe_fingerprint(recipe: TokenizerRecipe) -> dict[str, Any]:
    if isinstance(recipe, Tokenizer):
        return {"sha256": recipe.hash}
    if isinstance(recipe, JointRecipe):
        return recipe.fingerprint
    assert isinstance(recipe, functools.partial)  # noqa: S101 - by `tokenizer_recipe`
    return {"recipe": recipe.func.__name__, **recipe.keywords}


def _train(recipe: Training, documents: Iterable[tuple[Split, str]]) -> Tokenizer:
    """Train a tokenizer on the training split, or a character vocabulary on all of the text."""
    use_all = getattr(recipe, "func", recipe) is build_char_vocabulary
    return recipe(text for split, text in documents if use_all or split == "train")


def held_out(text: str, fraction: float) -> bool:
    """Return whether a document goes to the validation split; depends only on its content."""
    return content_number(text) < fraction * 2**64


def content_number(text: str) -> int:
    """Return a number from 0 to 2**64 - 1: the first 8 bytes of the SHA-256 of a document."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _documents(source: TextSource) -> Iterator[str]:
    return (text for text in source.documents() if text.strip())


def _splits_by_document(source: TextSource) -> bool:
    """Return whether splitting by document leaves neither split empty.

    Stops reading at the first document of each split.

    Raises:
        UserError: the source holds no text.
    """
    seen: set[bool] = set()
    for text in _documents(source):
        seen.add(held_out(text, source.val_fraction))
        if len(seen) == 2:
            return True
    if not seen:
        raise UserError("the data source holds no text: every document is empty or blank")
    return False


def _split_documents(source: TextSource, by_document: bool) -> Iterator[tuple[Split, str]]:
    """Yield each document with its split.

    If there are too few documents for a split by document, the tail of each is held out.
    """
    for text in _documents(source):
        if by_document:
            yield ("validation" if held_out(text, source.val_fraction) else "train"), text
            continue
        cut = int(len(text) * (1 - source.val_fraction))
        if text[:cut]:
            yield "train", text[:cut]
        if text[cut:]:
            yield "validation", text[cut:]
