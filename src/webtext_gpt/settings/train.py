"""Settings of `train.py`."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import SerializerFunctionWrapHandler, field_serializer, model_validator

from webtext_gpt.errors import UserError
from webtext_gpt.gpus import LESS_COMMON, NAMES
from webtext_gpt.settings.base import TARGET, keys, setting
from webtext_gpt.settings.data import OWN_TOKENIZER, Data, TokenizerChoice
from webtext_gpt.settings.dial import DIALS, implied_recipe
from webtext_gpt.settings.kinds import NULL, Count, Number, OneOf, PathText, Switch, Whole
from webtext_gpt.settings.lists import Either
from webtext_gpt.settings.model import AnyModel, Model, TransformerModel
from webtext_gpt.settings.run import AUTO, RunSettings, cache_folder
from webtext_gpt.settings.translation import check_pairs, implied_model


class Train(RunSettings):
    """Pretrain a GPT, from a laptop to a cluster; with data=pairs, a translation model.

    Without settings, it trains a small model on real text in five minutes, and writes into runs/.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command}": "a small model on real text",
        "{command} data=files data.path=my_texts/": "on your own text",
        "{command} model=medium trainer.devices=8 data=shards data.path=corpus/shards": (
            "GPT-2 medium on eight devices"
        ),
        "{command} checkpoint=gpt2 data=files data.path=my_texts/": "train GPT-2 on your text",
        "{command} resume=runs/...": "resume a run",
    }

    checkpoint: Annotated[
        str | None,
        PathText(
            what="a run folder, .ckpt file, Hugging Face folder or hub name", null="new weights"
        ),
    ] = setting(None, "trained model to start from, with its shape and its tokenizer", common=True)
    estimate: Annotated[bool | str, Either((Switch(), OneOf(NAMES, unlisted=LESS_COMMON)))] = (
        setting(
            False,
            "print the memory and the time that training needs, here or on a named GPU, and exit",
            common=True,
        )
    )
    global_batch_tokens: Annotated[
        int | None, Whole(1, unit="tokens", null="16 sequences; with data=pairs 4,096 tokens")
    ] = setting(
        None,
        "size of one optimizer step; of pairs, of either side",
        common=True,
    )
    micro_batch_size: Annotated[
        int | None,
        Whole(1, unit="sequences", null="the largest divisor of its share, up to 8,192 tokens"),
    ] = setting(None, "size of one forward pass of one device", common=True)
    validate_every: Annotated[int, Whole(1, unit="optimizer steps")] = setting(
        250, "interval between validations", common=True
    )
    validate_tokens: Annotated[
        int | None, Whole(1, unit="tokens", null="the complete validation split")
    ] = setting(
        None,
        "length of validations before the last one, in windows spread evenly over each source's "
        "validation split; val_share is the fraction scored",
    )
    size: Annotated[int | None, Count(1, unit="weights in the blocks", null="as model=")] = setting(
        None,
        "size of the model, with recipe=modern; laws fitted on runs choose its shape, batch, rates "
        "and length",
    )
    budget: Annotated[
        float | None, Number(above=0, unit="minutes", null="as trainer.max_minutes")
    ] = setting(
        None,
        "time of training, with recipe=modern; laws fitted on runs choose the model that is best "
        "after it, its batch and its rates",
    )
    parallel_rows: Annotated[bool, Switch()] = setting(
        False,
        "on a CPU, divide the rows of a micro-batch among one process per core, instead of each "
        "operation among all cores: a core that other programs use slows small models by half "
        "instead of tenfold; if no core is busy, a tenth slower; rounding differs; no effect on "
        "GPUs or with several devices",
    )
    mask_documents: Annotated[bool, Switch()] = setting(
        False,
        "let a token attend to its own document only, whose positions begin with 0; otherwise to "
        "all that precedes it in the sequence",
    )
    packing: Annotated[str, OneOf(("stream", "best_fit"))] = setting(
        "stream",
        "stream: training sequences are cut from the text of all documents in a row; best_fit: "
        "each begins with a document, and what does not fit is left out, which the run reports",
    )
    label_smoothing: Annotated[float | None, Number(0, below=1, null="0.1 with data=pairs")] = (
        setting(
            None,
            "with data=pairs: share of the probability that a target gives to the whole vocabulary",
        )
    )
    cache_dir: Annotated[str, PathText()] = setting(
        cache_folder,
        "cache of token shards built from text; the variable WEBTEXT_GPT_CACHE names another",
        shown="~/.cache/webtext-gpt",
    )
    model: AnyModel = keys()
    data: Data = keys()
    tokenizer: TokenizerChoice | None = keys(None)

    @classmethod
    def replaced_groups(cls, values: Mapping[str, Any], given: Collection[str]) -> tuple[str, ...]:
        """A checkpoint brings a model and a tokenizer, music a tokenizer. See `Settings`."""
        starts = str(values.get("checkpoint")).strip().lower() not in NULL
        names_tokenizer = any(key.partition(".")[0] == "tokenizer" for key in given)
        brings_tokenizer = starts or (values.get("data") or {}).get(TARGET) in OWN_TOKENIZER
        replaced = ("model",) if starts else ()
        return (*replaced, "tokenizer") if brings_tokenizer and not names_tokenizer else replaced

    @classmethod
    def implied_choices(
        cls, given: Mapping[str, str], chosen: Mapping[str, str]
    ) -> Mapping[str, str]:
        """The dial implies a recipe, pairs imply a model. See `Settings.implied_choices`."""
        return {**implied_recipe(given, chosen), **implied_model(given, chosen)}

    def derived(self, given: Collection[str]) -> dict[str, Any]:
        """`size` and `budget` set further keys. See `Settings.derived`."""
        if self.size is None and self.budget is None:
            return {}
        if not set(DIALS) & set(given):
            if self.resume not in (None, AUTO):
                return {}  # the run has kept what was derived when it began
            raise UserError("size and budget are read from the command line only; give them there")
        from webtext_gpt.dial.derive import derive

        return derive(self, given)

    @field_serializer("model", mode="wrap")
    def _keys_of_the_model(
        self, model: Model | TransformerModel, plain: SerializerFunctionWrapHandler
    ) -> dict[str, Any]:
        """With a checkpoint, leave out keys that were not given: the checkpoint has them."""
        kept = model.model_fields_set | {TARGET}
        keys: dict[str, Any] = plain(model)
        return {k: v for k, v in keys.items() if self.checkpoint is None or k in kept}

    @model_validator(mode="after")
    def _one_length_of_validations(self) -> Self:
        batches = self.trainer.limit_val_batches
        if self.validate_tokens is not None and batches is not None:
            raise ValueError(
                f"validate_tokens={self.validate_tokens} shortens all validations but the last, "
                f"and trainer.limit_val_batches={batches} all of them; leave one out"
            )
        return self

    @model_validator(mode="after")
    def _pairs_and_their_model(self) -> Self:
        check_pairs(self)
        return self

    @model_validator(mode="after")
    def _one_tokenizer(self) -> Self:
        if self.data.target in OWN_TOKENIZER:
            if self.tokenizer is not None:
                raise ValueError(
                    "tokenizer=...: music has a tokenizer of its own, one token a word of its "
                    "encoding; leave tokenizer= and tokenizer.KEY= out"
                )
        elif self.checkpoint is None and self.tokenizer is None:
            raise ValueError("tokenizer has no value; give tokenizer=trained, gpt2 or char")
        if self.checkpoint is None or self.tokenizer is None:
            return self
        if self.resume not in (None, AUTO):
            raise ValueError(
                f"checkpoint={self.checkpoint}: resume={self.resume} continues that run from its "
                "own weights; leave checkpoint= out, or start a new run without resume="
            )
        raise ValueError(
            f"tokenizer=...: checkpoint={self.checkpoint} brings the tokenizer that its weights "
            "were trained with; leave tokenizer= and tokenizer.KEY= out"
        )
