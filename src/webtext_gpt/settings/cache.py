"""Settings of the command that lists and empties the cache of token shards."""

from typing import Annotated, ClassVar

from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.kinds import PathText, Switch
from webtext_gpt.settings.run import cache_folder


class Cache(Settings):
    """List the token shards that training has built from text, or remove them.

    Training builds them again when it needs them. Those that a process is using are kept.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command}": "size, age and source of each entry",
        "{command} empty=true": "remove them",
        "{command} cache_dir=/scratch/cache": "another cache",
        "{command} cache_dir=/scratch/cache empty=true": "empty that one",
        "{command} --help all": "every key",
    }

    cache_dir: Annotated[str, PathText()] = setting(
        cache_folder,
        "cache of token shards; the variable WEBTEXT_GPT_CACHE names another",
        common=True,
        shown="~/.cache/webtext-gpt",
    )
    empty: Annotated[bool, Switch()] = setting(
        False, "remove the entries that no process is using", common=True
    )
