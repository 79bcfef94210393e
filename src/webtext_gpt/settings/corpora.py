"""Settings of the command that ranks corpora by the models that they train."""

from dataclasses import replace
from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.benchmarks import TASKS
from webtext_gpt.settings.data import Fraction
from webtext_gpt.settings.inference import DEVICE
from webtext_gpt.settings.kinds import Number, PathText, Text, Whole
from webtext_gpt.settings.lists import Listed
from webtext_gpt.settings.run import dated

RESERVED = ("run_dir", "resume", "seed", "data", "estimate", "cache_dir")
"""Keys and groups of train.py that the comparison sets itself."""
LENGTHS = ("trainer.max_steps", "trainer.max_tokens", "trainer.max_minutes")


class Corpora(Settings):
    """Rank corpora by the held-out text that models trained on them predict.

    It trains one model per corpus and seed, all with one recipe, one tokenizer and as many tokens.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} corpora=[clean/,raw.jsonl] heldout=news.jsonl": "which of two is better",
        "{command} corpora=[a/,b/] heldout=[news.jsonl,books/] seeds=[0,1,2,3,4]": (
            "two held-out sets, more seeds"
        ),
        "{command} corpora=[a/,b/] heldout=news.jsonl tasks=blimp data_dir=benchmarks/": (
            "and BLiMP"
        ),
        '{command} corpora=[a/,b/] heldout=news.jsonl tokens=1e7 "recipe=[model.n_layer=6]"': (
            "with other settings of train.py"
        ),
    }

    corpora: Annotated[list[str], Listed(PathText(), bare=False)] = setting(
        ...,
        "corpora to compare, each a file, folder or glob pattern of text, JSONL or Parquet",
        common=True,
    )
    heldout: Annotated[list[str], Listed(PathText())] = setting(
        ...,
        "held-out sets, each a file, folder or glob pattern, with texts that no corpus holds",
        common=True,
    )
    run_dir: Annotated[str, PathText()] = setting(
        lambda: dated("corpora"),
        "folder for models and report; the same call again continues there",
        common=True,
        shown="corpora/DATE_TIME",
    )
    tokens: Annotated[int, Whole(1, unit="tokens")] = setting(
        1_000_000, "length of each training", common=True
    )
    seeds: Annotated[list[int], Listed(Whole(0, 2**32 - 1))] = setting(
        lambda: [0, 1, 2], "seeds: a model of each corpus is trained with each of them", common=True
    )
    recipe: Annotated[list[str], Listed(Text("a setting of train.py"), empty=True)] = setting(
        list,
        "settings of train.py, for all models: [model.n_layer=2,optimizer.lr=1e-3]",
        common=True,
    )
    tasks: Annotated[list[str], replace(TASKS, empty=True)] = setting(
        list, "benchmarks to run on each model besides, as in eval.py", common=True
    )
    data_dir: Annotated[str | None, PathText(null="download from the hub")] = setting(
        None, "folder with the benchmarks' files", common=True
    )
    limit: Annotated[int | None, Whole(1, unit="examples", null="all")] = setting(
        None, "evaluate only this many examples of each benchmark"
    )
    text_key: Annotated[str, Text("the name of a column")] = setting(
        "text", "column of JSONL and Parquet files that holds the text"
    )
    val_fraction: Annotated[float, Fraction] = setting(
        0.02, "fraction of each corpus held out for the validations of its own training"
    )
    max_epochs: Annotated[float | None, Number(above=0, null="any number")] = setting(
        4.0, "refuse a corpus that the training would read more often than this"
    )
    device: Annotated[str, DEVICE] = setting(
        "auto", "device of the evaluation; auto: a GPU if there is one"
    )

    @model_validator(mode="after")
    def _need_two(self) -> Self:
        if len(self.corpora) < 2:
            raise ValueError(f"corpora={self.corpora} is one corpus; give two or more: [a,b]")
        for key in ("corpora", "heldout", "seeds"):
            values = [str(value) for value in getattr(self, key)]
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise ValueError(f"{key} names {twice} twice; name each one once")
        return self

    @model_validator(mode="after")
    def _refuse_own_keys(self) -> Self:
        for text in self.recipe:
            key = text.partition("=")[0].strip().lstrip("+~")
            if key in LENGTHS:
                raise ValueError(f"recipe has {text}; the length of training is tokens=")
            if key.partition(".")[0] in RESERVED:
                raise ValueError(
                    f"recipe has {text}, but {key.partition('.')[0]} follows from corpora=, "
                    "seeds= and run_dir=; leave it out"
                )
        return self
