"""Settings of `train.py`."""

from typing import Annotated, ClassVar

from webtext_gpt.settings.base import keys, setting
from webtext_gpt.settings.data import Data, TokenizerChoice
from webtext_gpt.settings.kinds import PathText, Switch, Whole
from webtext_gpt.settings.model import Model
from webtext_gpt.settings.run import RunSettings, cache_folder


class Train(RunSettings):
    """Pretrain a GPT, from a laptop to a cluster.

    Without settings, it trains a small model on real text in five minutes, with no download and no
    account. Everything is written to a folder in runs/.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command}": "a small model on real text",
        "{command} data=files data.path=my_texts/": "on your own text",
        "{command} trainer.max_minutes=30 model.n_layer=6": "longer, and a deeper model",
        "{command} model=medium trainer.devices=8 data=shards data.path=corpus/shards": (
            "GPT-2 medium on eight devices"
        ),
        "{command} resume=runs/...": "resume a run",
    }

    estimate: Annotated[bool, Switch()] = setting(
        False, "print the memory that training needs, and exit", common=True
    )
    global_batch_tokens: Annotated[int | None, Whole(1, unit="tokens", null="16 sequences")] = (
        setting(None, "size of one optimizer step over all devices", common=True)
    )
    micro_batch_size: Annotated[
        int | None,
        Whole(1, unit="sequences", null="the largest divisor of its share, up to 8,192 tokens"),
    ] = setting(None, "size of one forward pass of one device", common=True)
    validate_every: Annotated[int, Whole(1, unit="optimizer steps")] = setting(
        250, "interval between validations", common=True
    )
    mask_documents: Annotated[bool, Switch()] = setting(
        False,
        "let a token attend to its own document only, whose positions begin with 0; otherwise to "
        "all that precedes it in the sequence",
    )
    cache_dir: Annotated[str, PathText()] = setting(
        cache_folder,
        "cache of token shards built from text; the variable WEBTEXT_GPT_CACHE names another",
        shown="~/.cache/webtext-gpt",
    )
    model: Model = keys()
    data: Data = keys()
    tokenizer: TokenizerChoice = keys()
