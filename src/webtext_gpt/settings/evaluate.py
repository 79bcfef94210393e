"""Settings of eval.py."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from webtext_gpt.settings import checks
from webtext_gpt.settings.base import Settings, setting
from webtext_gpt.settings.benchmarks import TASKS
from webtext_gpt.settings.inference import (
    DEVICE,
    INFERENCE_PRECISION,
    INFERENCE_WEIGHTS,
    MODEL,
    WEIGHTS_MEANING,
)
from webtext_gpt.settings.kinds import Number, PathText, Switch, Whole
from webtext_gpt.settings.lists import Listed
from webtext_gpt.settings.run import dated


class Evaluate(Settings):
    """Evaluate a model zero-shot, as the GPT-2 paper did, or its translations or music.

    With compare=[A,B], evaluate two and test their differences. With report=[RUN,RUN,...], compare
    finished runs by model size (figure 4) instead.
    """

    examples: ClassVar[dict[str, str]] = {
        "{command} checkpoint=runs/... tasks=[lambada,wikitext2] limit=100": "from the hub, a part",
        "{command} checkpoint=runs/... tasks=core data_dir=eval_bundle/": "from local files",
        "{command} compare=[runs/a,runs/b] tasks=lambada": "are two models different?",
        "{command} checkpoint=TRANSLATOR tasks=translation source=test.en reference=test.de": (
            "BLEU and chrF of translations"
        ),
        "{command} report=[runs/small,runs/medium]": "loss by model size",
    }

    checkpoint: Annotated[
        str | None, PathText(what=f"a {MODEL}", null="only with compare or report")
    ] = setting(None, f"model: {MODEL}", common=True)
    tasks: Annotated[list[str], TASKS] = setting(
        lambda: ["all"], "benchmarks: all, or a list", common=True
    )
    data_dir: Annotated[str | None, PathText(null="download from the hub")] = setting(
        None, "folder with the benchmarks' files", common=True
    )
    run_dir: Annotated[str, PathText()] = setting(
        lambda: dated("evaluations"),
        "folder for evaluation.json and evaluation.md",
        common=True,
        shown="evaluations/DATE_TIME",
    )
    source: Annotated[str | None, PathText(null="test.source in data_dir", remote=True)] = setting(
        None, "task translation: file of sentences, one per line; a path, or a name in data_dir"
    )
    reference: Annotated[str | None, PathText(null="test.target in data_dir", remote=True)] = (
        setting(None, "task translation: file of their translations, line by line")
    )
    num_beams: Annotated[int, Whole(1)] = setting(5, "task translation: width of the beam search")
    length_penalty: Annotated[float, Number(0)] = setting(
        0.6, "task translation: as length_penalty of generate.py"
    )
    pieces: Annotated[
        list[str] | None, Listed(PathText(), null="Jsb16thSeparated.json in data_dir")
    ] = setting(
        None,
        "task music: held-out pieces, as MIDI files, folders or patterns, or a JSON file of "
        "chorales, of which the split test is read",
    )
    limit: Annotated[int | None, Whole(1, unit="examples", null="all")] = setting(
        None, "evaluate only this many examples of each task", common=True
    )
    stride: Annotated[int | None, Whole(1, unit="tokens", null="half the model's context")] = (
        setting(None, "distance by which the sliding window moves")
    )
    detokenize: Annotated[bool, Switch()] = setting(
        True, "undo the benchmarks' tokenization, as the paper does"
    )
    batch_tokens: Annotated[int, Whole(1, unit="tokens")] = setting(
        8192, "maximum size of a forward pass"
    )
    batch_size: Annotated[int, Whole(1, unit="prompts")] = setting(16, "prompts completed at once")
    device: Annotated[str, DEVICE] = setting("auto", "device; auto: a GPU if there is one")
    precision: Annotated[str, INFERENCE_PRECISION] = setting(
        "fp32", "number format; bf16 is faster on GPUs and slightly less exact"
    )
    weights: Annotated[str, INFERENCE_WEIGHTS] = setting("float", WEIGHTS_MEANING)
    compare: Annotated[
        list[str] | None, Listed(PathText(what=f"a {MODEL}"), null="evaluate one model")
    ] = setting(
        None,
        "two models to evaluate on the same examples, with a paired test of each difference",
        common=True,
    )
    report: Annotated[list[str] | None, Listed(PathText(), null="evaluate a model")] = setting(
        None, "finished runs to compare by model size, figure 4 of the paper", common=True
    )

    @model_validator(mode="after")
    def _need_a_model_or_runs(self) -> Self:
        checks.int8_weights(self.weights, self.device, self.precision)
        self._refuse_keys_of_other_tasks()
        given = [key for key in ("checkpoint", "compare", "report") if getattr(self, key)]
        if not given:
            raise ValueError(
                "checkpoint has no value; give checkpoint=..., compare=[A,B] or report=[RUN,RUN]"
            )
        if self.compare is not None and len(self.compare) != 2:
            raise ValueError(
                f"compare= takes two models, not {len(self.compare)}; compare more of them in pairs"
            )
        if "compare" in given and len(given) > 1:
            raise ValueError(f"give only one of {', '.join(f'{key}=' for key in given)}")
        return self

    def _refuse_keys_of_other_tasks(self) -> None:
        if self.pieces is not None and "music" not in self.tasks:
            raise ValueError("pieces= is for the task music; give tasks=music, or leave it out")
        of_translation = ("source", "reference", "num_beams", "length_penalty")
        given = [key for key in of_translation if key in self.model_fields_set]
        if given and "translation" not in self.tasks:
            raise ValueError(
                f"{given[0]}= is for the task translation; give tasks=translation, or leave it out"
            )
        if (self.source is None) != (self.reference is None):
            raise ValueError("source= and reference= name the two sides of a test set; give both")
