"""The corpus that settings name, with the settings' tokenizer or a given one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webtext_gpt.data.shard_writer import write_shards
from webtext_gpt.errors import UserError
from webtext_gpt.tokenizer import train_bpe
from webtext_gpt.training.corpus import open_shards


def test_a_given_tokenizer_replaces_the_settings(
    compose: Callable[..., Any], small_run: list[str], prose: str, tmp_path: Path
) -> None:
    given = train_bpe([prose], 285)
    shards = open_shards(compose("train", *small_run), given)
    assert shards.tokenizer.hash == given.hash
    assert shards.vocab_size == 285
    assert open_shards(compose("train", *small_run)).vocab_size == 280


def test_shards_of_another_tokenizer_than_the_given_one_are_refused(
    compose: Callable[..., Any], prose: str, tmp_path: Path
) -> None:
    mine, other = train_bpe([prose], 280), train_bpe([prose], 281)
    folder = tmp_path / "shards"
    write_shards([("train", prose), ("validation", "the cat")], mine, folder, {})
    settings = compose("train", "data=shards", f"data.path={folder}")
    assert open_shards(settings, train_bpe([prose], 280)).tokenizer.hash == mine.hash
    with pytest.raises(UserError, match="shards were made with another tokenizer"):
        open_shards(settings, other)
